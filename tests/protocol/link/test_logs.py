"""The log: levels of 1.7, one line for each event whatever it carries, and a writer that never holds anybody up."""

from __future__ import annotations

import io
import json
import logging
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import Blame, Fault
from protocol.link.logs import VALUE_CAP, LineWriter, LogFormat, clean, log_fault, open_log
from protocol.secret import Secret


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


class Gate(io.StringIO):
    """A file whose writes wait until they are let through, or fail."""

    def __init__(self) -> None:
        super().__init__()
        self.open = threading.Event()
        self.fail = False

    def write(self, text: str) -> int:
        assert self.open.wait(10)
        if self.fail:
            raise OSError(28, "No space left on device")
        return super().write(text)


@pytest.mark.parametrize(
    ("level", "kept"),
    [
        ("FINEST", ["debug", "info", "warning", "error"]),
        ("DEBUG", ["debug", "info", "warning", "error"]),
        ("TRACE", ["info", "warning", "error"]),
        ("INFO", ["info", "warning", "error"]),
        ("warning", ["warning", "error"]),
        ("ERROR", ["error"]),
        ("CRITICAL", []),
    ],
)
def test_levels(level: str, kept: list[str], tmp_path: Path) -> None:
    sink = open_log(str(tmp_path / "log"), level, LogFormat.JSON)
    for name in ("debug", "info", "warning", "error"):
        getattr(sink.logger, name)("x")
    sink.close()
    assert [line["level"] for line in lines(tmp_path / "log")] == kept


def test_none_writes_nothing_and_unknown_levels_are_errors() -> None:
    sink = open_log("none", "DEBUG")
    sink.logger.error("x")
    sink.close()
    assert sink.dropped == 0
    with pytest.raises(KeyError):
        open_log("none", "LOUD")


def test_a_file_is_appended_to(tmp_path: Path) -> None:
    for _ in range(2):
        sink = open_log(str(tmp_path / "log"), "INFO", LogFormat.JSON)
        sink.logger.info("x", number=1)
        sink.close()
    assert [line["number"] for line in lines(tmp_path / "log")] == [1, 1]


def test_stdout_is_console_and_stays_open() -> None:
    out = io.StringIO()
    sink = open_log("stdout", "INFO", stdout=out)
    sink.logger.info("hello", who="me")
    sink.close()
    assert "hello" in out.getvalue()
    assert "who='me'" in out.getvalue()
    assert not out.closed


NASTY = ["a\nb", "\x1b[2J", "\x9b31m", "\u202egnp.exe", "\ud800", "\x00", "\u2028x", "a\r\n{}"]


@pytest.mark.parametrize("form", [LogFormat.JSON, LogFormat.CONSOLE])
@pytest.mark.parametrize("text", NASTY)
def test_one_event_is_one_harmless_line(text: str, form: LogFormat, tmp_path: Path) -> None:
    sink = open_log(str(tmp_path / "log"), "INFO", form)
    sink.logger.info("visit", host=text, deep={"key" + text: [text, (text,)]}, other=ValueError(text))
    sink.close()
    raw = (tmp_path / "log").read_bytes().decode("utf-8")
    assert raw.count("\n") == 1
    assert not any(ord(letter) < 32 and letter != "\n" for letter in raw)
    assert not set("\x7f\x9b\u202e\u2028") & set(raw)


@given(st.text(max_size=50))
def test_cleaning_keeps_plain_text(text: str) -> None:
    assert clean(text).isprintable() or not text.isprintable()


def test_long_values_are_cut(tmp_path: Path) -> None:
    sink = open_log(str(tmp_path / "log"), "INFO", LogFormat.JSON)
    sink.logger.info("x", host="h" * 100_000, many=list(range(1000)))
    sink.close()
    (line,) = lines(tmp_path / "log")
    assert len(str(line["host"])) < VALUE_CAP + 50
    assert len((tmp_path / "log").read_bytes()) < 3000


def test_secrets_are_masked_by_type(tmp_path: Path) -> None:
    sink = open_log(str(tmp_path / "log"), "INFO", LogFormat.JSON)
    canary = Secret("canary-canary")
    sink.logger.info("x", anything=canary, deep=[{"k": canary}], text=f"{canary}")
    sink.close()
    assert "canary" not in (tmp_path / "log").read_text()


