"""1.7 clients at our server: the cases of section 6 of the notes on 1.7 that a faithful client can show, over TLS on loopback.

The same cases with the real Go programs, by hand: docs/compatibility.md.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog
import trio
import trustme

from ngrokd.server import Server
from ngrokd.settings import settings_from
from protocol.link import relay
from tests.kit.classic_client import ClassicClient, ClientTimes, Wish
from tests.kit.go_wire import GoError, Journal, Tricks, connect, unverified_context
from tests.kit.upstream import Upstream, open_upstream
from tests.kit.visitor import open_visitor, trusting

QUICK = ClientTimes(first_wait=0.01, longest_wait=0.05)
REALM = 'Basic realm="ngrok"'


@functools.cache
def _issued() -> trustme.LeafCert:
    return trustme.CA().issue_cert("*.localhost")


def certificate(path: Path) -> tuple[str, str]:
    """Files of a certificate, made once: the server's own would take a second each time."""
    chain, key = path / "chain.pem", path / "key.pem"
    chain.write_bytes(b"".join(part.bytes() for part in _issued().cert_chain_pems))
    key.write_bytes(_issued().private_key_pem.bytes())
    key.chmod(0o600)
    return str(chain), str(key)


class World:
    """A running server and a private service. `client` starts a 1.7 client and waits until all its tunnels are online."""

    def __init__(self, server: Server, upstream: Upstream, nursery: trio.Nursery) -> None:
        self.server = server
        self.upstream = upstream
        self._nursery = nursery

    def port(self, listener: str) -> int:
        return self.server.addresses[listener][0].port

    @property
    def local(self) -> tuple[str, int]:
        return ("127.0.0.1", self.upstream.http_port)

    def start(self, *wishes: Wish, **more: object) -> ClassicClient:
        address = ("127.0.0.1", self.port("tunnel"))
        client = ClassicClient(address, unverified_context(), *wishes, **{"times": QUICK, **more})  # type: ignore[arg-type]
        self._nursery.start_soon(client.run)
        return client

    async def client(self, *wishes: Wish, **more: object) -> ClassicClient:
        client = self.start(*wishes, **more)
        await client.journal.seen("client", "online", sum(len(wish.protocol.split("+")) for wish in wishes))
        return client


@contextlib.asynccontextmanager
async def world(tmp_path: Path, **more: object) -> AsyncIterator[World]:
    given = dict.fromkeys(("http_addr", "https_addr", "tunnel_addr"), "127.0.0.1:0")
    given |= {"domain": "localhost", "state_dir": str(tmp_path / "state"), "grace": "0.05"}
    given["tls_crt"], given["tls_key"] = certificate(tmp_path)
    config = settings_from({**given, **more})
    server = Server(config, structlog.get_logger())
    async with trio.open_nursery() as nursery, open_upstream() as upstream:
        await nursery.start(server.serve)
        with trio.fail_after(20):
            async with trio.open_nursery() as clients:
                yield World(server, upstream, clients)
                clients.cancel_scope.cancel()
            server.stop()
            await server.stopped.wait()


def free_port() -> int:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def port_of(client: ClassicClient) -> int:
    (url,) = [url for url in client.urls if url.startswith("tcp:")]
    return int(url.rpartition(":")[2])


