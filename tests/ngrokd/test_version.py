"""The version is the installed one."""

from __future__ import annotations

from importlib import metadata

import pytest

from ngrokd import version


def test_it_is_the_installed_one(monkeypatch: pytest.MonkeyPatch) -> None:
    assert version.program_version() == metadata.version("ngrokd")

    def missing(_name: str) -> str:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(version, "version", missing)
    assert version.program_version() == "0"
