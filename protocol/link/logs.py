"""The log: structlog with its writing in a thread, so that a slow disk or a paused terminal never holds up traffic.

Knows nothing of tunnels. What arrives here may come from visitors and agents: control and bidi characters are escaped,
each value is cut at a cap, and a Secret prints masked whatever the key is called. The queue between the program and the
writer is bounded; over it lines are dropped, counted, and the count is logged when there is room again.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import IO, Any, TextIO

import structlog
from structlog.typing import FilteringBoundLogger, Processor

from protocol.errors import Blame, Fault
from protocol.secret import Secret

Log = FilteringBoundLogger

QUEUE_LINES = 10_000  # at 300 bytes a line 3 MB: a second of a very bad minute
VALUE_CAP = 1_000  # characters of one value; a Host header may be 16 KiB of somebody's choice
TRACEBACK_CAP = 20_000
COMPLAIN_EVERY = 60.0  # seconds between two complaints about a log that can't be written

# The levels of ngrok 1.7 on the ones that structlog filters by; FINEST and FINE say no more than DEBUG here.
LEVELS = {
    "FINEST": 10, "FINE": 10, "DEBUG": 10, "TRACE": 20, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50,
}  # fmt: skip


class LogFormat(StrEnum):
    AUTO = "auto"  # console on stdout, JSON lines in a file
    CONSOLE = "console"
    JSON = "json"


def log_fault(log: Log, fault: Fault, event: str, **facts: object) -> None:
    """One line for a fault, at the level of its blame: a visitor's is info, ours an error, all others' a warning (also
    what somebody set up wrongly, such as a name that another has: nothing failed here)."""
    emit = {Blame.VISITOR: log.info, Blame.SERVER: log.error}.get(fault.blame, log.warning)
    emit(event, code=fault.code, message=fault.message, **facts)


# -- what may stand in a line
def _escape(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


# C0, DEL, C1, line and paragraph separator, the marks that turn the writing direction, lone surrogates
_UNSAFE = [
    *range(0x20),
    *range(0x7F, 0xA0),
    0x061C,
    0x200E,
    0x200F,
    *range(0x2028, 0x202F),
    *range(0x2066, 0x206A),
    0xFEFF,
]
_ESCAPES: Mapping[int, str] = {code: _escape(chr(code)) for code in [*_UNSAFE, *range(0xD800, 0xE000)]}
_TRACEBACK_ESCAPES: Mapping[int, str] = {code: text for code, text in _ESCAPES.items() if code != 0x0A}


def clean(text: str, cap: int = VALUE_CAP) -> str:
    """`text` as it may stand in a log line or on a terminal: nothing that moves the cursor, at most `cap` characters."""
    if len(text) > cap:
        text = f"{text[:cap]}...({len(text)} characters)"
    return text.translate(_ESCAPES)


def _plain(value: object) -> object:
    """A value reduced to what JSON and the console can show without surprises."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Secret):
        return str(value)
    if isinstance(value, Mapping):
        return {clean(str(key)): _plain(item) for key, item in list(value.items())[:50]}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in list(value)[:50]]
    return clean(str(value))


