"""Every exchange of the table, straight to the service and through the real pair, in both dialects: what differs fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kit.exchange_table import table
from tests.kit.pair import open_pair

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]


def test_the_table_is_long_enough() -> None:
    names = [case.name for case in table()]
    assert len(names) >= 150
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("settings", [{}, {"mux": False}], ids=["native", "classic"])
async def test_the_same_as_without_the_tunnel(tmp_path: Path, settings: dict[str, object]) -> None:
    async with open_pair(tmp_path, settings) as pair:
        found = [line for case in table() for line in await pair.verdict(case)]
    assert not found, f"{len(found)} differences:\n" + "\n".join(found)
