"""Telling systemd how it goes (sd_notify): ready, reloading, stopping, alive. Nothing happens without NOTIFY_SOCKET.

The protocol is one datagram of lines to a unix socket (sd_notify(3)); no library is needed. Never raises.
"""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Mapping


class Notifier:
    """Reads the environment once. `watchdog` is how often systemd wants to hear `alive`, seconds; 0 for never."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._path = environ.get("NOTIFY_SOCKET", "")
        wanted = environ.get("WATCHDOG_USEC", "")
        mine = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        self.watchdog = int(wanted) / 1e6 if wanted.isascii() and wanted.isdigit() and mine else 0.0

    def ready(self, status: str) -> None:
        """Serving. Names this process: after a hot restart it is another one."""
        self._send(f"READY=1\nMAINPID={os.getpid()}\nSTATUS={status}")

    def reloading(self) -> None:
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self, status: str) -> None:
        self._send(f"STOPPING=1\nSTATUS={status}")

    def alive(self) -> None:
        self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if not self._path:
            return
        address = "\0" + self._path[1:] if self._path.startswith("@") else self._path
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)  # a supervisor that does not read must not stop us
            sock.sendto(text.encode(), address)
