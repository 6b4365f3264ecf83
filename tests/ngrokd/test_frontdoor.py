"""Settings become limits, trust and certificates; a bad one names its flag."""

from __future__ import annotations

import resource
from pathlib import Path

import pytest
import structlog

from ngrokd.frontdoor import open_certificates, open_front_door, raise_descriptor_limit, visitors_by_memory
from ngrokd.settings import settings_from
from protocol.errors import ConfigError


def test_by_default_nothing_is_asked_and_descriptors_are_kept() -> None:
    door = open_front_door(settings_from({}))
    assert door.guard is None
    assert open_certificates(settings_from({}), structlog.get_logger()) is None
    limits = door.crowd.limits
    assert (limits.in_all, limits.of_one) == (visitors_by_memory(), 0)
    assert 0 < limits.descriptors < resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def test_the_memory_of_a_container_counts(tmp_path: Path) -> None:
    """A quarter of it, at 64 KiB for each; never so few that nobody could work; no limit means that of the machine."""
    found = {}
    for text in ("max", "garbage", "1073741824\n", "1000000\n", str(1 << 60)):
        file = tmp_path / "memory.max"
        file.write_text(text)
        found[text.strip()] = visitors_by_memory(file)
    machine = visitors_by_memory(tmp_path / "missing")
    assert found == {"max": machine, "garbage": machine, "1073741824": 4096, "1000000": 1024, str(1 << 60): machine}


def test_all_of_it(tmp_path: Path) -> None:
    texts = {
        "trusted_proxies": "10.0.0.0/8, 2001:db8::1",
        "max_visitors": "1000",
        "max_visitors_per_address": "20",
        "visitor_rate": "2.5",
        "max_body": "1000000",
        "cert_dir": str(tmp_path),
    }
    door = open_front_door(settings_from(texts))
    assert door.guard is not None
    assert door.guard.trusts("10.1.2.3")
    assert not door.guard.trusts("11.1.2.3")
    assert (door.guard.rules.rate, door.guard.rules.max_body) == (2.5, 1_000_000)
    assert (door.crowd.limits.in_all, door.crowd.limits.of_one) == (1000, 20)
    assert open_certificates(settings_from(texts), structlog.get_logger()) is not None


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
        open_certificates(settings_from({"cert_dir": str(tmp_path / "none")}), structlog.get_logger())


def test_a_file_that_is_no_certificate_names_its_flag(tmp_path: Path) -> None:
    for name in ("a.crt", "a.key"):
        (tmp_path / name).write_text("nonsense")
    with pytest.raises(ConfigError, match="-certDir"):
        open_certificates(settings_from({"cert_dir": str(tmp_path)}), structlog.get_logger())


def test_other_settings_under_way() -> None:
    """What was there stays the same object: it remembers rates and counts."""
    door = open_front_door(settings_from({}))
    descriptors, crowd = door.crowd.limits.descriptors, door.crowd
    door.use(settings_from({"max_visitors": "3"}))
    assert [door.guard] == [None]
    assert (door.crowd, door.crowd.limits.in_all, door.crowd.limits.descriptors) == (crowd, 3, descriptors)
    door.use(settings_from({"visitor_rate": "2"}))
    guard = door.guard
    assert guard is not None
    door.use(settings_from({}))
    assert door.guard is guard
    assert not guard.rules
    assert crowd.limits.in_all == visitors_by_memory()


def test_the_limit_of_descriptors_is_raised_to_what_is_allowed() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, before[1]))
        assert raise_descriptor_limit() == before[1]
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
