"""Hosts have one spelling, bad names are refused with a reason, and URLs are 1.7's."""

from __future__ import annotations

from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import Fault
from protocol.names import (
    RESERVED,
    PublicName,
    PublicUrls,
    Zone,
    covers,
    is_wildcard,
    normalize_host,
    wildcards_for,
)
from protocol.secret import random_name

ZONE = Zone("Example.me.", own=frozenset({"connect.example.me", "admin.example.org"}))
LABEL63 = "a" * 63
LONGEST = ".".join([LABEL63, LABEL63, LABEL63, "a" * 61])


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("test.example.me", "test.example.me"),
        ("TEST.Example.ME", "test.example.me"),
        ("test.example.me.", "test.example.me"),
        ("localhost", "localhost"),
        ("1.2.3.4", "1.2.3.4"),
        ("a--b.example", "a--b.example"),
        ("xn--mnchen-3ya.de", "xn--mnchen-3ya.de"),
        ("München.de", "xn--mnchen-3ya.de"),
        ("straße.de", "xn--strae-oqa.de"),
        ("ＷＷＷ．example．me", "www.example.me"),
        ("a。b", "a.b"),
        ("a\u200b.de", "a.de"),
        ("\u212a.example", "k.example"),
        (LABEL63 + ".x", LABEL63 + ".x"),
        (LONGEST, LONGEST),
        (LONGEST + ".", LONGEST),
    ],
)
def test_one_spelling(text: str, host: str) -> None:
    assert normalize_host(text) == host
    assert normalize_host(host) == host


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            ".",
            "..",
            ".a",
            "a..b",
            "a.b..",
            "-a",
            "a-",
            "a.-b",
            "a_b",
            "_dmarc.x",
            "a b",
            " a",
            "a ",
            "a\n",
            "a\r\nb",
        ),
        *("a\0", "a:80", "[::1]", "::1", "a/b", "a@b", "a,b", "a%2eb", "*.a", "*", "a\x1b[0m", "<b>", "a?b", "a#b"),
        *("a\u202e.de", "\ud800.de", "\u00ad", "a\u0301\u0301" * 40, "\u2488com", "ä_b.de", "☃\uffff"),
        *(LABEL63 + "a", LONGEST + "a", "a." * 126 + "aa", "ü" * 10_000, "a" * 1_000_000),
    ],
    ids=lambda text: ascii(text[:20]),
)
def test_no_host(text: str) -> None:
    with pytest.raises(Fault) as caught:
        normalize_host(text)
    assert caught.value.code == "bad_name"


@given(st.text(max_size=300))
def test_any_text_is_a_host_or_our_fault(text: str) -> None:
    try:
        host = normalize_host(text)
    except Fault:
        return
    assert host.isascii()
    assert host == host.lower()
    assert 0 < len(host) <= 253
    assert not set(host) - set("abcdefghijklmnopqrstuvwxyz0123456789-.")
    assert normalize_host(host) == host


