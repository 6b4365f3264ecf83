"""WebSockets through the real pair: compressed, up to 16 MiB, text and bytes, and refused as the service refuses them."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.kit.programs import open_world
from tests.kit.upstream import open_upstream
from tests.kit.visitor import open_visitor
from tests.kit.websocket import WebSocketClient

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
MIB = 1 << 20


@pytest.mark.parametrize("settings", [{}, {"mux": False}], ids=["native", "classic"])
async def test_messages_of_every_size_compressed_or_not(tmp_path: Path, settings: dict[str, object]) -> None:
    big = random.Random(6).randbytes(MIB) * 16
    async with open_upstream() as upstream, open_world(tmp_path) as world:
        server = await world.ngrokd(https=False)
        await world.ngrokc({"same": {"proto": {"http": upstream.http_port}}}, server, settings=settings)
        for compress in (False, True):
            for port in (upstream.http_port, server.http_port):
                async with open_visitor(port, "same.localhost") as visitor:
                    socket = WebSocketClient(visitor.stream)
                    await socket.open("same.localhost", compress=compress, subprotocol="chat")
                    assert socket.compressed is compress
                    sizes = (0, 125, 126, 65536, MIB) if compress else (0, 126, 65535, 65536, 16 * MIB)
                    for size in sizes:
                        await socket.send(big[:size])
                        assert await socket.receive() == big[:size]
                    await socket.send("text \u2713")
                    assert await socket.receive() == "text \u2713"
                    await socket.close()
