"""Files of JSON lines: private, appended to, opened anew when they were moved away."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from ngrokd.json_lines import JsonLines, check_target
from protocol.errors import ConfigError
from protocol.secret import Secret


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_lines_are_appended_with_their_time(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    for number in range(2):
        lines = JsonLines(str(path), "auditLog")
        lines.write({"event": "\n\x1b[2J\u202e", "number": number, "secret": Secret("canary")})
        lines.close()
    assert [line["number"] for line in read(path)] == [0, 1]
    assert all(line["time"].endswith("+00:00") for line in read(path))
    assert "canary" not in path.read_text()
    assert path.read_text().isascii()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_file_that_was_moved_away(tmp_path: Path) -> None:
    """As logrotate does it: what was written before the signal stands in the old one, nothing is lost."""
    path, old = tmp_path / "a.log", tmp_path / "a.log.1"
    lines = JsonLines(str(path), "auditLog")
    lines.write({"number": 1})
    path.rename(old)
    lines.reopen()
    lines.reopen()
    lines.write({"number": 2})
    lines.close()
    found = [line["number"] for line in read(old) + read(path)]
    assert found == [1, 2]
    assert read(old)[0]["number"] == 1


def test_a_place_that_is_gone_keeps_the_old_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = tmp_path / "logs"
    place.mkdir()
    lines = JsonLines(str(place / "a.log"), "auditLog")
    place.rename(tmp_path / "elsewhere")
    lines.reopen()
    lines.write({"number": 1})
    lines.close()
    assert [line["number"] for line in read(tmp_path / "elsewhere" / "a.log")] == [1]
    assert "ngrokd: -auditLog: the log can't be opened anew" in capsys.readouterr().err


def test_lines_after_the_end_are_counted(tmp_path: Path) -> None:
    lines = JsonLines(str(tmp_path / "a.log"), "auditLog")
    lines.write({"number": 1})
    lines.end()
    lines.write({"number": 2})
    assert lines.dropped == 1
    lines.close()
    first, *rest = read(tmp_path / "a.log")
    assert first["number"] == 1
    assert all(line["lost"] == 1 for line in rest)


def test_what_can_not_be_opened_names_its_flag(tmp_path: Path) -> None:
    for target in ("", "stdout", str(tmp_path / "a.log")):
        check_target(target, "auditLog")
    with pytest.raises(ConfigError, match=r"-auditLog: .*No such file"):
        check_target(str(tmp_path / "none" / "a"), "auditLog")
    with pytest.raises(ConfigError, match="-auditLog"):
        JsonLines(str(tmp_path / "none" / "a"), "auditLog")