@pytest.mark.parametrize(
    ("text", "name"),
    [("test", "test"), (" Test ", "test"), ("a.b", "a.b"), ("www.shop", "www.shop"), ("test.", "test"), ("1", "1")],
)
def test_subdomains(text: str, name: str) -> None:
    assert ZONE.subdomain(text) == name
    assert ZONE.hostname(f"{name}.example.me") == f"{name}.example.me"


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "bad_name"),
        ("a_b", "bad_name"),
        ("a..b", "bad_name"),
        ("test.example.me\r\nX: y", "bad_name"),
        ("*", "bad_name"),
        ("*.demo", "bad_name"),
        ("a.*", "bad_name"),
        ("a" * 64, "bad_name"),
        (".".join([LABEL63] * 3 + ["a" * 52]), "bad_name"),
        ("www", "reserved_name"),
        ("WWW", "reserved_name"),
        ("ＷＷＷ", "reserved_name"),
        ("x.www", "reserved_name"),
        ("connect", "reserved_name"),
        ("xn--dmin-moa", "lookalike_name"),
        ("xn--80ak6aa92e", "lookalike_name"),
        ("münchen", "lookalike_name"),
        ("\u0430dmin", "lookalike_name"),
        ("a.xn--mnchen-3ya", "lookalike_name"),
        ("xn--mnchen-3ya.a", "lookalike_name"),
        ("ab--cd", "lookalike_name"),
        ("adm1n", "lookalike_name"),
        ("emai1", "lookalike_name"),
        ("r00t", "lookalike_name"),
        ("vvvvvv", "lookalike_name"),
        ("adrnin", "lookalike_name"),
        ("b1ll1ng", "lookalike_name"),
    ],
)
def test_subdomains_that_nobody_gets(text: str, code: str) -> None:
    with pytest.raises(Fault) as caught:
        ZONE.subdomain(text)
    assert caught.value.code == code
    assert text not in caught.value.message or not text


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("Other.Example.org", "other.example.org"),
        ("bücher.example.org", "xn--bcher-kva.example.org"),
        ("intranet", "intranet"),
        ("notexample.me", "notexample.me"),
        ("a.b.example.me.", "a.b.example.me"),
    ],
)
def test_hostnames(text: str, host: str) -> None:
    assert ZONE.hostname(text) == host


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("example.me", "reserved_name"),
        ("EXAMPLE.ME.", "reserved_name"),
        ("connect.example.me", "reserved_name"),
        ("admin.example.org", "reserved_name"),
        ("www.example.me", "reserved_name"),
        ("x.xn--mnchen-3ya.example.me", "lookalike_name"),
        ("localhost", "reserved_name"),
        ("inspector.localhost", "reserved_name"),
        ("127.0.0.1", "bad_name"),
        ("1.2", "bad_name"),
        ("0x7f.0x1", "bad_name"),
        ("2130706433", "bad_name"),
        ("[::1]", "bad_name"),
        ("*.example.me", "bad_name"),
        ("*.demo.example.me", "bad_name"),
        ("*.other.org", "bad_name"),
        ("other.org:80", "bad_name"),
        ("", "bad_name"),
        ("*", "bad_name"),
    ],
)
def test_hostnames_that_nobody_gets(text: str, code: str) -> None:
    with pytest.raises(Fault) as caught:
        ZONE.hostname(text)
    assert caught.value.code == code


def test_a_zone_of_localhost_gives_names_below_it() -> None:
    zone = Zone("localhost")
    assert zone.hostname("test.localhost") == "test.localhost"
    assert zone.subdomain("test") == "test"
    with pytest.raises(Fault):
        zone.hostname("localhost")
    with pytest.raises(Fault):
        Zone("no domain")


def test_wildcards_need_permission() -> None:
    assert ZONE.subdomain("*.Demo", wildcard=True) == "*.demo"
    assert ZONE.subdomain("*", wildcard=True) == "*"
    assert ZONE.hostname("*.demo.example.me", wildcard=True) == "*.demo.example.me"
    assert ZONE.hostname("*.example.me", wildcard=True) == "*.example.me"
    assert ZONE.hostname("*.other.org", wildcard=True) == "*.other.org"
    for text in ("*.*", "a.*", "*a", "*.", "**"):
        with pytest.raises(Fault):
            ZONE.subdomain(text, wildcard=True)
    with pytest.raises(Fault):
        ZONE.subdomain("*.www", wildcard=True)


def test_random_names_are_always_free_of_trouble() -> None:
    for _ in range(200):
        name = random_name()
        assert ZONE.subdomain(name) == name


def test_reserved_words_are_spelled_as_we_compare_them() -> None:
    assert all(normalize_host(word) == word for word in RESERVED)


def test_exact_beats_wildcard_beats_none() -> None:
    assert list(wildcards_for("a.b.example.me")) == ["*.b.example.me", "*.example.me", "*.me"]
    assert list(wildcards_for("localhost")) == []
    routes = {"a.demo.me": 1, "*.demo.me": 2, "*.me": 3}

    def lookup(host: str) -> int | None:
        return next((routes[name] for name in (host, *wildcards_for(host)) if name in routes), None)

    assert [lookup(host) for host in ("a.demo.me", "b.demo.me", "x.b.demo.me", "demo.me", "me")] == [1, 2, 2, 3, None]


