"""Where both console scripts begin: loads a program and runs it. Knows neither of them, they come by name, nor what they do.

Loading takes a third of a second, on a small machine some seconds: Ctrl-C in that time is no accident to report at length.
"""

from __future__ import annotations

from importlib import import_module

INTERRUPTED = 130  # what shells call a program that Ctrl-C has ended


def launch(program: str) -> None:
    """Run `program.cli.main()`, which ends with SystemExit. Raises SystemExit(130) for a Ctrl-C while it loads."""
    try:
        run = import_module(f"{program}.cli").main
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    run()
