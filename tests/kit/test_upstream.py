"""The kit tests itself first: a private service that lies would make every other test lie."""

from __future__ import annotations

import hashlib
import json

import pytest
import trio

from tests.kit.faults import KINDS, refused_port
from tests.kit.http1 import Answer, Truncated, Wire
from tests.kit.patterns import blocks, digest
from tests.kit.upstream import Upstream, open_upstream
from tests.kit.websocket import WebSocketClient


async def ask(upstream: Upstream, request: bytes) -> Answer:
    stream = await trio.open_tcp_stream("127.0.0.1", upstream.http_port)
    async with stream:
        await stream.send_all(request)
        return await Wire(stream).answer(method=request.partition(b" ")[0])


def request(path: str, *lines: str, method: str = "GET", body: bytes = b"") -> bytes:
    head = [f"{method} {path} HTTP/1.1", "Host: kit", *lines]
    if body:
        head.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(head) + "\r\n\r\n").encode() + body


async def test_the_request_comes_back_as_it_was_sent() -> None:
    async with open_upstream() as upstream:
        answer = await ask(upstream, request("/a%20b?c", "x-ODD:  v ", method="POST", body=b"\xffbody"))
        seen = json.loads(answer.body)
        assert seen["method"] == "POST"
        assert seen["target"] == "/a%20b?c"
        assert seen["fields"] == [["Host", "kit"], ["x-ODD", "v"], ["Content-Length", "5"]]
        assert seen["body"].encode("latin-1") == b"\xffbody"
        assert seen["sha256"] == hashlib.sha256(b"\xffbody").hexdigest()
        assert upstream.seen[0].target == b"/a%20b?c"


@pytest.mark.parametrize("path", ["bytes", "chunked", "until-close"])
@pytest.mark.parametrize("size", [0, 1, 65536, 200_001])
async def test_bodies_match_their_checksum(path: str, size: int) -> None:
    async with open_upstream() as upstream:
        answer = await ask(upstream, request(f"/{path}/{size}"))
        assert len(answer.body) == size
        assert hashlib.sha256(answer.body).hexdigest() == digest(size) == (answer.head.get(b"x-sha256") or b"").decode()


async def test_upload_keep_alive_and_100_continue() -> None:
    async with open_upstream() as upstream:
        stream = await trio.open_tcp_stream("127.0.0.1", upstream.http_port)
        async with stream:
            wire = Wire(stream)
            await stream.send_all(
                b"POST /upload HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
            assert (await wire.until(b"\r\n\r\n") or b"").startswith(b"HTTP/1.1 100")
            for block in blocks(100_000):
                await stream.send_all(b"%x\r\n%b\r\n" % (len(block), block))
            await stream.send_all(b"0\r\nX-T: 1\r\n\r\n")
            answer = await wire.answer()
            assert json.loads(answer.body) == {"length": 100_000, "sha256": digest(100_000)}
            await stream.send_all(request("/trailers"))
            answer = await wire.answer()
            assert answer.body == b"hello"
            assert answer.trailers == ((b"X-Checksum", b"abc"),)


@pytest.mark.parametrize(("path", "status"), [("/status/204", 204), ("/status/304", 304), ("/early-answer", 413)])
async def test_odd_statuses(path: str, status: int) -> None:
    async with open_upstream() as upstream:
        assert (await ask(upstream, request(path))).status == status


async def test_head_and_early_hints() -> None:
    async with open_upstream() as upstream:
        assert (await ask(upstream, request("/bytes/100", method="HEAD"))).body == b""
        assert [head.status for head in (await ask(upstream, request("/early-hints"))).interim] == [103]


async def test_events_wait_for_their_gate() -> None:
    async with open_upstream() as upstream:
        stream = await trio.open_tcp_stream("127.0.0.1", upstream.http_port)
        async with stream:
            wire = Wire(stream)
            await stream.send_all(request("/sse?events=2&gate=g"))
            head = await wire.head()
            assert head is not None
            events = wire.body(head)
            assert b"event 0" in await anext(events)
            assert (await ask(upstream, request("/gate/g", method="POST"))).status == 200
            assert b"event 1" in await anext(events)


@pytest.mark.parametrize("compress", [False, True])
async def test_websocket_echo(compress: bool) -> None:
    async with open_upstream() as upstream:
        stream = await trio.open_tcp_stream("127.0.0.1", upstream.http_port)
        async with stream:
            client = WebSocketClient(stream)
            await client.open("kit", "/ws?greet=hi", compress=compress)
            assert client.compressed == compress
            assert await client.receive() == "hi"
            messages: list[str | bytes] = ["text", b"\x00bytes" * 100_000]
            for message in messages:
                await client.send(message)
                assert await client.receive() == message
            await client.close()


async def test_tcp_services() -> None:
    async with open_upstream() as upstream:
        for port, said in [
            (upstream.echo_port, b"hello"),
            (upstream.greeting_port, b"220 kit at your service\r\nhello"),
        ]:
            async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
                await stream.send_all(b"hello")
                await stream.send_eof()
                assert b"".join([data async for data in stream]) == said
        async with await trio.open_tcp_stream("127.0.0.1", upstream.digest_port) as stream:
            await stream.send_all(b"hello")
            await stream.send_eof()
            assert b"".join([data async for data in stream]).decode().strip() == hashlib.sha256(b"hello").hexdigest()


@pytest.mark.parametrize("kind", KINDS)
async def test_faults_never_give_a_whole_honest_answer(kind: str) -> None:
    async with open_upstream() as upstream:
        with trio.move_on_after(0.2):
            try:
                answer = await ask(upstream, request(f"/fault/{kind}"))
            except (Truncated, ValueError, trio.BrokenResourceError):
                return
            assert kind in {
                "long",
                "two-answers",
                "two-lengths",
                "length-and-chunked",
                "header-injection",
                "unasked-101",
            }, answer


async def test_nobody_listens_on_a_refused_port() -> None:
    with pytest.raises(OSError, match="connect"):
        await trio.open_tcp_stream("127.0.0.1", refused_port())
