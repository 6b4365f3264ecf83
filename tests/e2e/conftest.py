"""Fixtures of the tests with real processes. Every test below tests/e2e is marked e2e and ends within a minute; the world
sees to it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.kit.programs import World, open_world
from tests.kit.upstream import Upstream, open_upstream


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.e2e)
            item.add_marker(pytest.mark.timeout(90))


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with open_upstream() as service:
        yield service


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with open_world(tmp_path) as programs:
        yield programs


@pytest.fixture(params=["native", "classic"])
def dialect(request: pytest.FixtureRequest) -> dict[str, object]:
    """Settings of ngrokc for the two dialects: all visitors on legs, or a link for each as 1.7 does it."""
    return {} if request.param == "native" else {"mux": False}
