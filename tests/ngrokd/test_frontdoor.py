"""Settings become limits, trust and certificates; a bad one names its flag."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import structlog

from ngrokd.frontdoor import open_front_door, raise_descriptor_limit
from ngrokd.settings import settings_from
from protocol.errors import ConfigError


def test_by_default_nothing_is_asked_and_descriptors_are_kept() -> None:
    door = open_front_door(settings_from({}), structlog.get_logger())
    assert door.guard is None
    assert door.certificates is None
    limits = door.crowd.limits
    assert (limits.in_all, limits.of_one) == (0, 0)
    assert 0 < limits.descriptors < resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_all_of_it(tmp_path: Path) -> None:
    texts = {
        "trusted_proxies": "10.0.0.0/8, 2001:db8::1",
        "max_visitors": "1000",
        "max_visitors_per_address": "20",
        "visitor_rate": "2.5",
        "max_body": "1000000",
        "cert_dir": str(tmp_path),
    }
    door = open_front_door(settings_from(texts), structlog.get_logger())
    assert door.guard is not None
    assert door.guard.trusts("10.1.2.3")
    assert not door.guard.trusts("11.1.2.3")
    assert (door.guard.rules.rate, door.guard.max_body) == (2.5, 1_000_000)
    assert (door.crowd.limits.in_all, door.crowd.limits.of_one) == (1000, 20)
    assert door.certificates is not None


@pytest.mark.parametrize(
    ("field", "text", "flag"),
    [
        ("trusted_proxies", "10.0.0.1/8", "-trustedProxies"),
        ("trusted_proxies", "example.me", "-trustedProxies"),
        ("max_visitors", "-1", "-maxVisitors"),
        ("visitor_rate", "nan", "-visitorRate"),
        ("visitor_rate", "inf", "-visitorRate"),
        ("max_body", "many", "-maxBody"),
    ],
)
def test_a_bad_text_names_its_flag(field: str, text: str, flag: str) -> None:
    with pytest.raises(ConfigError, match=flag):
        settings_from({field: text})


def test_a_directory_that_is_not_there_names_its_flag(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="-certDir"):
        open_front_door(settings_from({"cert_dir": str(tmp_path / "none")}), structlog.get_logger())


def test_the_limit_of_descriptors_is_raised_to_what_is_allowed() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        assert raise_descriptor_limit() == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
