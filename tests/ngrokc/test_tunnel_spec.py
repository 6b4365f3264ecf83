"""What can be known to be wrong about a wanted tunnel before a server is asked."""

from types import MappingProxyType

import pytest

from ngrokc.options import TunnelOptions
from ngrokc.tunnel_spec import TunnelSpec, check_spec, no_upstreams, split_protocols
from protocol.address import parse_upstream
from protocol.errors import ConfigError


def test_protocols() -> None:
    assert split_protocols("https+http") == ("http", "https")
    for text in ("", "http+", "http+http", "udp"):
        with pytest.raises(ConfigError):
            split_protocols(text)


def test_names_are_checked_for_spelling_only() -> None:
    for name in ("a", "a.b", "*.a", "*", " A "):
        check_spec(TunnelSpec("t", no_upstreams(("http",)), subdomain=name))
    for name in ("a b", "-a", "a..b", "x" * 64):
        with pytest.raises(ConfigError, match="subdomain"):
            check_spec(TunnelSpec("t", no_upstreams(("http",)), subdomain=name))
    with pytest.raises(ConfigError, match="no protocol"):
        check_spec(TunnelSpec("t", {}))


def test_of_two_names_one_does_not_count() -> None:
    spec = TunnelSpec("web", no_upstreams(("http",)), subdomain="a", hostname="b.example.org")
    check_spec(spec)  # files of 1.7 may have both
    assert spec.idle_name == "tunnel web: subdomain 'a' does not count, hostname 'b.example.org' goes before it"
    for one in ({"subdomain": "a"}, {"hostname": "b.example.org"}, {"subdomain": "a", "hostname": " "}, {}):
        assert TunnelSpec("web", no_upstreams(("http",)), **one).idle_name == ""  # type: ignore[arg-type]


def test_tcp_has_no_heads_to_edit() -> None:
    options = TunnelOptions(host_header="rewrite", allow_ips=("10.0.0.0/8",))
    spec = TunnelSpec("t", MappingProxyType({"tcp": parse_upstream("22"), "http": None}), options=options)
    assert spec.wire_options("tcp") == {"allow_ips": ["10.0.0.0/8"]}
    assert spec.wire_options("http")["host_header"] == "localhost"
