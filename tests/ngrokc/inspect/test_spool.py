from __future__ import annotations

import os
from pathlib import Path

from ngrokc.inspect.spool import Spool


def test_write_read_remove_close(tmp_path: Path) -> None:
    spool = Spool(tmp_path, disk=100, queue=1000)
    file = spool.open()
    assert file is not None
    assert spool.append(file, b"hello ")
    assert spool.append(file, b"world")
    assert spool.read(file, 0, 100) == b"hello world"
    assert spool.read(file, 6, 3) == b"wor"
    assert not spool.append(file, b"x" * 100)
    other = spool.open()
    assert other is not None
    spool.remove(file)
    spool.remove(file)
    assert spool.used == 0
    assert not spool.append(file, b"late")
    spool.append(other, b"x")
    spool.read(other, 0, 1)
    assert spool.directory is not None
    assert [path.name for path in spool.directory.iterdir()] == [other.path.name]
    spool.close()
    spool.close()
    assert list(tmp_path.iterdir()) == []
    assert spool.open() is None


def test_a_loose_umask_changes_nothing(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        spool = Spool(tmp_path, disk=100, queue=100)
        file = spool.open()
        assert file is not None
        spool.append(file, b"x")
        spool.read(file, 0, 1)
        assert file.path.stat().st_mode & 0o777 == 0o600
        assert file.path.parent.stat().st_mode & 0o777 == 0o700
        spool.close()
    finally:
        os.umask(before)


def test_a_disk_that_fails(tmp_path: Path) -> None:
    spool = Spool(tmp_path, disk=100, queue=100)
    file = spool.open()
    assert file is not None
    file.path.mkdir()  # writing to it fails, for root too
    spool.append(file, b"x")
    assert spool.read(file, 0, 1) == b""
    assert file.failed
    assert "can't be written" in spool.failure
    assert not spool.append(file, b"y")
    spool.close()
