"""Made-up exchanges through the real pair: the same verdict as straight to the service."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from hypothesis import given

from tests.kit.exchange_strategies import exchanges
from tests.kit.exchanges import Case
from tests.kit.pair import open_pair

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.mark.parametrize("settings", [{}, {"mux": False}], ids=["native", "classic"])
async def test_generated_exchanges_are_the_same(tmp_path: Path, settings: dict[str, object]) -> None:
    async with open_pair(tmp_path, settings) as pair:

        @given(exchanges())
        def same(case: Case) -> None:
            found = trio.from_thread.run(pair.verdict, case)
            assert not found, "\n".join(found)

        await trio.to_thread.run_sync(same)