# -- 1, 2, 24, 29: names, order, what the agent is told
async def test_the_order_of_a_session_and_a_page(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client = await w.client(Wish(w.local, subdomain="test"))
        got = [what for who, what, _ in client.journal.entries if who == "got"]
        assert got[:2] == ["AuthResp", "ReqProxy"]  # before any tunnel exists
        assert set(client.journal.last("got", "AuthResp")) == {"Version", "MmVersion", "ClientId", "Error"}
        async with open_visitor(w.port("http"), "test.localhost") as visitor:
            answer = await visitor.ask("/page", "X-Forwarded-For: 6.6.6.6", method="POST", body=b"hello")
            fields = {name.lower(): value for name, value in json.loads(answer.body)["fields"]}
            assert fields["x-forwarded-for"] == "127.0.0.1"
        start = client.journal.last("got", "StartProxy")
        assert set(start) == {"Url", "ClientAddr"}
        assert start["Url"] == f"http://test.localhost:{w.port('http')}"
        assert str(start["ClientAddr"]).startswith("127.0.0.1:")


@pytest.mark.parametrize("order", ["http+https", "https+http"])
async def test_either_order_and_each_protocol_has_its_own_port(tmp_path: Path, order: str) -> None:
    async with world(tmp_path) as w:
        client = await w.client(Wish(w.local, order))
        names = {url.partition("://")[2].partition(".")[0] for url in client.urls}
        assert len(names) == 1  # a random one, shared
        (name,) = names
        assert set(client.urls) == {f"{scheme}://{name}.localhost:{w.port(scheme)}" for scheme in ("http", "https")}
        for scheme in ("http", "https"):
            tls = trusting() if scheme == "https" else None
            async with open_visitor(w.port(scheme), f"{name}.localhost", tls=tls) as visitor:
                assert (await visitor.ask()).status == 200


async def test_several_tunnels_and_a_hostname_of_ones_own(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        wishes = [Wish(w.local, subdomain=name) for name in ("one", "two", " THREE ")]
        client = await w.client(*wishes, Wish(w.local, hostname="Shop.Example.org"))
        assert f"http://three.localhost:{w.port('http')}" in client.urls
        assert "http://shop.example.org" in client.urls  # as a real 1.7 says it, with no port
        for host in ("one.localhost", "two.localhost", "three.localhost", "shop.example.org"):
            async with open_visitor(w.port("http"), host) as visitor:
                assert (await visitor.ask()).status == 200


async def test_a_visitor_by_ipv6(tmp_path: Path) -> None:
    if not socket.has_dualstack_ipv6():
        pytest.skip("no IPv6 here")
    async with world(tmp_path, http_addr=":0") as w:
        client = await w.client(Wish(w.local, subdomain="test"))
        for address, shown in (("::1", "[::1]:"), ("127.0.0.1", "127.0.0.1:")):
            async with open_visitor(w.port("http"), "test.localhost", address=address) as visitor:
                assert (await visitor.ask()).status == 200
            assert str(client.journal.last("got", "StartProxy")["ClientAddr"]).startswith(shown)


# -- 3, 4, 5, 9: coming back
async def test_a_lost_control_link_gets_the_same_random_url_and_port(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client = await w.client(Wish(w.local, "http"), Wish(w.local, "tcp"))
        urls, first = set(client.urls), client.client_id
        client.urls.clear()
        assert client.control is not None
        await trio.aclose_forcefully(client.control.stream)
        await client.journal.seen("client", "online", 4)
        assert (set(client.urls), client.client_id) == (urls, first)


async def test_a_session_that_still_seems_alive_gives_way_to_its_own_client(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        old = await w.client(Wish(w.local, subdomain="test"), tricks=Tricks())
        new = w.start(Wish(w.local, subdomain="test"))
        new.client_id = old.client_id
        await new.journal.seen("client", "online")
        assert new.said is None
        await old.journal.seen("client", "lost")
        async with open_visitor(w.port("http"), "test.localhost") as visitor:
            assert (await visitor.ask()).status == 200
        assert new.journal.count("proxy", "joined") + old.journal.count("proxy", "joined") == 1


async def test_a_new_server_believes_an_id_it_never_gave(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client = w.start(Wish(w.local, subdomain="test"))
        client.client_id = "0123456789abcdef0123456789abcdef"
        await client.journal.seen("client", "online")
        assert client.client_id == "0123456789abcdef0123456789abcdef"


# -- 6, 7, 8, 9: refusals, after which a 1.7 client exits
async def test_refusals_are_said_in_words(tmp_path: Path) -> None:
    async with world(tmp_path, https_addr="") as w:
        port = free_port()
        keeper = await w.client(Wish(w.local, subdomain="test"), Wish(w.local, "tcp", remote_port=port))
        assert port_of(keeper) == port
        for wish, words in (
            (Wish(w.local, subdomain="test"), "already register"),
            (Wish(w.local, "tcp", remote_port=port), "already register"),
            (Wish(w.local, "http+https", subdomain="other"), "https"),
            (Wish(w.local, "udp"), "http, https or tcp"),
        ):
            client = w.start(wish)
            await client.journal.seen("client", "exit")
            assert client.said is not None
            assert words in client.said
        stranger = w.start(Wish(w.local))
        stranger.version = "3"
        await stranger.journal.seen("client", "exit")
        async with open_visitor(w.port("http"), "test.localhost") as visitor:
            assert (await visitor.ask()).status == 200  # the first owner noticed nothing
        assert keeper.said is None


# -- 10, 11, 30: every request of a connection by itself
async def test_each_request_is_authorised_and_routed_by_itself(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.client(Wish(w.local, subdomain="locked", http_auth="user:pass"), Wish(w.local, subdomain="open"))
        good = "Authorization: Basic " + base64.b64encode(b"user:pass").decode()
        async with open_visitor(w.port("http"), "locked.localhost") as visitor:
            assert (await visitor.ask("/", good)).status == 200
            assert (await visitor.ask("/", good, host="open.localhost")).status == 200
            answer = await visitor.ask("/")
            assert answer.status == 401
            assert REALM.encode() in answer.head.raw
            assert b"Authorization required" in answer.body
        async with open_visitor(w.port("http"), "open.localhost") as visitor:
            assert (await visitor.ask("/")).status == 200
            answer = await visitor.ask("/", host="nobody.localhost")
            assert answer.status == 404
            assert b"Tunnel not found" in answer.body


@pytest.mark.parametrize("host", ["TEST.localhost", "test.localhost.", "test.localhost:80", "test.localhost:{port}"])
async def test_the_forms_of_a_host(tmp_path: Path, host: str) -> None:
    async with world(tmp_path) as w:
        await w.client(Wish(w.local, subdomain="test"))
        async with open_visitor(w.port("http"), host.format(port=w.port("http"))) as visitor:
            assert (await visitor.ask()).status == 200


# -- 12: heartbeats
async def test_pings_are_answered_while_tunnels_are_set_up(tmp_path: Path) -> None:
    times = ClientTimes(ping_every=0.001, pong_within=5, first_wait=0.01)
    async with world(tmp_path) as w:
        client = await w.client(*(Wish(w.local, subdomain=f"test{number}") for number in range(20)), times=times)
        await client.journal.seen("got", "Pong", 20)
        assert client.journal.count("client", "lost") == 0


# -- 14, 17, 18: traffic
async def test_a_hundred_visitors_at_once(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client = await w.client(Wish(w.local, subdomain="test"))
        statuses: list[int] = []

        async def visit() -> None:
            async with open_visitor(w.port("http"), "test.localhost") as visitor:
                statuses.append((await visitor.ask("/bytes/2000")).status)

        async with trio.open_nursery() as nursery:
            for _ in range(100):
                nursery.start_soon(visit)
        assert statuses == [200] * 100
        assert client.journal.count("client", "lost") == 0


async def test_every_kind_of_answer(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.client(Wish(w.local, subdomain="test"))
        async with open_visitor(w.port("http"), "test.localhost") as visitor:
            for target in ("/bytes/300000", "/chunked/300000"):
                head, length, sha = await visitor.download(target)
                assert (length, sha.encode()) == (300000, head.get(b"x-sha256"))
            for status in (204, 304):
                assert (await visitor.ask(f"/status/{status}")).status == status
            assert (await visitor.ask("/bytes/5", method="HEAD")).body == b""
            body = b"x" * 300_000
            for length_of_body in (len(body), None):
                answer = await visitor.upload("/upload", [body], length_of_body)
                assert json.loads(answer.body)["sha256"] == hashlib.sha256(body).hexdigest()
            await visitor.send("/a")
            await visitor.send("/b")
            assert [(await visitor.wire.answer(method=b"GET")).status for _ in range(2)] == [200, 200]


async def test_continue_comes_from_the_edge(tmp_path: Path) -> None:
    """A real 1.7 client freezes on interim answers, so the service does not even hear of the wish."""
    async with world(tmp_path) as w:
        await w.client(Wish(w.local, subdomain="test"))
        async with open_visitor(w.port("http"), "test.localhost") as visitor:
            await visitor.send("/", "Expect: 100-continue", "Content-Length: 5", method="POST")
            interim = await visitor.wire.head()
            assert interim is not None
            assert interim.raw.startswith(b"HTTP/1.1 100 ")
            await visitor.stream.send_all(b"hello")
            answer = await visitor.wire.answer(method=b"POST")
            assert answer.status == 200
            assert b"100-continue" not in answer.body.lower()


async def test_events_arrive_one_by_one(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.client(Wish(w.local, subdomain="test"))
        async with open_visitor(w.port("http"), "test.localhost") as visitor:
            await visitor.send("/sse?events=3&gate=next")
            assert await visitor.wire.head() is not None
            seen = bytes(visitor.wire.buffer)
            for number in range(1, 4):
                while seen.count(b"\n\n") < number:
                    data = await visitor.stream.receive_some()
                    assert data
                    seen += data
                w.upstream.gate("next").release()


# -- 16: the service is down
async def test_the_clients_own_502_page_arrives(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        await w.client(Wish(("127.0.0.1", free_port()), subdomain="down"))
        async with open_visitor(w.port("http"), "down.localhost") as visitor:
            answer = await visitor.ask()
            assert answer.status == 502
            assert b"Tunnel is dead" in answer.body


# -- 19: half-close, and visitors that just leave
async def test_tcp_visitors_that_leave_leave_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "HELD_SECONDS", 0.05)
    async with world(tmp_path) as w:
        client = await w.client(Wish(("127.0.0.1", w.upstream.echo_port), "tcp"))
        async with await trio.open_tcp_stream("127.0.0.1", port_of(client)) as visitor:
            await visitor.send_all(b"ping")
            assert await visitor.receive_some() == b"ping"
        await client.journal.seen("proxy", "parted")  # the service is told, although 1.7 has no half-close
        while w.server.live_visitors:
            await trio.sleep(0.005)


async def test_an_answer_after_a_half_close_arrives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "HELD_SECONDS", 0.5)
    async with world(tmp_path) as w:
        client = await w.client(Wish(("127.0.0.1", w.upstream.echo_port), "tcp"))
        async with await trio.open_tcp_stream("127.0.0.1", port_of(client)) as visitor:
            await visitor.send_all(b"x" * 100_000)
            await visitor.send_eof()  # between two programs of 1.7 this cuts the echo
            assert len(b"".join([data async for data in visitor])) == 100_000


# -- 20, 21: other ways to write
@pytest.mark.parametrize(
    "tricks", [Tricks(one_record=True), Tricks(pieces=1), Tricks(pieces=7), Tricks(extra={"Caps": None, "Later": [1]})]
)
async def test_any_cutting_of_records_and_unknown_keys(tmp_path: Path, tricks: Tricks) -> None:
    async with world(tmp_path) as w:
        await w.client(Wish(w.local, subdomain="test"), tricks=tricks)
        async with open_visitor(w.port("http"), "test.localhost") as visitor:
            assert (await visitor.ask()).status == 200


async def test_frames_for_1_7_fit_one_record(tmp_path: Path) -> None:
    """A Go client reads a body with one read, which stops at a record's end: the peer here does the same."""
    async with world(tmp_path) as w:
        conn = await connect(("127.0.0.1", w.port("tunnel")), unverified_context(), Tricks(), Journal())
        await conn.send_msg("Auth", {"Version": "2"})
        assert (await conn.read_msg())[0] == "AuthResp"
        assert (await conn.read_msg())[0] == "ReqProxy"
        for size in (1, 300, 3000, 15_000):
            await conn.send_msg("ReqTunnel", {"ReqId": "a" * size, "Protocol": "http", "Subdomain": f"test{size}"})
            kind, message = await conn.read_msg()
            assert (kind, message["ReqId"], message["Error"]) == ("NewTunnel", "a" * size, "")
        await conn.close()


# -- 38: the other side's errors
@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"",
        b'{"Type":"Nonsense","Payload":{}}',
        b'{"Type":"ReqTunnel"}',
        b'{"Type":"ReqTunnel","Payload":{"RemotePort":-1}}',
    ],
)
async def test_what_is_an_error_for_1_7_ends_the_link(tmp_path: Path, body: bytes) -> None:
    async with world(tmp_path) as w:
        client = await w.client(Wish(w.local, subdomain="test"))
        assert client.control is not None
        await client.control.send_frame(body)
        await client.journal.seen("client", "online", 2)  # and 1.7's client comes back


@pytest.mark.parametrize("kind", ["Pong", "ReqProxy", "NewTunnel", "StartProxy", "Auth"])
async def test_a_known_message_in_the_wrong_place_is_ignored(tmp_path: Path, kind: str) -> None:
    async with world(tmp_path) as w:
        client = await w.client(Wish(w.local, subdomain="test"))
        assert client.control is not None
        await client.control.send_msg(kind, {})
        await client.control.send_frame(b'{"Type":"Ping","Payload":null}')
        await client.control.send_msg("Ping", {})
        await client.journal.seen("got", "Pong")
        assert client.journal.count("client", "lost") == 0


async def test_a_proxy_link_of_an_unknown_id_is_closed(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        conn = await connect(("127.0.0.1", w.port("tunnel")), unverified_context(), Tricks(), Journal())
        await conn.send_msg("RegProxy", {"ClientId": "f" * 32})
        with pytest.raises((GoError, trio.BrokenResourceError)):
            await conn.read_msg()
        await conn.close()


# -- 28: the end of the server
async def test_a_running_request_is_finished_before_the_server_ends(tmp_path: Path) -> None:
    async with world(tmp_path, grace="10") as w:
        client = await w.client(Wish(w.local, subdomain="test"))
        async with open_visitor(w.port("http"), "test.localhost") as visitor:
            await visitor.send("/wait?gate=go")
            await client.journal.seen("proxy", "joined")
            w.server.stop()
            w.upstream.gate("go").release()
            answer = await visitor.wire.answer(method=b"GET")
            assert answer.status == 200
            assert answer.head.get(b"connection") == b"close"
        await w.server.stopped.wait()
        await client.journal.seen("client", "lost")


# -- a visitor between our NewTunnel and the client's reading of it
async def test_a_visitor_who_is_faster_than_the_clients_reading_is_served(tmp_path: Path) -> None:
    async with world(tmp_path) as w:
        client = await w.client(Wish(w.local, subdomain="test"))
        (url,) = client.urls
        wish = client.urls.pop(url)  # as if NewTunnel had not been read yet
        async with open_visitor(w.port("http"), "test.localhost") as visitor:
            await visitor.send()
            await client.journal.seen("proxy", "ended")
            client.urls[url] = wish
            assert (await visitor.wire.answer(method=b"GET")).status == 200
