"""The metrics text, judged as promtool does: help and type once for each family, names and units by the rules, counters that
end in _total, histograms that add up, bounded labels."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ngrokd.admin import metrics
from ngrokd.admin.metrics import Exporter
from tests.kit.adminworld import AdminWorld, open_admin

ROOT = Path(__file__).parents[3]
NAME = re.compile(r"ngrokd_[a-z]+(_[a-z]+)*")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[AdminWorld]:
    async with open_admin(tmp_path) as found:
        yield found


def scrape(world: AdminWorld) -> str:
    operator = world.server.office.operator
    assert operator is not None
    meters = operator.meters
    for seconds in (0.001, 0.2, 3.0, 100.0):
        visitor = SimpleNamespace(began=0.0, opened=seconds, answered=seconds)
        meters(visitor, None, 200)  # type: ignore[arg-type]
    meters.refused_logins["bad_token"] += 2
    next(iter(operator.house.edges())).refusals["tunnel_not_found"] += 3
    return Exporter(operator).text().decode()


async def test_the_text_is_well_formed(world: AdminWorld) -> None:
    text = scrape(world)
    assert text.endswith("\n")
    helped = Counter(line.split()[2] for line in text.splitlines() if line.startswith("# HELP"))
    typed = Counter(line.split()[2] for line in text.splitlines() if line.startswith("# TYPE"))
    assert helped == typed
    assert set(helped.values()) == {1}
    for line in text.splitlines():
        if line.startswith("# HELP"):
            assert line.split(" ", 3)[3].strip().endswith("."), line


async def test_names_and_kinds_follow_the_rules(world: AdminWorld) -> None:
    families = list(text_string_to_metric_families(scrape(world)))
    assert len(families) > 25
    seen = set()
    for family in families:
        assert NAME.fullmatch(family.name), family.name
        assert not family.name.endswith(("_count", "_sum", "_bucket")), family.name
        for sample in family.samples:
            key = (sample.name, tuple(sorted(sample.labels.items())))
            assert key not in seen, key
            seen.add(key)
            assert (family.type == "counter") == sample.name.endswith("_total"), sample.name
            assert all(not value.isdigit() or len(value) < 6 for value in sample.labels.values())


async def test_histograms_add_up(world: AdminWorld) -> None:
    families = {family.name: family for family in text_string_to_metric_families(scrape(world))}
    total = [s for s in families["ngrokd_exchange_seconds"].samples if s.labels.get("phase") == "answer"]
    buckets = [(float(s.labels["le"]), s.value) for s in total if s.name.endswith("_bucket")]
    assert buckets == sorted(buckets)
    assert [count for _, count in buckets] == sorted(count for _, count in buckets)
    assert buckets[-1] == (float("inf"), 4.0)
    assert next(s.value for s in total if s.name.endswith("_count")) == 4.0
    assert next(s.value for s in total if s.name.endswith("_sum")) == pytest.approx(103.201)


async def test_refusals_carry_their_codes(world: AdminWorld) -> None:
    text = scrape(world)
    assert 'ngrokd_refusals_total{code="tunnel_not_found"} 3.0' in text
    assert 'ngrokd_refused_logins_total{code="bad_token"} 2.0' in text


def test_the_process_is_looked_at() -> None:
    assert metrics.open_descriptors() > 2
    assert metrics.resident_bytes() > 1 << 20


async def test_the_dashboard_asks_for_what_there_is(world: AdminWorld) -> None:
    families = text_string_to_metric_families(scrape(world))
    known = {sample.name for family in families for sample in family.samples}
    known |= {"ngrokd_exchanges_total", "ngrokd_bytes_total"}  # there once a tunnel was
    dashboard = json.loads((ROOT / "contrib/grafana-ngrokd.json").read_text(encoding="utf-8"))
    asked = {
        name
        for panel in dashboard["panels"]
        for target in panel["targets"]
        for name in re.findall(r"ngrokd_[a-z_]+", target["expr"])
    }
    assert asked <= known, asked - known
