"""The two classic peers against each other, over TLS on loopback: what they prove about our programs is only worth as much
as their own behaviour here. Section numbers are those of the notes on 1.7."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
import trio.testing

from tests.kit.classic_client import ClassicClient, ClientTimes, Wish
from tests.kit.classic_server import ClassicServer, ServerTimes
from tests.kit.go_wire import GoConn, Journal, Tricks, connect, server_context, unverified_context

QUICK = ClientTimes(first_wait=0.01, longest_wait=0.05)
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


@pytest.fixture(scope="module")
def certificate() -> ssl.SSLContext:
    return server_context()


@asynccontextmanager
async def private_service(answer: bytes = PAGE) -> AsyncIterator[tuple[str, int]]:
    """Answers each read with `answer`, or echoes when there is none, until the end of file; then says `bye`."""

    async def serve(stream: trio.SocketStream) -> None:
        async for data in stream:
            await stream.send_all(answer or data)
        await stream.send_all(b"bye")

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, [listener])
        yield listener.socket.getsockname()
        nursery.cancel_scope.cancel()


@dataclass
class Pair:
    server: ClassicServer
    client: ClassicClient
    nursery: trio.Nursery
    local: tuple[str, int]

    def another(self, *wishes: Wish) -> ClassicClient:
        client = ClassicClient(("127.0.0.1", self.server.tunnel_port), unverified_context(), *wishes, times=QUICK)
        self.nursery.start_soon(client.run)
        return client

    async def raw(self) -> GoConn:
        return await connect(("127.0.0.1", self.server.tunnel_port), unverified_context(), Tricks(), Journal())


@asynccontextmanager
async def pair(server: ClassicServer, *protocols: str, answer: bytes = PAGE, **more: object) -> AsyncIterator[Pair]:
    """A running server, and a client with one tunnel for each given protocol, named t0, t1, ..."""
    async with trio.open_nursery() as nursery, private_service(answer) as local:
        await nursery.start(server.serve)
        wishes = [Wish(local, protocol, subdomain=f"t{number}") for number, protocol in enumerate(protocols)]
        address = ("127.0.0.1", server.tunnel_port)
        client = ClassicClient(address, unverified_context(), *wishes, **{"times": QUICK, **more})  # type: ignore[arg-type]
        nursery.start_soon(client.run)
        yield Pair(server, client, nursery, local)
        nursery.cancel_scope.cancel()


async def ask(port: int, request: bytes, until: bytes = b"") -> bytes:
    """Send, read to the end (or until the answer ends so)."""
    async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
        await stream.send_all(request)
        got = b""
        while not (until and got.endswith(until)):
            more = await stream.receive_some()
            if not more:
                break
            got += more
        return got


def get(server: ClassicServer, name: str = "t0", fields: str = "") -> bytes:
    return f"GET / HTTP/1.1\r\nHost: {name}.ngrok.me:{server.http_port}\r\n{fields}\r\n".encode()


async def test_a_page_comes_through(certificate: ssl.SSLContext) -> None:
    async with pair(ClassicServer(certificate), "http") as it:
        online = await it.client.journal.seen("client", "online")
        assert online["Url"] == f"http://t0.ngrok.me:{it.server.http_port}"
        assert await ask(it.server.http_port, get(it.server), PAGE) == PAGE
        got = [what for who, what, _ in it.client.journal.entries if who == "got"]
        assert got[0] == "AuthResp"
        assert got.index("ReqProxy") == 1  # before any tunnel exists
        start = it.client.journal.last("got", "StartProxy")
        assert start["Url"] == online["Url"]
        assert str(start["ClientAddr"]).startswith("127.0.0.1:")
        await it.client.journal.seen("got", "ReqProxy", 2)  # the pool is filled again


@pytest.mark.parametrize("protocol", ["http+https", "https+http"])
async def test_the_second_protocol_inherits_the_firsts_port(certificate: ssl.SSLContext, protocol: str) -> None:
    async with pair(ClassicServer(certificate), protocol) as it:
        await it.client.journal.seen("client", "online", 2)
        first = protocol.partition("+")[0]
        port = it.server.ports[first]
        assert set(it.client.urls) == {f"http://t0.ngrok.me:{port}", f"https://t0.ngrok.me:{port}"}


async def test_tcp_and_the_end_of_one_direction(certificate: ssl.SSLContext) -> None:
    async with pair(ClassicServer(certificate), "tcp", answer=b"") as it:
        url = str((await it.client.journal.seen("client", "online"))["Url"])
        port = int(url.rpartition(":")[2])
        async with await trio.open_tcp_stream("127.0.0.1", port) as visitor:
            await visitor.send_all(b"ping")
            assert await visitor.receive_some() == b"ping"
            await visitor.send_eof()
            with pytest.raises((trio.BrokenResourceError, AssertionError)):  # "bye" never comes: both ends are closed
                assert await visitor.receive_some()
        await it.client.journal.seen("proxy", "parted")
        await it.server.journal.seen("visitor", "parted")


async def test_http_errors_of_the_edge(certificate: ssl.SSLContext) -> None:
    server = ClassicServer(certificate)
    async with pair(server, "http") as it:
        secret = it.another(Wish(it.local, subdomain="s", http_auth="user:pass"))
        await secret.journal.seen("client", "online")
        assert b"Tunnel x.ngrok.me" in await ask(server.http_port, get(server, "x"))
        assert (await ask(server.http_port, get(server, "s"))).startswith(b"HTTP/1.0 401 Not Authorized\n")
        allowed = get(server, "s", "Authorization: Basic dXNlcjpwYXNz\r\n")
        assert await ask(server.http_port, allowed, PAGE) == PAGE


async def test_a_dead_private_service_is_a_502(certificate: ssl.SSLContext) -> None:
    async with pair(ClassicServer(certificate)) as it:
        with trio.socket.socket() as free:
            await free.bind(("127.0.0.1", 0))
            lonely = it.another(Wish(free.getsockname(), subdomain="dead"))
            await lonely.journal.seen("client", "online")
            assert b"502 Bad Gateway" in await ask(it.server.http_port, get(it.server, "dead"))


async def test_reconnect_keeps_id_and_random_name(certificate: ssl.SSLContext) -> None:
    async with pair(ClassicServer(certificate)) as it:
        client = it.another(Wish(it.local))
        before = (await client.journal.seen("client", "online"))["Url"]
        client_id = client.client_id
        assert client.control is not None
        await client.control.stream.transport_stream.aclose()
        assert (await client.journal.seen("client", "online", 2))["Url"] == before
        assert client.client_id == client_id
        await client.journal.until(lambda: client.journal.count("sent", "Auth") == 2)
        assert client.journal.last("sent", "Auth")["ClientId"] == client_id


async def test_a_live_id_is_replaced_after_its_end(certificate: ssl.SSLContext) -> None:
    async with pair(ClassicServer(certificate), "http") as it:
        await it.client.journal.seen("client", "online")
        thief = it.another(Wish(it.local, subdomain="t0"))
        thief.client_id = it.client.client_id  # the hijack of 1.7: an id is all it takes
        await thief.journal.seen("client", "online")
        story = [entry[:2] for entry in it.server.journal.entries]
        second_answer = [at for at, entry in enumerate(story) if entry == ("sent", "AuthResp")][1]
        assert story.index(("control", "gone")) < second_answer  # so its names were free


async def test_a_taken_name_ends_the_second_client(certificate: ssl.SSLContext) -> None:
    async with pair(ClassicServer(certificate), "http") as it:
        await it.client.journal.seen("client", "online")
        second = it.another(Wish(it.local, subdomain="t0"))
        await second.journal.seen("client", "exit")
        assert second.said is not None
        assert "is already registered" in second.said
        refusal = second.journal.last("got", "NewTunnel")
        assert (refusal["ReqId"], refusal["Url"], refusal["Protocol"]) == ("", "", "")
        assert await ask(it.server.http_port, get(it.server), PAGE) == PAGE


@pytest.mark.parametrize("version", ["1", ""])
async def test_a_wrong_version_ends_the_client(certificate: ssl.SSLContext, version: str) -> None:
    async with pair(ClassicServer(certificate)) as it:
        client = ClassicClient(("127.0.0.1", it.server.tunnel_port), unverified_context(), times=QUICK)
        client.version = version
        await client.run()
        assert client.said is not None
        assert "Incompatible" in client.said


async def test_a_refused_login_ends_the_client(certificate: ssl.SSLContext) -> None:
    server = ClassicServer(certificate)
    server.auth_error = "go away"
    async with pair(server, "http") as it:
        await it.client.journal.seen("client", "exit")
        assert it.client.said == "go away"


async def test_a_withheld_pong_makes_the_client_dial_anew(certificate: ssl.SSLContext) -> None:
    server = ClassicServer(certificate)
    server.withhold_pong = True
    times = ClientTimes(ping_every=0.02, pong_within=0.05, first_wait=0.01)
    async with pair(server, "http", times=times) as it:
        await it.client.journal.seen("client", "no pong")
        await it.client.journal.seen("client", "online", 2)
        server.withhold_pong = False


async def test_a_withheld_ping_makes_the_server_hang_up(certificate: ssl.SSLContext) -> None:
    server = ClassicServer(certificate, times=ServerTimes(ping_limit=0.05, ping_check=0.01))
    async with pair(server, "http", times=ClientTimes(ping_every=60, first_wait=0.01)) as it:
        await server.journal.seen("control", "lost heartbeat")
        await it.client.journal.seen("client", "online", 2)


async def test_pings_keep_a_session_alive(certificate: ssl.SSLContext) -> None:
    server = ClassicServer(certificate, times=ServerTimes(ping_limit=0.5, ping_check=0.05))
    async with pair(server, "http", times=ClientTimes(ping_every=0.05, pong_within=5)) as it:
        await it.client.journal.seen("got", "Pong", 20)
        assert it.client.journal.count("client", "lost") == 0


async def test_a_body_cut_over_two_records_is_fatal(certificate: ssl.SSLContext) -> None:
    async with pair(ClassicServer(certificate, tricks=Tricks(pieces=60)), "http") as it:
        lost = await it.client.journal.seen("client", "lost")
        assert "but read" in str(lost["error"])
    async with pair(ClassicServer(certificate), "http", tricks=Tricks(pieces=100)) as it:
        assert "but read" in str((await it.server.journal.seen("tunnel", "failed"))["error"])


@pytest.mark.parametrize("tricks", [Tricks(one_record=True), Tricks(extra={"Caps": ["mux"], "Ticket": None})], ids=repr)
async def test_one_record_and_extra_keys_are_harmless(certificate: ssl.SSLContext, tricks: Tricks) -> None:
    async with pair(ClassicServer(certificate, tricks=tricks), "http", tricks=tricks) as it:
        await it.client.journal.seen("client", "online")
        assert await ask(it.server.http_port, get(it.server), PAGE) == PAGE


@pytest.mark.parametrize(
    "body",
    [
        b'{"Type":"GoAway","Payload":{}}',
        b'{"Type":"Ping"}',
        b"{}",
        b"",
        b"nonsense",
        b'{"Type":"NewTunnel","Payload":{"Url":1}}',
    ],
)
async def test_bad_frames_kill_the_session_on_both_sides(certificate: ssl.SSLContext, body: bytes) -> None:
    async with pair(ClassicServer(certificate), "http") as it:
        await it.client.journal.seen("client", "online")
        await it.server.controls[it.client.client_id].conn.send_frame(body)
        await it.client.journal.seen("client", "lost")
        await it.client.journal.seen("client", "online", 2)
        assert it.client.control is not None
        await it.client.control.send_frame(body)
        await it.server.journal.seen("control", "failed", 2)
        await it.client.journal.seen("client", "online", 3)


@pytest.mark.parametrize("length", [-1, 2**62])
async def test_absurd_lengths_kill_the_session(certificate: ssl.SSLContext, length: int) -> None:
    async with pair(ClassicServer(certificate), "http") as it:
        await it.client.journal.seen("client", "online")
        await it.server.controls[it.client.client_id].conn.send_frame(b"", length=length)
        await it.client.journal.seen("client", "lost")


async def test_a_ping_from_the_server_is_ignored(certificate: ssl.SSLContext) -> None:
    async with pair(ClassicServer(certificate), "http") as it:
        await it.client.journal.seen("client", "online")
        await it.server.controls[it.client.client_id].conn.send_msg("Ping", {})
        await it.client.journal.seen("got", "Ping")
        assert await ask(it.server.http_port, get(it.server), PAGE) == PAGE
        assert it.client.journal.count("client", "lost") == 0


async def test_a_wrong_req_id_makes_the_client_start_over(certificate: ssl.SSLContext) -> None:
    server = ClassicServer(certificate)
    server.wrong_req_id = "feedfeedfeedfeed"
    async with pair(server, "http") as it:
        await it.client.journal.seen("client", "lost")
        server.wrong_req_id = ""
        await it.client.journal.seen("client", "online")


async def test_bytes_in_the_record_of_start_proxy_are_not_lost(certificate: ssl.SSLContext) -> None:
    server = ClassicServer(certificate)
    server.payload_with_start = b"first "
    async with pair(server, "tcp", answer=b"") as it:
        url = str((await it.client.journal.seen("client", "online"))["Url"])
        async with await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2])) as visitor:
            await visitor.send_all(b"second")
            got = b""
            while len(got) < 12:
                got += await visitor.receive_some()
            assert got == b"first second"


async def test_stale_proxies_are_passed_over(certificate: ssl.SSLContext) -> None:
    server = ClassicServer(certificate, times=ServerTimes(proxy_deadline=-1.0))
    async with pair(server, "http") as it:
        await it.client.journal.seen("client", "online")
        await server.journal.seen("proxy", "parked")
        async with await trio.open_tcp_stream("127.0.0.1", server.http_port) as visitor:
            await visitor.send_all(get(server))
            await server.journal.seen("proxy", "stale", 2)
            server.times = ServerTimes()
            assert await visitor.receive_some() == PAGE


async def test_surplus_and_foreign_proxies_are_closed(certificate: ssl.SSLContext) -> None:
    async with pair(ClassicServer(certificate), "http") as it:
        await it.client.journal.seen("client", "online")
        for _ in range(12):
            await it.server.controls[it.client.client_id].conn.send_msg("ReqProxy", {})
        await it.server.journal.seen("proxy", "surplus", 3)
        stranger = await it.raw()
        await stranger.send_msg("RegProxy", {"ClientId": "0" * 32})
        assert await stranger.stream.receive_some(1) == b""
        await stranger.close()


async def test_a_client_that_never_answers_req_proxy_costs_the_visitor(certificate: ssl.SSLContext) -> None:
    server = ClassicServer(certificate, times=ServerTimes(proxy_wait=0.05))
    async with pair(server) as it:
        lazy = it.another(Wish(it.local, subdomain="lazy"))
        lazy.ignore_req_proxy = True
        await lazy.journal.seen("client", "online")
        assert await ask(server.http_port, get(server, "lazy")) == b""


async def test_silence_at_the_start_is_cut_off(certificate: ssl.SSLContext) -> None:
    server = ClassicServer(certificate, times=ServerTimes(first_message=0.05))
    async with pair(server) as it:
        conn = await it.raw()
        with pytest.raises(trio.BrokenResourceError):
            await conn.stream.receive_some(1)
        await conn.close()


async def test_a_silent_server_leaves_the_client_waiting(certificate: ssl.SSLContext) -> None:
    server = ClassicServer(certificate)
    server.silent = True
    async with pair(server, "http") as it:
        await it.client.journal.seen("sent", "Auth")
        await trio.testing.wait_all_tasks_blocked()
        assert it.client.said is None
        assert it.client.journal.count("client", "lost") == 0


async def test_visitors_outlive_the_control_connection(certificate: ssl.SSLContext) -> None:
    async with pair(ClassicServer(certificate), "tcp", answer=b"") as it:
        url = str((await it.client.journal.seen("client", "online"))["Url"])
        async with await trio.open_tcp_stream("127.0.0.1", int(url.rpartition(":")[2])) as visitor:
            await visitor.send_all(b"one")
            assert await visitor.receive_some() == b"one"
            it.server.controls[it.client.client_id].scope.cancel()
            await it.client.journal.seen("client", "online", 2)
            await visitor.send_all(b"two")
            assert await visitor.receive_some() == b"two"
