"""Serves the operator's page and API on a listening socket: Starlette on Hypercorn's trio worker. Knows nothing of what the
application does. Imported only when there is such a listener: it costs a third of a second and 15 MB."""

from __future__ import annotations

import socket
from typing import Any, Final, cast

import trio
from hypercorn.config import Config, Sockets
from hypercorn.trio.run import worker_serve
from hypercorn.utils import wrap_app
from starlette.types import ASGIApp

GRACE: Final = 1.0  # seconds for answers under way when it ends


class _Silent:
    """Hypercorn's log: what matters of requests is in the audit log."""

    def __init__(self, config: Config) -> None: ...

    async def access(self, *_: Any) -> None: ...

    async def critical(self, *_: Any, **__: Any) -> None: ...

    async def error(self, *_: Any, **__: Any) -> None: ...

    async def warning(self, *_: Any, **__: Any) -> None: ...

    async def info(self, *_: Any, **__: Any) -> None: ...

    async def debug(self, *_: Any, **__: Any) -> None: ...

    async def exception(self, *_: Any, **__: Any) -> None: ...

    async def log(self, *_: Any, **__: Any) -> None: ...


async def serve(
    app: ASGIApp,
    sock: socket.socket,
    *,
    task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve HTTP/1.1 on `sock` (listening; closed at the end) until cancelled."""
    config = Config()
    config.logger_class = _Silent  # type: ignore[assignment]
    config.alpn_protocols = ["http/1.1"]
    config.include_server_header = False
    config.include_date_header = False
    config.keep_alive_timeout = 30
    config.read_timeout = 30
    config.graceful_timeout = GRACE
    config.h11_max_incomplete_size = 16 * 1024
    config.max_app_queue_size = 4
    await worker_serve(
        wrap_app(cast("Any", app), 64 * 1024, "asgi"), config, sockets=Sockets([], [sock], []), task_status=task_status
    )
