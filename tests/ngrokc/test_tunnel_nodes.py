"""The `tunnels` table: names, protocols, options, and mistakes with their place."""

import pytest

from ngrokc.config import read
from ngrokc.tunnel_spec import TunnelSpec
from protocol.errors import ConfigError


def tunnels(text: str) -> dict[str, TunnelSpec]:
    return dict(read("tunnels:\n" + text, "f").tunnels)


def test_names_without_a_name() -> None:
    found = tunnels(" a: {proto: {http: 80}}\n b.example.org: {proto: {https: 443}}\n c: {proto: {tcp: 22}}\n")
    assert [(spec.subdomain, spec.hostname) for spec in found.values()] == [("a", ""), ("", "b.example.org"), ("", "")]
    assert found["b.example.org"].protocols == ("https",)


def test_joined_protocols_and_order() -> None:
    found = tunnels(" a: {proto: {https+http: 'unix:/run/a.sock', tcp: 22}, remote_port: 0x50}\n")
    assert found["a"].protocols == ("http", "https", "tcp")
    assert found["a"].remote_port == 80
    assert str(found["a"].upstreams["https"]) == "unix:/run/a.sock"


def test_options() -> None:
    found = tunnels(
        " a:\n  proto: {http: 'https://localhost:8443'}\n  auth: u:p\n  verify: no\n  inspect: no\n  host_header: rewrite\n"
        "  allow_ips: [10.0.0.0/8, 192.0.2.1]\n  deny_ips: 10.1.0.0/16\n  request_headers: {set: {X-A: 1}, remove: [X-B]}\n"
        "  redirect_https: yes\n  proxy_protocol: v2\n  compress: false\n  on_conflict: takeover\n"
    )
    spec = found["a"]
    upstream = spec.upstreams["http"]
    assert upstream is not None
    assert (upstream.tls, upstream.verify) == (True, False)
    assert spec.options.proxy_protocol == 2
    assert not spec.options.inspect
    assert spec.wire_options("http") == {
        "host_header": "localhost:8443",
        "allow_ips": ["10.0.0.0/8", "192.0.2.1/32"],
        "deny_ips": ["10.1.0.0/16"],
        "request_headers": {"add": {}, "set": {"X-A": "1"}, "remove": ["X-B"]},
        "redirect_https": True,
        "on_conflict": "takeover",
    }


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (" a: {}\n", "f:2:5", "proto is missing"),
        (" a: {proto: {}}\n", "f:2:5", "proto is empty"),
        (" a: {proto: {htpp: 80}}\n", "f:2:14", "no protocol"),
        (" a: {proto: {http: 80, http+https: 81}}\n", "f:2:24", "twice"),
        (" a: {proto: {http: 99999}}\n", "f:2:20", "port"),
        (" a: {proto: {http: localhost}}\n", "f:2:20", "needs a port"),
        (" a: {proto: 80}\n", "f:2:13", "must be a table"),
        (" a: {addr: 80}\n", "f:2:6", "unknown key 'addr'"),
        (" a: {proto: {tcp: 22}, remote_port: 70000}\n", "f:2:37", "from 0 to 65535"),
        (" a: {proto: {http: 80}, remote_port: 70}\n", "f:2:5", "for tcp only"),
        (" a: {proto: {http: 80}, auth: me}\n", "f:2:5", "user:password"),
        (" a: {proto: {tcp: 80}, subdomain: x}\n", "f:2:5", "for http and https only"),
        (" a: {proto: {http: 80}, subdomain: a_b}\n", "f:2:5", "subdomain"),
        (" a: {proto: {http: 80}, compress: true}\n", "f:2:5", "only be false"),
        (" a: {proto: {http: 80}, allow_ips: [10.0.0.1/8]}\n", "f:2:37", "behind its prefix"),
        (" a: {proto: {http: 80}, proxy_protocol: 3}\n", "f:2:41", "1 or 2"),
        (" a: {proto: {http: 80}, request_headers: {sett: 1}}\n", "f:2:43", "unknown key"),
        (" a: {proto: {http: 80}, request_headers: {add: {Host: x}}}\n", "f:2:42", "can't be changed"),
        (" a: {proto: {http: 80}}\n a: {proto: {http: 81}}\n", "f:3:2", "twice"),
        (" a: {proto: {http: 80}}\n b: {proto: {http: 81}, subdomain: A}\n", "f:3:2", "same http name as tunnel 'a'"),
        (" a b: {proto: {http: 80}}\n", "f:2:2", "can be typed"),
        (" - a\n", "f:2:2", "must be a table"),
    ],
)
def test_mistakes(text: str, place: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        tunnels(text)
    assert (caught.value.place, message in caught.value.message) == (place, True), caught.value.message


def test_merge_keys_work_as_in_1_7() -> None:
    found = read("tunnels:\n a: &d {proto: {http: 80}, auth: u:p}\n b: {<<: *d, subdomain: other}\n", "f").tunnels
    assert (found["b"].auth.reveal(), found["b"].subdomain) == ("u:p", "other")
