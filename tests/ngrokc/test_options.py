"""Options: what goes on the wire, who is admitted, which values are refused."""

import pytest

from ngrokc.options import HeaderEdits, TunnelOptions, header_edits, host_header, network
from protocol.errors import ConfigError


def test_defaults_send_nothing() -> None:
    assert TunnelOptions().wire("localhost:80") == {}
    assert TunnelOptions(inspect=False, verify=False, proxy_protocol=2).wire("localhost:80") == {}


def test_wire() -> None:
    options = TunnelOptions(
        host_header="rewrite",
        allow_ips=("10.0.0.0/8",),
        deny_ips=("10.1.0.0/16",),
        request_headers=HeaderEdits(add=(("X-A", "1"),), remove=("X-B",)),
        response_headers=HeaderEdits(set=(("X-C", "2"),)),
        redirect_https=True,
        on_conflict="takeover",
    )
    assert options.wire("localhost:3000") == {
        "host_header": "localhost:3000",
        "allow_ips": ["10.0.0.0/8"],
        "deny_ips": ["10.1.0.0/16"],
        "request_headers": {"add": {"X-A": "1"}, "set": {}, "remove": ["X-B"]},
        "response_headers": {"add": {}, "set": {"X-C": "2"}, "remove": []},
        "redirect_https": True,
        "on_conflict": "takeover",
    }
    assert options.lost_on_classic() == [
        "host_header",
        "on_conflict",
        "redirect_https",
        "request_headers",
        "response_headers",
    ]


@pytest.mark.parametrize(
    ("address", "admitted"),
    [
        ("10.2.3.4:5", True),
        ("10.1.3.4:5", False),
        ("192.0.2.1:5", False),
        ("[2001:db8::1]:5", True),
        ("[::ffff:10.2.3.4]:5", True),
        ("[fe80::1%eth0]:5", False),
        ("", False),
        ("nonsense", False),
    ],
)
def test_admission(address: str, admitted: bool) -> None:
    options = TunnelOptions(allow_ips=("10.0.0.0/8", "2001:db8::/32"), deny_ips=("10.1.0.0/16",))
    assert options.admits(address) is admitted


def test_no_rule_admits_all_and_deny_alone_admits_the_rest() -> None:
    assert TunnelOptions().admits("nonsense")
    assert TunnelOptions(deny_ips=("10.0.0.0/8",)).admits("192.0.2.1:1")
    assert not TunnelOptions(deny_ips=("10.0.0.0/8",)).admits("nonsense")


def test_networks() -> None:
    assert network("203.0.113.7") == "203.0.113.7/32"
    assert network(" 2001:DB8::/32 ") == "2001:db8::/32"
    with pytest.raises(ConfigError, match="no address"):
        network("all")
    with pytest.raises(ConfigError) as caught:
        network("10.0.0.1/8")
    assert "10.0.0.0/8" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "value"), [("a b", "x"), ("", "x"), ("X", "a\nb"), ("X", "a\0"), ("Host", "x"), ("X", "y" * 9000)]
)
def test_bad_headers(name: str, value: str) -> None:
    with pytest.raises(ConfigError):
        header_edits({name: value}, {}, [])
    with pytest.raises(ConfigError):
        header_edits({}, {name: value}, [])


def test_too_many_headers() -> None:
    with pytest.raises(ConfigError, match="more than"):
        header_edits({f"X-{number}": "" for number in range(65)}, {}, [])


def test_host_header() -> None:
    for text in ("preserve", "rewrite", "app.local", "app.local:3000", "[::1]:80"):
        assert host_header(text) == text
    for text in ("", "a b", "a/b", "a:b", "a\r\nX: y"):
        with pytest.raises(ConfigError):
            host_header(text)
