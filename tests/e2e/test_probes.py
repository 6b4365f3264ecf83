"""Every probe of `tests.kit.probes` through the real programs, by http and by https, to a service that writes down what
reaches it. What a probe means in each cut is `tests/ngrokd/edge/test_probes.py`; here it is that nothing between a visitor's
socket and the service's reads it otherwise."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from tests.kit.exchanges import messages
from tests.kit.probes import HOST, SMUGGLED, Probe, probes
from tests.kit.programs import open_world
from tests.kit.visitor import open_visitor, trusting

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Recorder:
    """A service that answers each whole request, and knows all that it ever received."""

    def __init__(self) -> None:
        self.port = 0
        self.connections: list[bytearray] = []

    async def serve(self, stream: trio.SocketStream) -> None:
        received = bytearray()
        self.connections.append(received)
        answered = 0
        with contextlib.suppress(trio.BrokenResourceError):
            while data := await stream.receive_some():
                received += data
                found = messages(bytes(received), None)[0]
                for one in found[answered:]:
                    expects = any(name.lower() == b"expect" for name, _ in one.fields)
                    await stream.send_all((CONTINUE if expects else b"") + OK)
                answered = len(found)


@contextlib.asynccontextmanager
async def recorder() -> AsyncIterator[Recorder]:
    service = Recorder()
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_tcp, service.serve, 0)
        service.port = listeners[0].socket.getsockname()[1]
        yield service
        nursery.cancel_scope.cancel()


async def ask(probe: Probe, port: int, https: bool) -> tuple[bytes, bool]:
    """What the visitor got, and whether the connection has ended. A passing probe has as many answers as requests."""
    got = b""
    wanted = 0 if isinstance(probe.verdict, int) else len(probe.verdict) + 1
    async with open_visitor(port, HOST.decode(), tls=trusting() if https else None) as visitor:
        with contextlib.suppress(trio.BrokenResourceError):
            await visitor.stream.send_all(probe.data + SMUGGLED)
            with trio.fail_after(8):
                while not wanted or got.count(b"HTTP/1.1 200 ") < wanted:
                    data = await visitor.stream.receive_some(65536)
                    if not data:
                        return got, True
                    got += data
    return got, False


@pytest.mark.parametrize("https", [False, True], ids=["http", "https"])
async def test_every_probe_through_the_real_programs(tmp_path: Path, https: bool) -> None:
    found: list[str] = []
    async with recorder() as service, open_world(tmp_path, seconds=150) as world:
        server = await world.ngrokd("-domain=test")
        tunnel = {"subdomain": "one", "proto": {"https" if https else "http": service.port}}
        await world.ngrokc({"one": tunnel}, server)
        port = server.https_port if https else server.http_port
        for probe in probes():
            service.connections.clear()
            got, ended = await ask(probe, port, https)
            reached = b"".join(bytes(one) for one in service.connections)
            if isinstance(probe.verdict, int):
                right = got.startswith(b"HTTP/1.1 %d " % probe.verdict) and got.count(b"HTTP/1.1 ") == 1 and ended
                right &= not reached
            else:
                right = sum(len(messages(bytes(one), None)[0]) for one in service.connections) == len(probe.verdict) + 1
            if not right:
                found.append(
                    f"{probe.name} ({probe.section}): got {got[:80]!r}, ended: {ended}, reached: {reached[:80]!r}"
                )
    assert not found, f"{len(found)} wrong:\n" + "\n".join(found)


async def test_what_is_said_before_the_handshake_is_not_heard(tmp_path: Path) -> None:
    """CVE-2023-40217: bytes before a handshake, or instead of it, must not pass for what came through TLS."""
    async with recorder() as service, open_world(tmp_path) as world:
        server = await world.ngrokd("-domain=test")
        await world.ngrokc({"one": {"subdomain": "one", "proto": {"https": service.port}}}, server)
        for ends in (True, False):
            async with await trio.open_tcp_stream("127.0.0.1", server.https_port) as stream:
                await stream.send_all(SMUGGLED)
                if ends:
                    await stream.send_eof()
                with contextlib.suppress(trio.BrokenResourceError), trio.fail_after(15):
                    while data := await stream.receive_some():
                        assert b"HTTP/1.1" not in data
        assert not service.connections
        async with open_visitor(server.https_port, HOST.decode(), tls=trusting()) as visitor:
            assert (await visitor.ask("/")).status == 200
        assert len(service.connections) == 1
