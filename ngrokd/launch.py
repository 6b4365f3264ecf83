"""Where `ngrokd` begins: loads the program and runs it. Knows nothing of what it does.

Loading takes a third of a second, on a small machine some seconds: Ctrl-C in that time is no accident to report at length.
"""

from __future__ import annotations

INTERRUPTED = 130  # what shells call a program that Ctrl-C has ended


def main() -> None:
    """The console script. Never returns: raises SystemExit with the exit code."""
    try:
        from ngrokd.cli import main as run
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    run()
