"""Audit lines: one form for fail2ban, damped, without secrets."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest

from ngrokd.admin import audit
from ngrokd.admin.audit import Audit
from ngrokd.json_lines import JsonLines
from protocol.link.logs import LogFormat, open_log


class Lines:
    """A log that is read back."""

    def __init__(self, form: LogFormat) -> None:
        self.out = io.StringIO()
        self.sink = open_log("stdout", "INFO", form, stdout=self.out)
        self.now = 0.0
        self.audit = Audit(self.sink.logger, lambda: self.now)

    def read(self) -> list[str]:
        self.sink.close()
        return self.out.getvalue().splitlines()


@pytest.mark.parametrize(
    ("form", "pattern"),
    [
        (LogFormat.JSON, r'"address": ?"(?P<host>[^"]+)".*"event": ?"login refused"'),
        (LogFormat.CONSOLE, r"login refused .*address='(?P<host>[^']+)'"),
    ],
)
def test_one_pattern_finds_who_was_refused(form: LogFormat, pattern: str) -> None:
    lines = Lines(form)
    lines.audit.login_refused("2001:db8::7", "bad_token", "0123456789abcdef")
    (line,) = lines.read()
    found = re.search(pattern, line)
    assert found is not None, line
    assert found["host"] == "2001:db8::7"
    assert "89abcdef" not in line


def test_a_flood_is_one_line_a_second() -> None:
    lines = Lines(LogFormat.JSON)
    for _ in range(100):
        lines.audit.login_refused("192.0.2.7", "bad_token", "c")
    lines.audit.login_refused("192.0.2.8", "bad_token", "c")
    lines.now = 1.0
    lines.audit.login_refused("192.0.2.7", "bad_token", "c")
    found = [json.loads(line) for line in lines.read()]
    assert [row.get("left_out") for row in found] == [None, None, 99]


def test_a_flood_of_addresses_costs_no_memory() -> None:
    lines = Lines(LogFormat.JSON)
    for number in range(audit.MAX_ADDRESSES + 10):
        lines.audit.denied(address=str(number), reason="wrong token")
    assert len(lines.audit._last) <= audit.MAX_ADDRESSES


def test_changes_say_who_and_what() -> None:
    lines = Lines(LogFormat.JSON)
    lines.audit.change("kick", by="local", session="s1")
    (row,) = (json.loads(line) for line in lines.read())
    assert (row["event"], row["by"], row["session"], row["audit"], row["level"]) == (
        "kick",
        "local",
        "s1",
        True,
        "warning",
    )


def test_a_file_of_its_own(tmp_path: Path) -> None:
    """JSON lines with who did what; the server's log has them, too, as fail2ban reads that."""
    lines = Lines(LogFormat.CONSOLE)
    lines.audit.file = JsonLines(str(tmp_path / "audit.log"), "auditLog")
    lines.audit.change("token added", by="local", token="alice", note="x" * 5000)
    lines.audit.login_refused("192.0.2.7", "bad_token", "0123456789abcdef")
    lines.audit.denied(address="192.0.2.8", reason="\x1b[2J")
    lines.audit.file.close()
    made, refused, denied = (json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines())
    assert made.pop("time")
    assert made.pop("note").endswith("(5000 characters)")
    assert made == {"event": "token added", "by": "local", "token": "alice"}
    assert (refused["event"], refused["address"], refused["code"]) == ("login refused", "192.0.2.7", "bad_token")
    assert refused["client"] == "01234567"
    assert (denied["event"], denied["reason"]) == ("admin refused", "\\x1b[2J")
    assert len(lines.read()) == 3


def test_fail2ban_reads_the_file_and_not_what_an_agent_says(tmp_path: Path) -> None:
    lines = Lines(LogFormat.JSON)
    lines.audit.file = JsonLines(str(tmp_path / "audit.log"), "auditLog")
    lines.audit.login_refused("192.0.2.7", "bad_token", "x")
    lines.audit.change("login refused", by='", "address": "192.0.2.99"')
    lines.audit.file.close()
    config = (Path(__file__).parents[3] / "contrib" / "fail2ban-ngrokd.conf").read_text()
    block = config.partition("failregex =")[2].partition("ignoreregex")[0]
    rules = [line.strip().replace("<HOST>", r"([0-9a-f.:]+)") for line in block.splitlines() if line.strip()]

    def hosts(text: str) -> list[str]:
        return [found.group(1) for rule in rules for line in text.splitlines() if (found := re.search(rule, line))]

    assert hosts((tmp_path / "audit.log").read_text()) == ["192.0.2.7"]
    assert hosts("\n".join(lines.read())) == ["192.0.2.7"]