@pytest.mark.parametrize(
    ("pattern", "host", "covered"),
    [
        ("a.me", "a.me", True),
        ("a.me", "b.a.me", False),
        ("*.a.me", "b.a.me", True),
        ("*.a.me", "c.b.a.me", True),
        ("*.a.me", "a.me", False),
        ("*.a.me", "ba.me", False),
        ("*.a.me", ".a.me", False),
    ],
)
def test_covers(pattern: str, host: str, covered: bool) -> None:
    assert covers(pattern, host) is covered
    assert is_wildcard(pattern) is pattern.startswith("*")
    if is_wildcard(pattern) and not host.startswith("."):
        assert (pattern in wildcards_for(host)) is covered


@pytest.mark.parametrize(
    ("ports", "vhost", "http", "https"),
    [
        ({"http": 80, "https": 443}, "", "http://x.ngrok.me", "https://x.ngrok.me"),
        ({"http": 8080, "https": 8443}, "", "http://x.ngrok.me:8080", "https://x.ngrok.me:8443"),
        ({"http": 443, "https": 80}, "", "http://x.ngrok.me:443", "https://x.ngrok.me:80"),
        ({"http": 8080, "https": 8443}, "Tunnels.Example", "http://x.tunnels.example", "https://x.tunnels.example"),
        ({"http": 8080, "https": 8443}, "t.example:80", "http://x.t.example", "https://x.t.example:80"),
    ],
)
def test_urls_below_the_domain(ports: dict[str, int], vhost: str, http: str, https: str) -> None:
    urls = PublicUrls("Ngrok.me", ports, vhost)
    assert urls.under_domain("http", "x").url == http
    assert urls.under_domain("https", "x").url == https
    host = (vhost or "ngrok.me").lower().partition(":")[0]
    assert urls.under_domain("http", "x").host == urls.under_domain("https", "x").host == f"x.{host}"


def test_other_urls() -> None:
    urls = PublicUrls("Ngrok.me", {"http": 8080}, "v.example")
    assert urls.at_port(4711) == PublicName("tcp://Ngrok.me:4711", "ngrok.me", 4711)


@pytest.mark.parametrize(
    ("ports", "vhost", "http", "https"),
    [
        ({"http": 80, "https": 443}, "", "http://a.other.org", "https://a.other.org"),
        ({"http": 8080, "https": 8443}, "", "http://a.other.org:8080", "https://a.other.org:8443"),
        ({"http": 8080, "https": 8443}, "v.example", "http://a.other.org", "https://a.other.org"),
        ({"http": 8080, "https": 8443}, "v.example:443", "http://a.other.org:443", "https://a.other.org"),
    ],
)
def test_urls_of_other_hosts(ports: dict[str, int], vhost: str, http: str, https: str) -> None:
    """With the ports that subdomains have; for 1.7 alone."""
    urls = PublicUrls("Ngrok.me", ports, vhost)
    for protocol, url in (("http", http), ("https", https)):
        assert urls.at_host(protocol, "a.other.org", with_port=True) == PublicName(url, "a.other.org")
        alone = PublicName(f"{protocol}://a.other.org", "a.other.org")
        assert urls.at_host(protocol, "a.other.org", with_port=False) == alone


@pytest.mark.parametrize("protocol", ["https", "tcp", "", "ftp", "http\r\n", "HTTP", "x" * 100])
def test_no_listener_no_url(protocol: str) -> None:
    urls = PublicUrls("ngrok.me", {"http": 80})
    for build in (urls.under_domain, partial(urls.at_host, with_port=True)):
        with pytest.raises(Fault) as caught:
            build(protocol, "x")
        assert caught.value.code == "unsupported_protocol"
        assert caught.value.message.isprintable()
        assert len(caught.value.message) < 60
        assert caught.value.hint.startswith("ask for http alone: -proto=http, ")
