"""http and https tunnels through the real programs, from a visitor's connection to the private service and back."""

from __future__ import annotations

import base64
import hashlib
import json
import time

import pytest
import trio

from tests.kit.faults import refused_port
from tests.kit.patterns import blocks, digest
from tests.kit.programs import World
from tests.kit.upstream import Upstream
from tests.kit.visitor import open_visitor, trusting
from tests.kit.websocket import WebSocketClient

Dialect = dict[str, object]
MIB = 1 << 20


def http(upstream: Upstream, **more: object) -> dict[str, object]:
    return {"proto": {"http": upstream.http_port}, **more}


async def test_a_request_goes_through_and_says_whose_it_is(world: World, upstream: Upstream, dialect: Dialect) -> None:
    server = await world.ngrokd()
    agent = await world.ngrokc({"test": http(upstream)}, server, settings=dialect)
    assert agent.urls["http"] == f"http://test.localhost:{server.http_port}"
    host = f"test.localhost:{server.http_port}"
    async with open_visitor(server.http_port, host) as visitor:
        answer = await visitor.ask(
            "/a%2Fb?c=d", "X-ODD:  kept ", "X-Forwarded-For: 6.6.6.6", method="POST", body=b"\x00body"
        )
        assert answer.status == 200
        seen = json.loads(answer.body)
        fields = {name.lower(): value for name, value in seen["fields"]}
        assert seen["method"], seen["target"] == ("POST", "/a%2Fb?c=d")
        assert seen["sha256"] == hashlib.sha256(b"\x00body").hexdigest()
        assert ["X-ODD", "kept"] in seen["fields"]
        assert fields["host"] == host
        assert fields["x-forwarded-for"] == "127.0.0.1"
        assert fields["x-forwarded-proto"] == "http"
        assert fields["x-forwarded-host"] == host


async def test_https(world: World, upstream: Upstream, dialect: Dialect) -> None:
    server = await world.ngrokd()
    agent = await world.ngrokc(
        {"test": {"proto": {"http": upstream.http_port, "https": upstream.http_port}}}, server, settings=dialect
    )
    assert agent.urls == {
        "http": f"http://test.localhost:{server.http_port}",
        "https": f"https://test.localhost:{server.https_port}",
    }
    async with open_visitor(server.https_port, f"test.localhost:{server.https_port}", tls=trusting()) as visitor:
        seen = json.loads((await visitor.ask("/")).body)
        assert ["X-Forwarded-Proto", "https"] in seen["fields"]
        _, length, checksum = await visitor.download(f"/bytes/{MIB}")
        assert (length, checksum) == (MIB, digest(MIB))


async def test_unknown_names_and_wrong_passwords_stop_at_the_edge(world: World, upstream: Upstream) -> None:
    server = await world.ngrokd()
    await world.ngrokc({"test": http(upstream, auth="user:secret")}, server)
    async with open_visitor(server.http_port, "test.localhost") as visitor:
        refused = await visitor.ask("/")
        assert refused.status == 401
        assert b"Basic realm=" in (refused.head.get(b"www-authenticate") or b"")
        assert refused.head.get(b"connection") == b"close"
    async with open_visitor(server.http_port, "test.localhost") as visitor:
        right = base64.b64encode(b"user:secret").decode()
        assert (await visitor.ask("/", f"Authorization: Basic {right}")).status == 200
        assert (await visitor.ask("/")).status == 401  # the next request is judged by itself
    async with open_visitor(server.http_port, "nobody.localhost") as visitor:
        missing = await visitor.ask("/")
        assert missing.status == 404
        assert b"not found" in missing.body
        assert b"nobody" not in missing.body
    assert len(upstream.seen) == 1


async def test_two_names_on_one_connection_reach_their_own_service(world: World, upstream: Upstream) -> None:
    server = await world.ngrokd()
    await world.ngrokc({"one": http(upstream), "two": http(upstream), "three": http(upstream, auth="a:b")}, server)
    async with open_visitor(server.http_port, "one.localhost") as visitor:
        for host in ("one.localhost", "two.localhost", "one.localhost"):
            seen = json.loads((await visitor.ask("/", host=host)).body)
            assert ["Host", host] in seen["fields"]
        assert (await visitor.ask("/", host="three.localhost")).status == 401


async def test_bodies_of_every_framing_are_byte_equal(world: World, upstream: Upstream, dialect: Dialect) -> None:
    server = await world.ngrokd()
    await world.ngrokc({"test": http(upstream)}, server, settings=dialect)
    size = 8 * MIB + 12345
    async with open_visitor(server.http_port, "test.localhost") as visitor:
        for length in (size, None):
            answer = await visitor.upload("/upload", blocks(size), length)
            assert json.loads(answer.body) == {"length": size, "sha256": digest(size)}
        for path in ("bytes", "chunked", "until-close"):
            _, length_seen, checksum = await visitor.download(f"/{path}/{size}")
            assert (length_seen, checksum) == (size, digest(size)), path


