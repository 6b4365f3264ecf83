"""Starting one's own successor: at a signal, the program once more with the same words, environment and directory, and
-takeOver. It may be another version by now.

What keeps it from starting comes back over a pipe, whose number it finds in its environment: its stderr may lead nowhere.
The old process goes on as if nothing had been. What a successor takes over is `handover`'s business.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Final

import trio

from protocol.link.logs import Log

TAKE_OVER: Final = "-takeOver"
PIPE: Final = "NGROKD_TELL"
REASON_CAP: Final = 2_000  # bytes of what a successor may say
ENDS_SOON: Final = 5.0  # seconds between the last word of one that can't start and its end
# Of this process alone: sockets of its own, and whom the supervisor's watchdog means
_NOT_INHERITED: Final = (PIPE, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "WATCHDOG_PID")


class Successor:
    """Of one process. `words` is the command to run, `replaced` whether one has taken over already."""

    def __init__(
        self, words: Sequence[str], environ: Mapping[str, str], log: Log, replaced: Callable[[], bool] = lambda: False
    ) -> None:
        self._words = [*words, *([] if TAKE_OVER in words else [TAKE_OVER])]
        self._environ = {name: value for name, value in environ.items() if name not in _NOT_INHERITED}
        self._log = log
        self._replaced = replaced
        self._starting = False
        self.process: subprocess.Popen[bytes] | None = None
        """The one that was started last."""

    async def start(self) -> bool:
        """Start one, and wait until it serves or has failed; whether it serves. One at a time. It lives on when this call is
        cancelled."""
        if self._starting or self._replaced():
            self._log.warning("a successor is there already; the signal is ignored")
            return False
        self._starting = True
        try:
            return await self._start()
        finally:
            self._starting = False

    async def _start(self) -> bool:
        try:
            reading, writing = os.pipe()
        except OSError as error:
            return self._failed(error.strerror or str(error))
        async with trio.lowlevel.FdStream(reading) as pipe:
            try:
                self.process = await trio.to_thread.run_sync(self._spawn, writing)
            except OSError as error:
                return self._failed(error.strerror or str(error))
            finally:
                os.close(writing)
            self._log.info("a successor is starting", pid=self.process.pid)
            reason = await _read(pipe)
        ended = await self._ended(self.process)
        if reason or ended is not None:
            return self._failed(reason or f"it ended with {ended}")
        self._log.info("the successor serves", pid=self.process.pid)
        return True

    def _spawn(self, pipe: int) -> subprocess.Popen[bytes]:
        environ = {**self._environ, PIPE: str(pipe)}
        return subprocess.Popen(self._words, env=environ, pass_fds=(pipe,), stdin=subprocess.DEVNULL)  # noqa: S603 - our own

    async def _ended(self, process: subprocess.Popen[bytes]) -> int | None:
        """Its exit code when it is gone, or about to go; None when it serves. The pipe of a killed one is closed, too."""
        try:
            return await trio.to_thread.run_sync(process.wait, 0 if self._replaced() else ENDS_SOON)
        except subprocess.TimeoutExpired:
            return None

    def _failed(self, reason: str) -> bool:
        self._log.error("the successor did not start; this process serves on", reason=reason)
        return False


async def _read(pipe: trio.lowlevel.FdStream) -> str:
    found = b""
    while len(found) < REASON_CAP:
        data = await pipe.receive_some(REASON_CAP)
        if not data:
            break
        found += data
    return found.decode("utf-8", "replace").strip()


def tell_predecessor(environ: MutableMapping[str, str], reason: str = "") -> None:
    """In a successor: say why it can't start, or with no reason that it serves. Once; nothing happens in a process that
    nobody's signal has started. Never raises."""
    number = environ.pop(PIPE, "")
    if not (number.isascii() and number.isdigit()) or int(number) <= 2:
        return
    with contextlib.suppress(OSError):
        os.set_blocking(int(number), False)
        os.write(int(number), reason.encode()[:REASON_CAP])
    with contextlib.suppress(OSError):
        os.close(int(number))


def own_words() -> list[str]:
    """How this process was started, for another one like it."""
    return [sys.executable, *sys.orig_argv[1:]]
