"""Hypercorn on a socket of ours: serves, says nothing, ends when told."""

from __future__ import annotations

import socket

import httpx
import pytest
import trio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from ngrokd.admin.web import serve


async def length(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"{request.url.path} {len(await request.body())}")


async def test_it_serves_and_ends(capfd: pytest.CaptureFixture[str]) -> None:
    app = Starlette(routes=[Route("/{path}", length, methods=["GET", "POST"])])
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    async with trio.open_nursery() as nursery:
        await nursery.start(serve, app, sock)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False) as client:
            answer = await client.post("/a", content=b"x" * 100_000)
            assert answer.text == "/a 100000"
            assert "server" not in answer.headers
            head = await client.get("/b", headers={"x": "y" * 100_000})
            assert head.status_code in (400, 431)
        with trio.fail_after(5):
            nursery.cancel_scope.cancel()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 1)
    assert capfd.readouterr().err == ""