async def test_heads_without_bodies_interim_answers_and_trailers(world: World, upstream: Upstream) -> None:
    server = await world.ngrokd()
    await world.ngrokc({"test": http(upstream)}, server)
    async with open_visitor(server.http_port, "test.localhost") as visitor:
        head = await visitor.ask("/bytes/1000", method="HEAD")
        assert (head.status, head.head.get(b"content-length"), head.body) == (200, b"1000", b"")
        assert (await visitor.ask("/status/204")).status == 204
        assert (await visitor.ask("/status/304")).status == 304
        hints = await visitor.ask("/early-hints")
        assert [interim.status for interim in hints.interim] == [103]
        assert (await visitor.ask("/trailers")).trailers == ((b"X-Checksum", b"abc"),)
        await visitor.send("/upload", "Expect: 100-continue", "Content-Length: 5", method="POST")
        assert (await visitor.wire.until(b"\r\n\r\n") or b"").startswith(b"HTTP/1.1 100")
        await visitor.stream.send_all(b"12345")
        assert json.loads((await visitor.wire.answer()).body)["length"] == 5


async def test_server_sent_events_arrive_one_by_one(world: World, upstream: Upstream, dialect: Dialect) -> None:
    """Each event but the first is sent only when the one before was seen here."""
    server = await world.ngrokd()
    await world.ngrokc({"test": http(upstream)}, server, settings=dialect)
    async with open_visitor(server.http_port, "test.localhost") as visitor:
        await visitor.send("/sse?events=5&gate=events")
        head = await visitor.wire.head()
        assert head is not None
        events = visitor.wire.body(head)
        for number in range(5):
            event = b""
            while not event.endswith(b"\n\n"):
                event += await anext(events)
            assert event == b"id: %d\ndata: event %d\n\n" % (number, number)
            upstream.gate("events").release()


@pytest.mark.parametrize("compress", [False, True])
async def test_websocket_echo(world: World, upstream: Upstream, dialect: Dialect, compress: bool) -> None:
    server = await world.ngrokd()
    await world.ngrokc({"test": http(upstream)}, server, settings=dialect)
    async with open_visitor(server.http_port, "test.localhost") as visitor:
        client = WebSocketClient(visitor.stream)
        await client.open("test.localhost", "/ws?greet=hello", compress=compress)
        assert client.compressed == compress
        assert await client.receive() == "hello"
        large = b"".join(blocks(2 * MIB))
        for message in ("text \u2713", b"\x00\x01", large):
            await client.send(message)
            assert await client.receive() == message
        await client.close()


async def test_200_visitors_at_once(world: World, upstream: Upstream, dialect: Dialect) -> None:
    """All are connected, and have had an answer, before any of them leaves."""
    server = await world.ngrokd()
    await world.ngrokc({"test": http(upstream)}, server, settings=dialect)
    visitors = 200
    answered = 0
    everyone = trio.Event()

    async def visit(number: int) -> None:
        nonlocal answered
        async with open_visitor(server.http_port, "test.localhost") as visitor:
            assert json.loads((await visitor.ask(f"/{number}")).body)["target"] == f"/{number}"
            answered += 1
            if answered == visitors:
                everyone.set()
            await everyone.wait()
            size = 1000 + number
            _, length, checksum = await visitor.download(f"/bytes/{size}")
            assert (length, checksum) == (size, digest(size))

    async with trio.open_nursery() as nursery:
        for number in range(visitors):
            nursery.start_soon(visit, number)


async def test_a_service_that_is_not_there_gives_502(world: World, upstream: Upstream, dialect: Dialect) -> None:
    server = await world.ngrokd()
    await world.ngrokc({"gone": {"proto": {"http": refused_port()}}, "test": http(upstream)}, server, settings=dialect)
    async with open_visitor(server.http_port, "gone.localhost") as visitor:
        answer = await visitor.ask("/")
        assert answer.status == 502
        assert b"127.0.0.1" not in answer.body  # the public learns nothing of what is inside
    async with open_visitor(server.http_port, "test.localhost") as visitor:
        assert (await visitor.ask("/")).status == 200


@pytest.mark.parametrize(
    "kind", ["close-before-head", "close-in-head", "reset", "garbage", "two-lengths", "unasked-101"]
)
async def test_a_service_that_misbehaves_before_its_answer_gives_502(
    world: World, upstream: Upstream, kind: str
) -> None:
    server = await world.ngrokd()
    await world.ngrokc({"test": http(upstream)}, server)
    async with open_visitor(server.http_port, "test.localhost") as visitor:
        assert (await visitor.ask(f"/fault/{kind}")).status == 502
    async with open_visitor(server.http_port, "test.localhost") as visitor:
        assert (await visitor.ask("/")).status == 200


async def test_start_to_online_within_a_second(world: World, upstream: Upstream) -> None:
    server = await world.ngrokd()
    began = time.monotonic()
    await world.ngrokc({"test": http(upstream)}, server)
    assert time.monotonic() - began < 5  # a guard here, two shared cores run the suite; the bench reports the figure
