"""The user's terminal: taken over for a while and given back as it was. Lines out, keys in; knows nothing of agents.

Frames go through a thread with room for one: a terminal that was stopped (Ctrl-S, a suspended ssh) costs frames, nothing
else. Only lines that changed are written. On systems without termios there is no screen, just plain lines.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import trio

try:
    import termios
    import tty
except ImportError:  # Windows
    available = False
else:
    available = True

ENTER: Final = "\x1b[?1049h\x1b[?25l\x1b[2J"
LEAVE: Final = "\x1b[0m\x1b[?25h\x1b[?1049l"
SMALLEST: Final = (20, 4)


class Terminal:
    """Made by `open_terminal`, which also gives everything back."""

    def __init__(self, keyboard: int, display: int) -> None:
        self._keyboard = keyboard
        self._display = display
        self._shown: list[str] = []
        self._next: str | None = None
        self._lock = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._write, name="terminal", daemon=True)
        self._thread.start()

    def size(self) -> tuple[int, int]:
        """Columns and rows as they are now."""
        try:
            found = os.get_terminal_size(self._display)
        except OSError:
            return 80, 24
        return max(found.columns, SMALLEST[0]), max(found.lines, SMALLEST[1])

    def show(self, lines: Sequence[str]) -> None:
        """Make the screen these lines, each with its own colours and no longer than the screen is wide. Never waits."""
        with self._lock:
            if self._next is not None:
                return  # the terminal is slower than we are; the next frame has everything
            parts = []
            for row, line in enumerate(lines):
                if row >= len(self._shown) or self._shown[row] != line:
                    parts.append(f"\x1b[{row + 1};1H{line}\x1b[0m\x1b[K")
            if len(lines) < len(self._shown):
                parts.append(f"\x1b[{len(lines) + 1};1H\x1b[J")
            self._shown = list(lines)
            self._send("".join(parts))

    def redraw(self) -> None:
        """The next frame is written as a whole: after a change of size, or when another program was here."""
        with self._lock:
            self._shown = []
            self._send("\x1b[2J")

    def send(self, sequence: str) -> None:
        """A control sequence, such as one for the clipboard."""
        with self._lock:
            self._send(sequence)

    async def keys(self) -> AsyncKeys:
        """The keys that are pressed, one character each; what begins with ESC is skipped."""
        return AsyncKeys(self._keyboard)

    def close(self) -> None:
        """Write what is left, at most for a moment, and end the thread."""
        with self._lock:
            self._send(LEAVE)
            self._closing = True
            self._lock.notify()
        self._thread.join(1)

    def _send(self, text: str) -> None:
        if text:
            self._next = (self._next or "") + text
            self._lock.notify()

    def _write(self) -> None:
        while True:
            with self._lock:
                while self._next is None:
                    if self._closing:
                        return
                    self._lock.wait()
                data, self._next = self._next.encode("utf-8", "replace"), None
            with contextlib.suppress(OSError):  # nobody looks any more
                while data:
                    data = data[os.write(self._display, data) :]


class AsyncKeys:
    """`async for key in keys`; ends at the end of the input."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._waiting: list[str] = []

    def __aiter__(self) -> AsyncKeys:
        return self

    async def __anext__(self) -> str:
        while not self._waiting:
            await trio.lowlevel.wait_readable(self._descriptor)
            try:
                data = os.read(self._descriptor, 1024)
            except OSError:
                raise StopAsyncIteration from None
            if not data:
                raise StopAsyncIteration
            if not data.startswith(b"\x1b"):
                self._waiting = list(data.decode("utf-8", "replace"))
        return self._waiting.pop(0)


def usable() -> bool:
    """Whether there is a terminal that can show a screen."""
    try:
        return available and sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    except ValueError:  # closed
        return False


def attached() -> bool:
    """Whether there still is a terminal that commands could come from; False once its window was closed."""
    try:
        return sys.stdin.isatty()
    except ValueError:  # closed
        return False


@contextmanager
def open_terminal() -> Iterator[Terminal]:
    """Take the terminal of this process over for the length of the block. Ctrl-C still is a signal."""
    keyboard, display = sys.stdin.fileno(), sys.stdout.fileno()
    before = termios.tcgetattr(keyboard)
    terminal = Terminal(keyboard, display)
    try:
        tty.setcbreak(keyboard, termios.TCSANOW)
        terminal.send(ENTER)
        yield terminal
    finally:
        terminal.close()
        termios.tcsetattr(keyboard, termios.TCSANOW, before)


async def resizes(terminal: Terminal) -> None:
    """Redraw after each change of size, and when the program comes back from the background."""
    with trio.open_signal_receiver(signal.SIGWINCH, signal.SIGCONT) as signals:
        async for number in signals:
            if number == signal.SIGCONT:
                with contextlib.suppress(termios.error):
                    tty.setcbreak(sys.stdin.fileno(), termios.TCSANOW)
                terminal.send(ENTER)
            terminal.redraw()
