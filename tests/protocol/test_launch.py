"""Launch: a program is run, and Ctrl-C while it loads is no traceback."""

from __future__ import annotations

import importlib.abc
import sys
from types import SimpleNamespace

import pytest

from protocol.launch import INTERRUPTED, launch

both = pytest.mark.parametrize("program", ["ngrokc", "ngrokd"])


class _CtrlC(importlib.abc.MetaPathFinder):
    """Ctrl-C at the moment when the program is looked for."""

    def __init__(self, module: str) -> None:
        self._module = module

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == self._module:
            raise KeyboardInterrupt


@both
def test_ctrl_c_while_loading_ends_without_words(
    program: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, f"{program}.cli", raising=False)
    monkeypatch.setattr(sys, "meta_path", [_CtrlC(f"{program}.cli"), *sys.meta_path])
    with pytest.raises(SystemExit) as end:
        launch(program)
    assert end.value.code == INTERRUPTED
    assert capfd.readouterr() == ("", "")


@both
def test_the_program_is_run(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    monkeypatch.setitem(sys.modules, f"{program}.cli", SimpleNamespace(main=lambda: ran.append(program)))
    launch(program)
    assert ran == [program]


@both
def test_what_fails_while_loading_is_not_hidden(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, f"{program}.cli", None)
    with pytest.raises(ImportError):
        launch(program)
