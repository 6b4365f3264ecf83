"""The access log: a line of JSON for each exchange, without queries, private, and never in anybody's way."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ngrokd.admin.access_log import TARGET_CAP, AccessLog
from protocol.errors import ConfigError


def visit(target: bytes = b"/a?token=secret", method: bytes = b"GET") -> Any:
    request = SimpleNamespace(target=target, method=method, host="a.example")
    return SimpleNamespace(
        request=request,
        request_id="c1.1",
        address=("192.0.2.7", 99),
        began=1.0,
        opened=1.0,
        answered=1.25,
        moved=(10, 20),
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_exchange_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "access.log"
    log = AccessLog(str(path), lambda: 1.5)
    log.exchange(visit(), SimpleNamespace(id="t1"), 200)  # type: ignore[arg-type]
    log.refused(visit(b"/\r\n\x1b[2J\xff" + b"x" * 1000), "tunnel_not_found", "detail")
    headless = visit()
    headless.request = None
    log.refused(headless, "bad_request", "")
    log.lines.close()
    first, second, third = lines(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "secret" not in path.read_text()
    del first["time"]
    assert first == {
        "request": "c1.1", "visitor": "192.0.2.7", "host": "a.example", "method": "GET", "path": "/a", "status": 200,
        "tunnel": "t1", "up": 10, "down": 20, "ms": 500.0, "answer_ms": 250.0,
    }  # fmt: skip
    assert second["error"] == "tunnel_not_found"
    assert len(second["path"]) == TARGET_CAP
    assert "method" not in third


def test_a_file_that_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="-accessLog"):
        AccessLog(str(tmp_path / "none" / "x"), lambda: 0.0)


def test_a_full_disk_costs_lines_and_nothing_else() -> None:
    log = AccessLog("/dev/full", lambda: 1.5)
    log.exchange(visit(), None, 200)
    log.lines.close()
    assert log.lines.dropped == 1
