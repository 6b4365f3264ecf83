"""The web server: Hypercorn's trio worker on a socket of ours. Knows no page."""

from __future__ import annotations

import socket
from typing import Any, Final

import hypercorn.trio
import trio
from hypercorn.config import Config

BACKLOG: Final = 100
GRACE: Final = 0.5  # seconds for answers under way when the agent ends


def listen(host: str, port: int) -> socket.socket:
    """A bound socket that is not inherited. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


async def serve_app(
    app: Any, sock: socket.socket, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED
) -> None:
    """Serve until cancelled; `sock` is owned from here on."""
    config = Config()
    config.bind = [f"fd://{sock.detach()}"]
    config.backlog = BACKLOG
    config.accesslog = None
    config.errorlog = None
    config.include_server_header = False
    config.graceful_timeout = GRACE
    config.websocket_max_message_size = 64 * 1024
    config.h11_max_incomplete_size = 64 * 1024
    await hypercorn.trio.serve(app, config, shutdown_trigger=trio.sleep_forever, task_status=task_status)
