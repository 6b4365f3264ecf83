"""The SDK in the lines of its documentation, against the small native server."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

import ngrokc
from protocol.errors import ConfigError, RefusedError
from protocol.frames import take
from protocol.link.port import Port
from protocol.messages import AuthResp, CloseTunnel, NewTunnel, StartProxy
from tests.kit.faults import refused_port
from tests.kit.go_wire import server_context
from tests.kit.native_server import NativeServer


@asynccontextmanager
async def serving(server: NativeServer | None = None) -> AsyncIterator[tuple[NativeServer, str]]:
    async with trio.open_nursery() as nursery:
        server = server or NativeServer(server_context())
        await nursery.start(server.serve)
        yield server, f"127.0.0.1:{server.port}"
        nursery.cancel_scope.cancel()


def example(number: int, server: str) -> Callable[[], Awaitable[None]]:
    """`main` of an example of docs/sdk.md, with `server` for its own and without its token."""
    text = (Path(__file__).parents[2] / "docs" / "sdk.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", text, re.DOTALL)[number].removesuffix("trio.run(main)\n")
    for theirs in ('"127.0.0.1:4443"', '"example.me", token="..."'):
        code = code.replace(theirs, repr(server))
    names: dict[str, Any] = {}
    exec(code, names)
    main: Callable[[], Awaitable[None]] = names["main"]
    return main


async def printed(capsys: pytest.CaptureFixture[str], wanted: str) -> str:
    """What was printed, once `wanted` is in it."""
    text = ""
    with trio.fail_after(10):
        while wanted not in text:
            await trio.lowlevel.checkpoint()
            text += capsys.readouterr().out
    return text


async def test_the_first_example(capsys: pytest.CaptureFixture[str]) -> None:
    async with serving() as (server, address), trio.open_nursery() as nursery:
        nursery.start_soon(example(0, address))
        await printed(capsys, "http://hello.ngrok.me\n")
        stream = await server.visit(StartProxy("http://hello.ngrok.me", "192.0.2.1:1", "t1"), b"x")
        assert (await answer_on(stream)).endswith(b"hello\n")
        stream.close()
        nursery.cancel_scope.cancel()


async def test_the_second_example_says_what_it_waits_for(capsys: pytest.CaptureFixture[str]) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(example(1, f"127.0.0.1:{refused_port()}"))
        await printed(capsys, ": nothing listens there\n")
        nursery.cancel_scope.cancel()
    async with serving() as (_, address), trio.open_nursery() as nursery:
        nursery.start_soon(example(1, address))
        text = await printed(capsys, "at your service: http://app.ngrok.me\n")
        assert f"online at {address} " in text
        nursery.cancel_scope.cancel()


async def answer_on(port: Port) -> bytes:
    data = b""
    with trio.fail_after(10):
        while more := await port.stream().receive_some():
            data += more
    found = take(data)
    assert found is not None
    return data[found[1] :]


async def hello(visitor: ngrokc.VisitorStream) -> None:
    await visitor.receive_some()
    await visitor.send_all(b"hello")
    await visitor.aclose()


async def test_listen() -> None:
    async with (
        serving() as (server, address),
        ngrokc.listen(server=address, name=ngrokc.Name(subdomain="hello")) as listener,
    ):
        assert listener.url == "http://hello.ngrok.me"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.serve_listeners, hello, [listener])
            stream = await server.visit(StartProxy(listener.url, "192.0.2.1:1", "t1"), b"x")
            assert await answer_on(stream) == b"hello"
            stream.close()
            nursery.cancel_scope.cancel()


async def test_closing_a_listener_takes_the_tunnel_down() -> None:
    async with serving() as (server, address), ngrokc.connect(address) as connection:
        listener = await connection.listen()
        await listener.aclose()
        assert (await server.seen(CloseTunnel)).tunnel_id == "t1"
        with pytest.raises(trio.ClosedResourceError):
            await listener.accept()


async def test_forward_and_status() -> None:
    async with serving() as (_, address), ngrokc.connect(address) as connection:
        tunnel = await connection.forward(8080, ngrokc.Name("http+https", subdomain="a"))
        assert tunnel.urls == ("http://a.ngrok.me", "https://a.ngrok.me")
        assert connection.agent.status().state == "online"
        await tunnel.aclose()
        assert connection.agent.status().tunnels == ()
    async with serving() as (_, address), ngrokc.forward("localhost:1", server=address) as tunnel:
        assert tunnel.url == "http://random.ngrok.me"


async def test_a_refused_tunnel_is_raised_and_forgotten() -> None:
    server = NativeServer(server_context())
    server.refuse_tunnel = NewTunnel("", "", "", "taken", "name_taken")
    async with serving(server) as (_, address), ngrokc.connect(address) as connection:
        with pytest.raises(RefusedError, match="taken"):
            await connection.forward(80)
        assert connection.agent.status().tunnels == ()


async def test_a_final_refusal_ends_the_block() -> None:
    server = NativeServer(server_context())
    server.refuse_login = AuthResp(error="no such token", code="bad_token", retry=False)
    async with serving(server) as (_, address):
        with pytest.raises(RefusedError, match="no such token"):
            async with ngrokc.connect(address):
                await trio.sleep_forever()


@pytest.mark.parametrize("upstream", ["x", "99999", "ftp://x"])
async def test_bad_arguments(upstream: str) -> None:
    with pytest.raises(ConfigError):
        async with ngrokc.connect("a:b:c"):
            pass
    async with serving() as (_, address), ngrokc.connect(address) as connection:
        with pytest.raises(ConfigError):
            await connection.forward(upstream)


def test_what_is_public() -> None:
    for name in ngrokc.__all__:
        assert getattr(ngrokc, name) is not None
    with pytest.raises(AttributeError):
        _ = ngrokc.nothing
