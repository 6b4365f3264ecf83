"""Names that come back: keyed by client, bounded, kept on disk in whole files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import structlog
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from ngrokd.affinity import RETRY_DELAY, Affinity, AffinityFile, owner_key

LOG = structlog.get_logger()


def test_what_was_given_is_recalled_for_that_client_kind_and_slot() -> None:
    affinity = Affinity()
    affinity.remember("a", "http", 0, "blue")
    assert affinity.recall("a", "http", 0) == "blue"
    assert affinity.recall("a", "http", 1) is None
    assert affinity.recall("a", "tcp", 0) is None
    assert affinity.recall("b", "http", 0) is None


def test_the_least_recently_used_goes() -> None:
    affinity = Affinity(limit=2)
    affinity.remember("a", "http", 0, "1")
    affinity.remember("b", "http", 0, "2")
    affinity.recall("a", "http", 0)
    affinity.remember("c", "http", 0, "3")
    assert len(affinity) == 2
    assert affinity.recall("b", "http", 0) is None
    assert affinity.recall("a", "http", 0) == "1"


def test_owners_are_accounts_or_hashed_client_ids() -> None:
    assert owner_key("0" * 32, "team") == "account:team"
    assert "0" * 32 not in owner_key("0" * 32)
    assert owner_key("a") != owner_key("b")
    owner_key("\ud800")


def test_dump_and_load() -> None:
    affinity, other = Affinity(), Affinity()
    affinity.remember("a", "http", 0, "blue")
    other.load(affinity.dump())
    assert other.recall("a", "http", 0) == "blue"


@given(
    st.binary(max_size=200).filter(lambda data: not data.startswith(b'{"format": 1}\n'))
    | st.sampled_from([b"[]", b'{"format":1}', b'{"format":1,"entries":[["a"]]}', b'{"format":2,"entries":[]}'])
)
def test_other_bytes_raise_one_error_and_change_nothing(data: bytes) -> None:
    affinity = Affinity()
    affinity.remember("a", "http", 0, "blue")
    with pytest.raises(ValueError):
        affinity.load(data)
    assert affinity.recall("a", "http", 0) == "blue"


def test_a_damaged_file_is_put_aside(tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    path.write_bytes(b"not ours")
    AffinityFile(Affinity(), path, LOG).open()
    assert not path.exists()
    assert (tmp_path / "names.json.damaged").read_bytes() == b"not ours"


async def test_changes_are_saved_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    file = AffinityFile(Affinity(), path, LOG)
    file.open()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.run)
        await trio.testing.wait_all_tasks_blocked()
        file.affinity.remember("a", "http", 0, "blue")
        file.touch()
        nursery.cancel_scope.cancel()
    again = AffinityFile(Affinity(), path, LOG)
    again.open()
    assert again.affinity.recall("a", "http", 0) == "blue"
    assert path.stat().st_mode & 0o777 == 0o600


async def test_a_change_is_appended_at_once(tmp_path: Path) -> None:
    path = tmp_path / "names.json"
    file = AffinityFile(Affinity(), path, LOG)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.run)
        for number in range(3):
            file.affinity.remember("a", "http", 0, f"blue{number}")
            file.touch()
            with trio.fail_after(5):
                while not path.exists() or f"blue{number}".encode() not in path.read_bytes():
                    await trio.sleep(0.001)
        killed = Affinity()
        killed.load(path.read_bytes())  # as it is when the process is killed now
        assert killed.recall("a", "http", 0) == "blue2"
        nursery.cancel_scope.cancel()
    assert path.read_bytes() == file.affinity.dump()


def test_a_line_that_was_cut_is_left_out() -> None:
    affinity, other = Affinity(), Affinity()
    affinity.remember("a", "http", 0, "blue")
    affinity.remember("b", "http", 0, "green")
    other.load(affinity.dump()[:-5])
    assert (other.recall("a", "http", 0), other.recall("b", "http", 0)) == ("blue", None)


async def test_a_write_that_fails_is_tried_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    tries: list[float] = []

    async def save(self: AffinityFile) -> bool:
        tries.append(trio.current_time())
        return len(tries) > 1

    monkeypatch.setattr(AffinityFile, "_save", save)
    file = AffinityFile(Affinity(), tmp_path / "names.json", LOG)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.run)
        await trio.sleep(RETRY_DELAY * 3)
        assert len(tries) == 2
        assert tries[1] - tries[0] == pytest.approx(RETRY_DELAY)
        nursery.cancel_scope.cancel()


async def test_a_disk_that_refuses_costs_nothing_but_a_line(tmp_path: Path) -> None:
    file = AffinityFile(Affinity(), tmp_path / "missing" / "names.json", LOG)
    file.affinity.remember("a", "http", 0, "blue")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(file.run)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert os.listdir(tmp_path) == []