def _sanitise(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    trace = event.pop("exception", None)
    for key, value in event.items():
        event[key] = _plain(value)
    if trace is not None:
        event["exception"] = str(trace)[-TRACEBACK_CAP:].translate(_TRACEBACK_ESCAPES)
    return event


def _margin(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Tracebacks carry other people's text in messages; a margin keeps that from looking like lines of the log."""
    trace = event.get("exception")
    if trace:
        event["exception"] = "\n".join(f"    | {line}" for line in str(trace).splitlines())
    return event


# -- the thread that writes
class LineWriter:
    """A bounded queue and a thread that empties it into `file`. Calling it never blocks and never raises.

    It closes the file it was given only when `owns` says so; `close` waits at most two seconds for what is queued. With a
    `path` the file can be opened anew, for tools that move logs away.
    """

    def __init__(
        self,
        file: IO[str],
        *,
        owns: bool,
        complain: Callable[[str], None],
        limit: int = QUEUE_LINES,
        gap: Callable[[int], str] | None = None,
        path: Path | None = None,
    ) -> None:
        """`complain` hears of a file that can't be written, once in COMPLAIN_EVERY; `gap` makes the line that says how
        many are missing. `path` is that of `file`, which it owns then."""
        self.dropped = 0
        self._gap = gap or _console_gap
        self._complained = float("-inf")
        self._file = file
        self._path = path
        self._owns = owns or path is not None
        self._complain = complain
        self._limit = limit
        self._lines: deque[str] = deque()
        self._wake = threading.Condition()
        self._closing = self._reopening = False
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Queue one line (without its end), or count it as dropped."""
        with self._wake:
            if self._closing or len(self._lines) >= self._limit:
                self.dropped += 1
                return
            self._lines.append(line)
            self._wake.notify()

    def reopen(self) -> None:
        """Open the path anew, after what is queued; a file that can't be opened is complained of and the old one used on.
        Returns at once."""
        with self._wake:
            self._reopening = self._path is not None
            self._wake.notify()

    def end(self) -> None:
        """No more lines: the thread writes what is queued and lets the file go. Returns at once."""
        with self._wake:
            self._closing = True
            self._wake.notify()

    def close(self) -> None:
        """The same, and wait for it for two seconds at most."""
        self.end()
        self._thread.join(2.0)

    def _run(self) -> None:
        reported = 0
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._lines or self._closing or self._reopening)
                batch = list(self._lines)
                self._lines.clear()
                dropped, self_closing = self.dropped, self._closing
                reopening, self._reopening = self._reopening, False
            if dropped > reported:
                batch.append(self._gap(dropped - reported))
                reported = dropped
            self._put(batch)
            if reopening:
                self._open_anew()
            if self_closing:
                break
        if self._owns:
            with contextlib.suppress(OSError, ValueError):
                self._file.close()

    def _open_anew(self) -> None:
        assert self._path is not None
        try:
            fresh = open_file(self._path)
        except OSError as error:
            self._complain(f"the log can't be opened anew, the old file is used on: {error}")
            return
        with contextlib.suppress(OSError, ValueError):
            self._file.close()
        self._file = fresh

    def _put(self, batch: list[str]) -> None:
        """Write a batch; a full disk costs these lines and one complaint a minute, nothing else."""
        try:
            self._file.write("".join(f"{line}\n" for line in batch))
            self._file.flush()
        except (OSError, ValueError) as error:
            with self._wake:
                self.dropped += len(batch)
            if time.monotonic() - self._complained >= COMPLAIN_EVERY:
                self._complained = time.monotonic()
                self._complain(f"the log can't be written: {error}")
            with self._wake:  # not a busy loop on a full disk, yet at once when the program ends
                self._wake.wait_for(lambda: self._closing, 1.0)


def open_file(path: Path) -> TextIO:
    """A file to append lines to, made if need be, for its owner alone. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    return os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace")


# -- set-up
class LogSink:
    """An open log: `logger` to write with, `close` at the end of the program (flushes, at most two seconds)."""

    def __init__(self, logger: Log, writer: LineWriter | None, lines: _LineLogger | None = None) -> None:
        self.logger = logger
        self._writer = writer
        self._lines = lines

    def set_level(self, level: str) -> None:
        """Write lines of this level (one of LEVELS) and above from now on. Raises KeyError."""
        if self._lines is not None:
            self._lines.least = LEVELS[level.upper()]

    def reopen(self) -> None:
        """Open the file anew, if it is one: it may have been moved away. Returns at once."""
        if self._writer:
            self._writer.reopen()

    @property
    def dropped(self) -> int:
        """Lines that were lost because they came too fast or could not be written."""
        return self._writer.dropped if self._writer else 0

    def close(self) -> None:
        if self._writer:
            self._writer.close()


class _LineLogger:
    """What structlog hands the finished line to, shared by all loggers of one log; so the level lives here."""

    def __init__(self, write: Callable[[str], None], least: int) -> None:
        self._write = write
        self.least = least

    def _line(self, line: str) -> None:
        self._write(line)

    debug = info = warning = error = critical = msg = log = _line


def open_log(
    target: str, level: str, form: LogFormat = LogFormat.AUTO, *, stdout: TextIO | None = None, program: str = "ngrokd"
) -> LogSink:
    """The log for `-log` (`stdout`, `none` or a file path, which is appended to) at a level of ngrok 1.7.

    The caller closes what it gets. Raises OSError when the file can't be opened and KeyError for an unknown level.
    `program` is whose name stands in front of a complaint on stderr when the log can't be written.
    """
    least = LEVELS[level.upper()]
    if target == "none":
        return LogSink(_wrap(_LineLogger(_ignore_line, 100), [_drop]), None)
    out = stdout or sys.stdout
    path = None if target == "stdout" else Path(target)
    file: IO[str] = out if path is None else open_file(path)  # ours for the life of the program; LineWriter closes it
    terminal = target == "stdout" and out.isatty()
    console = form is LogFormat.CONSOLE or (form is LogFormat.AUTO and target == "stdout")
    writer = LineWriter(
        file, owns=False, complain=partial(_to_stderr, program), gap=_console_gap if console else _json_gap, path=path
    )
    lines = _LineLogger(writer.write, least)
    return LogSink(_wrap(lines, _processors(console=console, colors=terminal)), writer, lines)


def _console_gap(count: int) -> str:
    return f"log: {count} lines were dropped: they came faster than they could be written"


def _json_gap(count: int) -> str:
    return json.dumps({"event": "log lines were dropped", "count": count, "level": "warning"})


def _processors(*, console: bool, colors: bool) -> list[Processor]:
    chain: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        structlog.processors.format_exc_info,
        _sanitise,
    ]
    if console:
        chain.append(_margin)
        chain.append(
            structlog.dev.ConsoleRenderer(colors=colors, repr_native_str=True, timestamp_key="time", sort_keys=False)
        )
    else:
        chain.append(structlog.processors.JSONRenderer(ensure_ascii=False))
    return chain


def _wrap(lines: _LineLogger, processors: list[Processor]) -> Log:
    logger: Log = structlog.wrap_logger(lines, processors=processors, wrapper_class=_level_wrapper())
    return logger


def _level_wrapper() -> type[Any]:
    """A bound logger that asks `_LineLogger.least` at each line, where structlog's own has its level built in. A line that
    is not wanted costs one comparison."""
    every = structlog.make_filtering_bound_logger(0)

    def method(name: str, level: int) -> Callable[..., Any]:
        emit = getattr(every, name)

        def write(self: Any, event: str, *arguments: Any, **facts: Any) -> Any:
            if level >= self._logger.least:
                return emit(self, event, *arguments, **facts)
            return None

        return write

    def is_enabled_for(self: Any, level: int) -> bool:
        return bool(level >= self._logger.least)

    levels = {"debug": 10, "info": 20, "warning": 30, "warn": 30, "error": 40, "exception": 40, "critical": 50}
    methods: dict[str, Any] = {name: method(name, level) for name, level in levels.items()}
    return type("LevelLogger", (every,), {**methods, "is_enabled_for": is_enabled_for})


def _drop(_logger: object, _method: str, _event: MutableMapping[str, Any]) -> str:
    raise structlog.DropEvent


def _ignore_line(_line: str) -> None:
    """The log of `-log=none`."""


def _to_stderr(program: str, text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"{program}: {text}\n")
        sys.stderr.flush()
