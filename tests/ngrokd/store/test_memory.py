"""The memory store; what it shares with the others is in test_base."""

from __future__ import annotations

from pathlib import Path

import pytest

from ngrokd.store.memory import MemoryStore
from protocol.errors import Fault


async def test_it_has_no_backup(tmp_path: Path) -> None:
    with pytest.raises(Fault) as caught:
        await MemoryStore().backup(tmp_path / "copy")
    assert caught.value.code == "not_supported"
    assert not list(tmp_path.iterdir())


def test_its_repr_is_a_summary() -> None:
    assert repr(MemoryStore()) == "<MemoryStore tokens=0 reservations=0>"
