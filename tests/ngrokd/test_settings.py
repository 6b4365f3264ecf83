"""Settings: every flag once, texts checked, errors that name the flag and repeat nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from ngrokd.policy.addresses import AddressList
from ngrokd.settings import PortRange, PublicUrl, Settings, flags, settings_from
from protocol.address import HostPort
from protocol.errors import ConfigError


def test_every_field_has_a_flag_and_1_7s_names_are_kept() -> None:
    assert set(flags()) == set(Settings.model_fields)
    names = [flag.name for flag in flags().values()]
    assert len(set(names)) == len(names)
    assert {"httpAddr", "httpsAddr", "tunnelAddr", "domain", "tlsCrt", "tlsKey", "log", "log-level"} <= set(names)
    assert "VHOST" in flags()["vhost"].env
    assert "REGISTRY_CACHE_FILE" in flags()["registry_cache_file"].env


def test_defaults_are_1_7s_but_for_domain_and_level() -> None:
    settings = settings_from({})
    assert (settings.http_addr, settings.https_addr, settings.tunnel_addr) == (
        HostPort("", 80),
        HostPort("", 443),
        HostPort("", 4443),
    )
    assert settings.domain == "localhost"
    assert settings.log == "stdout"
    assert settings.open is False


def test_texts_are_understood() -> None:
    settings = settings_from(
        {
            "http_addr": "",
            "https_addr": "127.0.0.1:0",
            "tunnel_addr": "[::1]:4443",
            "domain": "Example.ME.",
            "public_url": "https://*.example.me",
            "tcp_ports": "2000-2999",
            "grace": "1.5",
            "open": "true",
            "log_level": "warning",
            "state_dir": "/s",
            "tcp_proxies": "10.0.0.0/8, ::1",
        }
    )
    assert settings.http_addr is None
    assert settings.https_addr == HostPort("127.0.0.1", 0)
    assert settings.tunnel_addr == HostPort("::1", 4443)
    assert settings.domain == "Example.ME"
    assert settings.public_url == PublicUrl("https", "example.me", 443)
    assert settings.tcp_ports == PortRange(2000, 2999)
    assert 2000 in settings.tcp_ports
    assert 3000 not in settings.tcp_ports
    assert settings.tcp_proxies == AddressList(["::1", "10.0.0.0/8"])
    assert (settings.grace, settings.open, settings.log_level, settings.state_dir) == (1.5, True, "WARNING", Path("/s"))


@pytest.mark.parametrize(
    ("field", "text", "flag"),
    [
        ("http_addr", "::1:80", "-httpAddr"),
        ("http_addr", ":70000", "-httpAddr"),
        ("tunnel_addr", "", "-tunnelAddr"),
        ("domain", "a:80", "-domain"),
        ("domain", "*.me", "-domain"),
        ("domain", "", "-domain"),
        ("public_url", "ftp://x", "-publicUrl"),
        ("public_url", "https://x/path", "-publicUrl"),
        ("public_url", "https://[x", "-publicUrl"),
        ("tcp_ports", "80-90", "-tcpPorts"),
        ("tcp_ports", "3000-2000", "-tcpPorts"),
        ("tcp_ports", "2000", "-tcpPorts"),
        ("grace", "soon", "-grace"),
        ("grace", "-1", "-grace"),
        ("log_level", "LOUD", "-log-level"),
        ("log", "", "-log"),
        ("log_format", "xml", "-logFormat"),
        ("open", "perhaps", "-open"),
        ("tcp_proxies", "10.0.0.1/8", "-tcpProxies"),
    ],
)
def test_errors_name_the_flag(field: str, text: str, flag: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_from({field: text})
    assert caught.value.message.startswith(f"{flag}: ")
    assert "\n" not in caught.value.message


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("grace", "-1", "must be 0 or more"),
        ("grace", "3601", "must be 3600 or less"),
        ("grace", "soon", "must be a number"),
        ("visitor_rate", "nan", "must be a number"),
        ("max_visitors", "many", "must be a whole number"),
        ("max_visitors", "1.5", "must be a whole number"),
        ("max_visitors", "9" * 5000, "must be a whole number"),
        ("open", "perhaps", "must be true or false"),
        ("log_format", "xml", "must be auto, console or json"),
        ("tcp_ports", "3000-2000", "must have the lower port first, like 2000-2999"),
        ("tcp_ports", "80-90", "must lie within 1024-65535"),
    ],
)
def test_errors_say_what_is_wanted_in_our_words(field: str, text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        settings_from({field: text})
    assert caught.value.message.endswith(f": {said}")


def test_one_half_of_a_pair_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"^-tlsKey is given without -tlsCrt"):
        settings_from({"tls_key": "/k"})


def test_settings_are_frozen_and_closed() -> None:
    settings = settings_from({})
    with pytest.raises(ValidationError):
        settings.open = True
    with pytest.raises(ConfigError):
        settings_from({"surprise": "1"})