@pytest.mark.parametrize("form", [LogFormat.JSON, LogFormat.CONSOLE])
def test_tracebacks_cannot_pass_for_lines(form: LogFormat, tmp_path: Path) -> None:
    sink = open_log(str(tmp_path / "log"), "INFO", form)
    try:
        raise ValueError("x\n2026-01-01T00:00:00Z [info     ] all is well\x1b[2J")
    except ValueError:
        sink.logger.exception("broken")
    sink.close()
    text = (tmp_path / "log").read_text()
    assert "ValueError" in text
    assert "\x1b" not in text
    assert not any(line.startswith("2026-01-01") for line in text.splitlines())


@pytest.mark.parametrize(
    ("blame", "level"),
    [
        (Blame.VISITOR, "info"),
        (Blame.AGENT, "warning"),
        (Blame.UPSTREAM, "warning"),
        (Blame.SERVER, "error"),
        (Blame.OPERATOR, "warning"),
    ],
)
def test_blame_decides_the_level(blame: Blame, level: str, tmp_path: Path) -> None:
    sink = open_log(str(tmp_path / "log"), "DEBUG", LogFormat.JSON)
    log_fault(sink.logger, Fault("some_code", "a sentence", blame=blame), "refused", host="h")
    sink.close()
    (line,) = lines(tmp_path / "log")
    assert (line["level"], line["event"], line["code"], line["message"]) == (
        level,
        "refused",
        "some_code",
        "a sentence",
    )


# -- the writer
def test_a_stalled_file_drops_and_counts() -> None:
    file, said = Gate(), list[str]()
    writer = LineWriter(file, owns=False, complain=said.append, limit=3)
    for number in range(100):
        writer.write(f"line {number}")
    assert writer.dropped >= 90
    file.open.set()
    writer.close()
    assert "lines were dropped" in file.getvalue()
    assert said == []


def test_a_full_disk_costs_lines_and_one_complaint() -> None:
    file, said = Gate(), list[str]()
    file.fail = True
    file.open.set()
    writer = LineWriter(file, owns=False, complain=said.append)
    writer.write("one")
    writer.write("two")
    writer.close()
    writer.write("late")
    assert len(said) == 1
    assert "No space" in said[0]
    assert writer.dropped == 3


def test_a_file_that_is_owned_is_closed() -> None:
    file = io.StringIO()
    writer = LineWriter(file, owns=True, complain=lambda _text: None)
    writer.close()
    assert file.closed


def test_the_level_changes_under_way_for_loggers_that_are_there(tmp_path: Path) -> None:
    sink = open_log(str(tmp_path / "log"), "WARNING", LogFormat.JSON)
    bound = sink.logger.bind(part="edge")
    for level in ("WARNING", "debug", "ERROR"):
        sink.set_level(level)
        bound.debug("debug", level=level)
        bound.info("info")
        bound.warning("warning")
        bound.error("error")
    sink.close()
    events = [json.loads(line)["event"] for line in (tmp_path / "log").read_text().splitlines()]
    assert events == ["warning", "error", "debug", "info", "warning", "error", "error"]


def test_a_logger_knows_what_it_would_write(tmp_path: Path) -> None:
    """ngrokc asks before it builds an event for every visitor."""
    sink = open_log(str(tmp_path / "log"), "INFO", LogFormat.JSON)
    asked = [sink.logger.is_enabled_for(level) for level in (logging.DEBUG, logging.INFO)]
    sink.set_level("DEBUG")
    asked.append(sink.logger.is_enabled_for(logging.DEBUG))
    sink.close()
    assert asked == [False, True, True]


def test_a_log_that_was_moved_away(tmp_path: Path) -> None:
    sink = open_log(str(tmp_path / "log"), "INFO", LogFormat.JSON)
    sink.logger.info("one")
    (tmp_path / "log").rename(tmp_path / "log.1")
    sink.reopen()
    sink.logger.info("two")
    sink.close()
    found = [
        json.loads(line)["event"] for name in ("log.1", "log") for line in (tmp_path / name).read_text().splitlines()
    ]
    assert found == ["one", "two"]
    quiet = open_log("none", "INFO")
    quiet.reopen()
    quiet.set_level("DEBUG")
    quiet.logger.debug("nothing")
