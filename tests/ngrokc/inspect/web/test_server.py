from __future__ import annotations

import httpx
import pytest
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ngrokc.inspect.web.server import listen, serve_app


async def hello(_: Request) -> PlainTextResponse:
    return PlainTextResponse("hello")


async def test_serves_on_our_socket_until_cancelled() -> None:
    sock = listen("127.0.0.1", 0)
    port = sock.getsockname()[1]
    assert not sock.get_inheritable()
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_app, Starlette(routes=[Route("/", hello)]), sock)
        async with httpx.AsyncClient(trust_env=False) as client:
            answer = await client.get(f"http://127.0.0.1:{port}/")
        assert answer.text == "hello"
        assert "server" not in answer.headers
        nursery.cancel_scope.cancel()
    with pytest.raises(OSError, match=r"multiple exceptions|refused|failed"):
        await trio.open_tcp_stream("127.0.0.1", port)


def test_a_taken_port_is_an_error() -> None:
    first = listen("127.0.0.1", 0)
    first.listen()
    with pytest.raises(OSError, match="in use"):
        listen("127.0.0.1", first.getsockname()[1])
    first.close()
