"""Launch: the program is run, and Ctrl-C while it loads is no traceback."""

from __future__ import annotations

import importlib.abc
import sys
from types import SimpleNamespace

import pytest

from ngrokc import launch


class _CtrlC(importlib.abc.MetaPathFinder):
    """Ctrl-C at the moment when the program is looked for."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> None:
        if fullname == "ngrokc.cli":
            raise KeyboardInterrupt


def test_ctrl_c_while_loading_ends_without_words(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "ngrokc.cli", raising=False)
    monkeypatch.setattr(sys, "meta_path", [_CtrlC(), *sys.meta_path])
    with pytest.raises(SystemExit) as end:
        launch.main()
    assert end.value.code == launch.INTERRUPTED
    assert capfd.readouterr() == ("", "")


def test_the_program_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    ran: list[str] = []
    monkeypatch.setitem(sys.modules, "ngrokc.cli", SimpleNamespace(main=lambda: ran.append("ngrokc")))
    launch.main()
    assert ran == ["ngrokc"]
