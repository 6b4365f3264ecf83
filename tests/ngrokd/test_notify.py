"""Datagrams to systemd, as sd_notify(3) describes them."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from ngrokd.notify import Notifier


def test_what_is_said(tmp_path: Path) -> None:
    path = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(path))
        sock.settimeout(2)
        notifier = Notifier({"NOTIFY_SOCKET": str(path), "WATCHDOG_USEC": "5000000"})
        assert notifier.watchdog == 5.0
        notifier.ready("serving")
        assert sock.recv(500).decode().splitlines() == ["READY=1", f"MAINPID={os.getpid()}", "STATUS=serving"]
        notifier.reloading()
        assert sock.recv(500).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        notifier.stopping("finishing")
        assert sock.recv(500) == b"STOPPING=1\nSTATUS=finishing"
        notifier.alive()
        assert sock.recv(500) == b"WATCHDOG=1"


def test_nobody_listens(tmp_path: Path) -> None:
    Notifier({}).ready("serving")
    Notifier({"NOTIFY_SOCKET": str(tmp_path / "gone")}).ready("serving")
    Notifier({"NOTIFY_SOCKET": "@nobody-there"}).alive()


def test_a_watchdog_for_another_process_is_not_ours() -> None:
    assert Notifier({"WATCHDOG_USEC": "5000000", "WATCHDOG_PID": "1"}).watchdog == 0.0
    assert Notifier({"WATCHDOG_USEC": "x"}).watchdog == 0.0
