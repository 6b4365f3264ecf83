from __future__ import annotations

import stat
from pathlib import Path

import pytest

from ngrokc.inspect.body import NO_DISK, NO_MEMORY, TOO_FAST, TOO_LARGE, Body, Vault
from ngrokc.inspect.settings import Limits
from ngrokc.inspect.spool import Spool


def vault(tmp: Path, **limits: int) -> Vault:
    budget = Limits(**{"body_memory": 10, "body_total": 100, **limits})
    return Vault(budget, Spool(tmp, disk=budget.disk, queue=budget.spool_queue))


def test_small_bodies_stay_in_memory(tmp_path: Path) -> None:
    store = vault(tmp_path)
    body = Body(store)
    body.add(b"hello")
    body.add(b"world")
    assert (body.read(), body.read(3, 4), body.kept, body.cut) == (b"helloworld", b"lowo", 10, "")
    assert list(tmp_path.iterdir()) == []


def test_large_ones_go_to_a_private_directory_that_disappears(tmp_path: Path) -> None:
    store = vault(tmp_path)
    body = Body(store)
    for _ in range(30):
        body.add(b"abcd")
    assert (body.size, body.kept, body.cut) == (120, 100, TOO_LARGE)
    assert body.read() == b"abcd" * 25
    assert body.read(95, 50) == b"dabcd"
    (directory,) = tmp_path.iterdir()
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700
    assert [stat.S_IMODE(file.stat().st_mode) for file in directory.iterdir()] == [0o600]
    store.close()
    assert list(tmp_path.iterdir()) == []
    assert body.read() == b""


def test_a_released_body_gives_everything_back(tmp_path: Path) -> None:
    store = vault(tmp_path)
    body = Body(store)
    body.add(b"x" * 50)
    body.read()
    body.release()
    body.release()
    body.add(b"more")
    assert (store.memory, store.spool.used, body.read(), body.size) == (0, 0, b"", 54)
    store.close()


@pytest.mark.parametrize(
    ("limits", "why", "kept"),
    [
        ({"memory": 5}, NO_MEMORY, 0),
        ({"disk": 0}, NO_DISK, 10),
        ({"disk": 30}, NO_DISK, 6),
        ({"spool_queue": 5}, NO_DISK, 10),
    ],
)
def test_budgets(tmp_path: Path, limits: dict[str, int], why: str, kept: int) -> None:
    store = vault(tmp_path, **limits)
    body = Body(store)
    body.add(b"123456")
    body.add(b"x" * 40)
    body.add(b"y")
    assert (body.size, body.cut, body.kept) == (47, why, kept)
    assert body.read() == (b"123456xxxx")[:kept]
    store.close()


def test_skipped_bytes(tmp_path: Path) -> None:
    body = Body(vault(tmp_path))
    body.skip(0, TOO_FAST)
    assert not body.cut
    body.skip(5, TOO_FAST)
    assert (body.size, body.cut, body.closed) == (5, TOO_FAST, True)


def test_no_place_for_files(tmp_path: Path) -> None:
    store = vault(tmp_path / "missing")
    body = Body(store)
    body.add(b"x" * 50)
    assert body.cut == NO_DISK
    assert "can't be written" in store.spool.failure
