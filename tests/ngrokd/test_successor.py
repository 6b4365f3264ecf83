"""Starting one's own successor: what is passed on, what comes back, and that a failed one is only a line in the log."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog
import trio
import trio.testing
from structlog.testing import capture_logs

from ngrokd.successor import PIPE, REASON_CAP, Successor, own_words, tell_predecessor

TELL = "import os, sys; from ngrokd.successor import tell_predecessor as tell; "


def successor(code: str, *words: str, replaced: bool = False, **environ: str) -> Successor:
    """One that is a Python program."""
    return Successor(
        [sys.executable, "-c", code, *words], {**os.environ, **environ}, structlog.get_logger(), lambda: replaced
    )


async def start(found: Successor) -> tuple[bool, list[Any]]:
    with capture_logs() as lines, trio.fail_after(20):
        return await found.start(), lines


async def test_same_words_and_environment(tmp_path: Path) -> None:
    path = tmp_path / "seen"
    code = (
        f"{TELL} import json; json.dump([sys.argv[1:], dict(os.environ)], open({str(path)!r}, 'w')); tell(os.environ)"
    )
    done, lines = await start(
        successor(code, "-domain=a", replaced=False, NGROKD_GRACE="5", LISTEN_FDS="3", LISTEN_PID="1", WATCHDOG_PID="1")
    )
    words, environ = json.loads(path.read_text())
    assert words == ["-domain=a", "-takeOver"]
    assert environ["NGROKD_GRACE"] == "5"
    assert not {"LISTEN_FDS", "LISTEN_PID", "WATCHDOG_PID"} & environ.keys()
    assert not done  # it has ended without taking over
    assert "it ended with 0" in lines[-1]["reason"]


async def test_one_that_has_taken_over(tmp_path: Path) -> None:
    """It lives on; while it starts, and when it has started, there is no other."""
    gate, replaced = tmp_path / "gate", False
    os.mkfifo(gate)

    def open_gate() -> None:
        gate.write_text("")

    code = f"{TELL} wait = lambda: open({str(gate)!r}).read(); wait(); tell(os.environ); wait()"
    words = [sys.executable, "-c", code, "-takeOver"]
    found = Successor(words, os.environ, structlog.get_logger(), lambda: replaced)
    served: list[bool] = []

    async def first() -> None:
        served.append(await found.start())

    with capture_logs() as lines:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(first)
            await trio.testing.wait_all_tasks_blocked()
            assert not await found.start()
            replaced = True
            await trio.to_thread.run_sync(open_gate)
        assert not await found.start()
    await trio.to_thread.run_sync(open_gate)
    assert found.process is not None
    await trio.to_thread.run_sync(found.process.wait)
    assert served == [True]
    assert sorted(line["log_level"] for line in lines) == ["info", "info", "warning", "warning"]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (f"{TELL} tell(os.environ, 'the port is in use'); sys.exit(2)", "the port is in use"),
        ("raise SystemExit(3)", "it ended with 3"),
        (f"{TELL} tell(os.environ, 'x' * 100_000)", "x" * REASON_CAP),
    ],
)
async def test_one_that_fails(code: str, reason: str) -> None:
    done, lines = await start(successor(code))
    assert not done
    assert (lines[-1]["log_level"], lines[-1]["reason"]) == ("error", reason)


async def test_a_program_that_is_gone(tmp_path: Path) -> None:
    found = Successor([str(tmp_path / "none")], {}, structlog.get_logger())
    done, lines = await start(found)
    assert not done
    assert lines[-1]["reason"] == "No such file or directory"


def test_a_process_that_nobody_has_started_tells_nothing() -> None:
    environs: list[dict[str, str]] = [{}, {PIPE: ""}, {PIPE: "x"}, {PIPE: "1"}, {PIPE: "999999"}]
    for environ in environs:
        tell_predecessor(environ, "a reason")
        assert PIPE not in environ


def test_our_own_words_start_this_interpreter() -> None:
    assert own_words()[0] == sys.executable


async def test_no_descriptors_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server goes on: a signal must not end it."""

    def fail() -> tuple[int, int]:
        raise OSError(errno.EMFILE, "too many open files")

    monkeypatch.setattr(os, "pipe", fail)
    done, lines = await start(successor(""))
    assert not done
    assert lines[-1]["reason"] == "too many open files"
