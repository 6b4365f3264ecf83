"""Short versions of the soak: `make soak` runs the long ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.soak.hostile import KIB_EACH, TLS_KIB_EACH, stall
from tests.soak.mixture import soak

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.mark.parametrize("https", [False, True], ids=["http", "https"])
async def test_a_mixture_of_good_and_bad_leaves_nothing_behind(tmp_path: Path, https: bool) -> None:
    report = await soak(tmp_path, 500 if https else 1500, warm_up=500, https=https)
    assert report.faults() == []
    assert min(report.kinds.values()) > 0


@pytest.mark.parametrize("kind", ["silent", "half-heads", "flood", "tls-silent", "tls-half-hellos", "tls-flood"])
async def test_a_crowd_that_stalls_does_not_slow_a_normal_visitor(tmp_path: Path, kind: str) -> None:
    found = await stall(tmp_path, 400, kind, asked=40)
    assert found.failed == 0
    assert (
        sorted(found.times)[len(found.times) // 2] < 0.2
    )  # of the p99, which one slow turn of the machine decides, `make soak` speaks
    each = TLS_KIB_EACH if kind in ("tls-half-hellos", "tls-flood") else KIB_EACH
    assert found.memory < 400 * each * 1024 + (4 << 20)


@pytest.mark.parametrize("kind", ["slow-readers", "tls-slow-readers", "tls-half-heads"])
async def test_slow_readers_hold_little(tmp_path: Path, kind: str) -> None:
    found = await stall(tmp_path, 30, kind, asked=20)
    assert found.failed == 0
    assert found.memory < 30 * (512 << 10) + (8 << 20)  # C10: 512 KiB for each
