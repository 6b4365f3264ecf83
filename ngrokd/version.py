"""The version of ngrokd, as it was installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def program_version() -> str:
    """The number; "0" when run from a source tree that is not installed."""
    try:
        return version("ngrokd")
    except PackageNotFoundError:
        return "0"
