"""Where `ngrokc` begins: its console script. Loads nothing of the program, which is for `protocol.launch` to do."""

from __future__ import annotations

from protocol.launch import launch


def main() -> None:
    """Never returns: raises SystemExit with the exit code."""
    launch("ngrokc")
