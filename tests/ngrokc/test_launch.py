"""Launch: the console script runs this program and not the other one."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest

from ngrokc import launch


def test_the_program_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    for program in ("ngrokc", "ngrokd"):
        monkeypatch.setitem(sys.modules, f"{program}.cli", SimpleNamespace(main=lambda name=program: ran.append(name)))
    launch.main()
    assert ran == ["ngrokc"]
