"""From accept to the first request: limits at their figure and one past it, and the PROXY protocol from trusted proxies."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest
import structlog
import structlog.testing
import trio

from ngrokd import arrivals
from ngrokd.edge.crowd import Crowd, CrowdLimits
from ngrokd.edge.guard import Guard, GuardRules
from ngrokd.edge.http import EdgeWorld
from ngrokd.edge.pages import Pages
from ngrokd.edge.visitor import VisitorConnection
from ngrokd.policy.addresses import AddressList
from ngrokd.public import PublicEdges
from ngrokd.registry import Registry
from protocol.link.listener import bind
from protocol.proxy_header import encode
from protocol.secret import new_request_id
from tests.kit.ports import SERVER_NAME, contexts, running

REQUEST = f"GET / HTTP/1.1\r\nHost: {SERVER_NAME}\r\n\r\n".encode()
HERE = AddressList(["127.0.0.0/8"])


class Edges:
    """A listener of one scheme; `addresses` are those of the visitors that were refused a tunnel."""

    def __init__(self, edges: PublicEdges, crowd: Crowd, port: int) -> None:
        self.edges = edges
        self.crowd = crowd
        self.port = port
        self.addresses: list[tuple[str, int]] = []
        self.visitors: list[trio.SocketStream] = []

    async def visit(self) -> trio.SocketStream:
        self.visitors.append(await trio.open_tcp_stream("127.0.0.1", self.port))
        return self.visitors[-1]

    async def counted(self, live: int) -> None:
        with trio.fail_after(5):
            while self.crowd.live != live:
                await trio.sleep(0.001)


@contextlib.asynccontextmanager
async def edges(
    scheme: str = "http", limits: CrowdLimits | None = None, trusted: AddressList | None = None
) -> AsyncIterator[Edges]:
    crowd = Crowd(limits)
    guard = Guard(GuardRules(trusted or AddressList(())), trio.current_time)
    async with running("epoll") as reactor, trio.open_nursery() as handshakes:
        log = structlog.get_logger()
        asked: list[tuple[str, int]] = []

        def refused(visitor: VisitorConnection, _code: str, _detail: str) -> None:
            asked.append(visitor.address)

        world = EdgeWorld(
            reactor, Registry(new_request_id), Pages(), lambda _scheme, _host: False, None, refused, log, guard, crowd
        )
        found = PublicEdges(world, contexts()[1], log)
        sock = bind("127.0.0.1", 0)
        here = Edges(found, crowd, sock.getsockname()[1])
        here.addresses = asked
        found.listen(scheme, sock, handshakes)
        with trio.fail_after(10):
            yield here
        for stream in here.visitors:
            await trio.aclose_forcefully(stream)
        found.drain()
        found.abort()
        handshakes.cancel_scope.cancel()
    assert crowd.live == 0


async def everything(stream: trio.abc.Stream) -> bytes:
    data = b""
    with contextlib.suppress(trio.BrokenResourceError):
        while piece := await stream.receive_some():
            data += bytes(piece)
    return data


@pytest.mark.parametrize(
    ("limits", "status", "code"),
    [
        (CrowdLimits(in_all=2), b"503 Service Unavailable", b"overloaded"),
        (CrowdLimits(of_one=2), b"429 Too Many Requests", b"rate_limited"),
    ],
)
async def test_one_visitor_too_many_on_http(limits: CrowdLimits, status: bytes, code: bytes) -> None:
    async with edges(limits=limits) as here:
        first, second = await here.visit(), await here.visit()
        await here.counted(2)
        third = await here.visit()
        with structlog.testing.capture_logs():
            answer = await everything(third)
        assert answer.startswith(b"HTTP/1.1 " + status)
        assert b"Ngrok-Error-Code: " + code in answer
        assert b"\r\nRetry-After: " in answer
        await second.send_all(REQUEST)  # who was let in is served
        assert (await everything(second)).startswith(b"HTTP/1.1 404 ")
        await second.aclose()
        await here.counted(1)
        fourth = await here.visit()
        await here.counted(2)
        for stream in (first, third, fourth):
            await stream.aclose()
        await here.counted(0)


@pytest.mark.parametrize("limits", [CrowdLimits(in_all=1), CrowdLimits(of_one=1), CrowdLimits(descriptors=1)])
async def test_one_visitor_too_many_on_https_costs_no_handshake(limits: CrowdLimits) -> None:
    async with edges("https", limits) as here:
        if not limits.descriptors:
            await here.visit()
            await here.counted(1)
        with structlog.testing.capture_logs():
            assert await everything(await here.visit()) == b""


async def test_no_descriptor_left_for_visitors_is_a_closed_socket() -> None:
    async with edges(limits=CrowdLimits(descriptors=1)) as here:
        with structlog.testing.capture_logs() as logs:
            for _ in range(20):
                assert await everything(await here.visit()) == b""
        assert len(logs) == 1  # one line a second at most
        assert here.crowd.refused == {"no_descriptor": 20}


async def test_a_handshake_that_fails_gives_its_place_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrivals, "HANDSHAKE_TIMEOUT", 0.05)
    async with edges("https", CrowdLimits(in_all=1)) as here:
        assert await everything(await here.visit()) == b""
        await here.counted(0)
        stream = await here.visit()
        await stream.send_all(b"not TLS at all")
        assert b"HTTP" not in await everything(stream)
        await here.counted(0)


HEADERS = [
    encode(1, ("203.0.113.9", 4711), ("192.0.2.1", 80)),
    encode(2, ("203.0.113.9", 4711), ("192.0.2.1", 80)),
    encode(2, ("2001:db8::9", 4711), ("2001:db8::1", 443)),
]


@pytest.mark.parametrize("header", HEADERS)
@pytest.mark.parametrize("piece", [1, 20, 1000])
async def test_a_trusted_proxy_names_its_visitor(header: bytes, piece: int) -> None:
    async with edges(trusted=HERE) as here:
        stream = await here.visit()
        data = header + REQUEST
        for at in range(0, len(data), piece):
            await stream.send_all(data[at : at + piece])
        assert (await everything(stream)).startswith(b"HTTP/1.1 404 ")
        assert here.addresses == [("2001:db8::9" if header is HEADERS[2] else "203.0.113.9", 4711)]


async def test_on_https_too() -> None:
    async with edges("https", trusted=HERE) as here:
        stream = await here.visit()
        await stream.send_all(HEADERS[1])
        tls = trio.SSLStream(stream, contexts()[0], server_hostname=SERVER_NAME)
        await tls.send_all(REQUEST)
        assert (await tls.receive_some()).startswith(b"HTTP/1.1 404 ")
        assert here.addresses == [("203.0.113.9", 4711)]
        await trio.aclose_forcefully(tls)


@pytest.mark.parametrize(
    "request_bytes", [REQUEST, REQUEST.replace(b"GET", b"PUT"), b"\r\n" + REQUEST, REQUEST.replace(b"GET", b"PROXY")]
)
async def test_a_trusted_proxy_need_not_use_it(request_bytes: bytes) -> None:
    async with edges(trusted=HERE) as here:
        stream = await here.visit()
        await stream.send_all(request_bytes)
        answer = await everything(stream)
        if request_bytes.startswith(b"PROXY"):
            assert answer == b""  # a word that only the header may begin with
        else:
            assert answer.startswith(b"HTTP/1.1 404 ")
            assert [host for host, _ in here.addresses] == ["127.0.0.1"]


@pytest.mark.parametrize("header", HEADERS)
async def test_from_anybody_else_it_is_no_http(header: bytes) -> None:
    async with edges() as here:
        stream = await here.visit()
        await stream.send_all(header + REQUEST)
        assert (await everything(stream)).startswith(b"HTTP/1.1 400 ")
        assert [host for host, _ in here.addresses] == ["127.0.0.1"]


@pytest.mark.parametrize("header", [b"PROXY TCP4 1 2 3 4\r\n", HEADERS[1][:12] + b"\xff" + HEADERS[1][13:]])
async def test_a_malformed_one_is_closed(header: bytes) -> None:
    async with edges(trusted=HERE) as here:
        stream = await here.visit()
        await stream.send_all(header + REQUEST)
        assert await everything(stream) == b""
        assert here.addresses == []


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_defect_costs_one_visitor(scheme: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with edges(scheme, trusted=HERE) as e:
        with structlog.testing.capture_logs() as lines:

            def fail(*_: object) -> None:
                raise RuntimeError("a defect")

            with monkeypatch.context() as patch:
                patch.setattr(arrivals, "decode", fail)
                visitor = await e.visit()
                await visitor.send_all(encode(1, ("203.0.113.7", 1)))
                with pytest.raises(trio.BrokenResourceError):
                    await visitor.receive_some()
            await e.counted(0)
        assert [line["event"] for line in lines if line["log_level"] == "error"] == [
            "a visitor was lost to a defect of the server"
        ]
        again = await e.visit()
        await e.counted(1)
        await again.aclose()
        await e.counted(0)
