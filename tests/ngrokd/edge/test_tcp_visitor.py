"""Visitors of tcp tunnels: bytes, half-close and resets pass through; verdicts are taken off."""

from __future__ import annotations

import socket

import pytest
import trio

from ngrokd.edge import tcp_visitor
from ngrokd.opener import agent_silent
from protocol.frames import frame
from protocol.messages import Pong, StartProxy, StartProxyResp
from tests.kit.tcpworld import NATIVE, is_reset, tcp_world, until_left


@pytest.mark.parametrize("kind", ["epoll", "tasks"])
async def test_bytes_go_both_ways_and_are_counted(kind: str) -> None:
    async with tcp_world(kind) as w:
        async with await w.visit() as visitor:
            stream = await w.stream()
            await visitor.send_all(b"question")
            assert await stream.receive_some() == b"question"
            await stream.send_all(b"an answer")
            assert await visitor.receive_some() == b"an answer"
            await stream.send_eof()
            assert await visitor.receive_some() == b""
        await until_left(w)
        assert (w.tunnel.traffic.connections, w.tunnel.traffic.up, w.tunnel.traffic.down) == (1, 8, 9)


async def test_the_service_may_speak_first() -> None:
    async with tcp_world() as w, await w.visit() as visitor:
        await (await w.stream()).send_all(b"220 hello")
        assert await visitor.receive_some() == b"220 hello"


async def test_start_proxy_names_the_visitor() -> None:
    async with tcp_world() as w, await w.visit() as visitor:
        await w.stream()
        (start,) = w.agent.starts
        assert start == StartProxy(w.tunnel.url, f"127.0.0.1:{visitor.socket.getsockname()[1]}")
    async with tcp_world(caps=NATIVE) as w, await w.visit():
        await w.stream()
        (start,) = w.agent.starts
        assert (start.tunnel_id, start.proto) == ("t1", "tcp")
        assert start.conn_id


async def test_half_close_reaches_a_native_agent() -> None:
    async with tcp_world(caps=frozenset({"close"})) as w, await w.visit() as visitor:
        stream = await w.stream()
        await visitor.send_all(b"all")
        await visitor.send_eof()
        assert await stream.receive_some() == b"all"
        assert await stream.receive_some() == b""
        await stream.send_all(b"answer")
        assert await visitor.receive_some() == b"answer"


async def test_half_close_is_held_for_a_1_7_agent() -> None:
    async with tcp_world() as w, await w.visit() as visitor:
        stream = await w.stream()
        await visitor.send_all(b"all")
        await visitor.send_eof()
        assert await stream.receive_some() == b"all"
        await stream.send_all(b"answer")
        await stream.send_eof()
        assert await visitor.receive_some() == b"answer"
        assert await visitor.receive_some() == b""
        assert await stream.receive_some() == b""


async def test_a_reset_is_a_reset_on_the_other_side() -> None:
    async with tcp_world() as w, await w.visit() as visitor:
        stream = await w.stream()
        await visitor.send_all(b"x")
        await stream.receive_some()
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        await stream.aclose()
        with pytest.raises(trio.BrokenResourceError):
            await visitor.receive_some()


# -- verdicts
@pytest.mark.parametrize("cut", [0, 1, 9])
async def test_a_good_verdict_is_taken_off(cut: int) -> None:
    async with tcp_world(caps=NATIVE) as w, await w.visit() as visitor:
        stream = await w.stream()
        await visitor.send_all(b"early")
        assert await stream.receive_some() == b"early"  # it need not wait for the verdict
        verdict = frame(StartProxyResp()) + b"answer"
        await stream.send_all(verdict[:cut] or verdict)
        if cut:
            await trio.sleep(0)
            await stream.send_all(verdict[cut:])
        assert await visitor.receive_some() == b"answer"
        await visitor.send_eof()
        assert await stream.receive_some() == b""
        await stream.send_eof()
        assert await visitor.receive_some() == b""
        await until_left(w)
        assert (w.tunnel.traffic.up, w.tunnel.traffic.down) == (5, 6)


async def test_a_visitors_end_need_not_wait_for_the_verdict() -> None:
    async with tcp_world(caps=NATIVE) as w, await w.visit() as visitor:
        stream = await w.stream()
        await visitor.send_all(b"all")
        await visitor.send_eof()
        assert await stream.receive_some() == b"all"
        assert await stream.receive_some() == b""  # a service that answers only now keeps its agent's verdict back
        await stream.send_all(frame(StartProxyResp()) + b"answer")
        await stream.aclose()
        assert await visitor.receive_some() == b"answer"
        assert await visitor.receive_some() == b""
        await until_left(w)
        assert (w.tunnel.traffic.up, w.tunnel.traffic.down) == (3, 6)


@pytest.mark.parametrize(
    "said",
    [
        frame(StartProxyResp("upstream_refused", "no")),
        frame(Pong()),
        b"\xff" * 8,
        b"",
    ],
)
async def test_any_other_beginning_resets_the_visitor(said: bytes) -> None:
    async with tcp_world(caps=NATIVE) as w, await w.visit() as visitor:
        stream = await w.stream()
        if said:
            await stream.send_all(said)
        else:
            await stream.send_eof()
        with pytest.raises(trio.BrokenResourceError):
            await visitor.receive_some()


async def test_a_verdict_that_does_not_come_resets_the_visitor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tcp_visitor, "VERDICT_TIMEOUT", 0.01)
    async with tcp_world(caps=NATIVE) as w:
        assert await is_reset(w)


async def test_without_a_stream_the_visitor_is_reset() -> None:
    async with tcp_world() as w:
        w.agent.refuse = agent_silent()
        assert await is_reset(w)
