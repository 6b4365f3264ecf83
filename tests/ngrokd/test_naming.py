"""Names and URLs: each protocol's own port, hostname over subdomain, and one URL behind somebody else's proxy."""

from __future__ import annotations

import pytest

from ngrokd.naming import Naming, protocols_of
from ngrokd.settings import PublicUrl
from protocol.errors import Fault
from protocol.messages import ReqTunnel
from protocol.names import PublicUrls, Zone

PORTS = {"http": 8080, "https": 8443}
NAMING = Naming(Zone("example.me"), PublicUrls("example.me", PORTS))


def test_each_protocol_has_its_own_port() -> None:
    request = ReqTunnel(subdomain="Test ")
    http, https = NAMING.requested("http", request), NAMING.requested("https", request)
    assert http is not None
    assert https is not None
    assert (http.url, http.host) == ("http://test.example.me:8080", "test.example.me")
    assert https.url == "https://test.example.me:8443"


def test_a_hostname_wins_over_a_subdomain() -> None:
    found = NAMING.requested("http", ReqTunnel(subdomain="test", hostname="Shop.Example.ORG"))
    assert found is not None
    assert (found.url, found.host) == ("http://shop.example.org:8080", "shop.example.org")


def test_a_1_7_agent_is_shown_a_hostname_as_1_7_shows_it() -> None:
    request = ReqTunnel(hostname="Shop.Example.ORG")
    for protocol in ("http", "https"):
        found = NAMING.requested(protocol, request, native=False)
        assert found is not None
        assert (found.url, found.host) == (f"{protocol}://shop.example.org", "shop.example.org")
    below = NAMING.requested("http", ReqTunnel(subdomain="test"), native=False)
    assert below is not None
    assert below.url == "http://test.example.me:8080"


def test_nothing_asked_for_is_the_servers_choice() -> None:
    assert NAMING.requested("http", ReqTunnel(hostname=" ", subdomain="")) is None
    assert NAMING.under_domain("http", "abc").url == "http://abc.example.me:8080"


@pytest.mark.parametrize(
    "request_", [ReqTunnel(hostname="example.me"), ReqTunnel(subdomain="www"), ReqTunnel(subdomain="a b")]
)
def test_names_that_may_not_be_had(request_: ReqTunnel) -> None:
    with pytest.raises(Fault):
        NAMING.requested("http", request_)


def test_a_protocol_without_listener_is_refused() -> None:
    naming = Naming(Zone("example.me"), PublicUrls("example.me", {"http": 80}))
    with pytest.raises(Fault, match="https") as caught:
        naming.under_domain("https", "abc")
    assert caught.value.code == "unsupported_protocol"


@pytest.mark.parametrize(
    ("public", "url"),
    [
        (PublicUrl("https", "pub.me", 443), "https://abc.pub.me"),
        (PublicUrl("https", "pub.me", 8443), "https://abc.pub.me:8443"),
        (PublicUrl("http", "pub.me", 80), "http://abc.pub.me"),
    ],
)
def test_behind_a_proxy_both_protocols_have_its_url(public: PublicUrl, url: str) -> None:
    naming = Naming(Zone("pub.me"), PublicUrls("pub.me", {"http": 8080}), public)
    assert naming.under_domain("http", "abc").url == url
    assert naming.under_domain("https", "abc").url == url
    asked = naming.requested("https", ReqTunnel(subdomain="abc"))
    assert asked is not None
    assert asked.url == url


def test_protocols_keep_their_order() -> None:
    assert protocols_of(ReqTunnel(protocol="https+http")) == ["https", "http"]
    assert protocols_of(ReqTunnel(protocol="tcp")) == ["tcp"]


@pytest.mark.parametrize("text", ["", "udp", "http+", "http+http", "HTTP", "http,https"])
def test_other_protocols_are_refused(text: str) -> None:
    with pytest.raises(Fault) as caught:
        protocols_of(ReqTunnel(protocol=text))
    assert caught.value.code == "unsupported_protocol"
