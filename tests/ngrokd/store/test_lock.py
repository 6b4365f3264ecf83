"""The lock: one holder, freed at its end however that comes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ngrokd.store.lock import StateLock
from protocol.errors import Fault


def test_the_second_is_told_who_the_first_is(tmp_path: Path) -> None:
    lock = StateLock(tmp_path / "lock")
    with pytest.raises(Fault) as caught:
        StateLock(tmp_path / "lock")
    assert caught.value.code == "state_in_use"
    assert f"process {os.getpid()}" in caught.value.message
    lock.release()
    lock.release()
    StateLock(tmp_path / "lock").release()
    assert (tmp_path / "lock").stat().st_mode & 0o777 == 0o600


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    code = f"import pathlib, ngrokd.store.lock as m; l = m.StateLock(pathlib.Path({str(path)!r})); print(1, flush=True); input()"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(Fault, match=f"process {holder.pid}"):
            StateLock(path)
        holder.kill()
    StateLock(path).release()


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "lock").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        StateLock(tmp_path / "lock")
    assert not (tmp_path / "elsewhere").exists()
