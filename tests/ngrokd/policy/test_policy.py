"""Policies as the edge asks them: order of the checks, redirects, edits, and options that are refused by name."""

from __future__ import annotations

import base64

import pytest

from ngrokd.edge.codes import CODES
from ngrokd.policy import TRIVIAL, Denial, Policy
from ngrokd.policy.login import BURST
from protocol.errors import Blame, Fault
from protocol.head import RequestHead, parse_request, parse_response

HERE = "192.0.2.1"


def request(*lines: str, first: str = "GET /a?b HTTP/1.1", host: str = "A.test:8080") -> RequestHead:
    return parse_request("\r\n".join([first, f"Host: {host}", *lines, "", ""]).encode())


def login(pair: str) -> str:
    return "Authorization: Basic " + base64.b64encode(pair.encode()).decode()


def code(denial: Denial | None) -> str | None:
    if denial is not None:
        assert denial.code in CODES
    return None if denial is None else denial.code


@pytest.mark.parametrize(
    "options", [None, {}, {"host_header": "preserve"}, {"redirect_https": False, "on_conflict": "takeover"}]
)
def test_trivial(options: dict[str, object] | None) -> None:
    policy = Policy.compile("", options)
    assert policy.trivial
    assert TRIVIAL.trivial
    assert policy.admit(HERE, request(), False) is None
    assert policy.admit_address("whatever") is None
    head = request()
    assert policy.edit_request(head) is head
    assert repr(policy) == "<Policy trivial>"


# -- addresses
def test_addresses() -> None:
    policy = Policy.compile("", {"allow_ips": ["192.0.2.0/24", "::1"], "deny_ips": ["192.0.2.66"]})
    assert not policy.trivial
    for address in (HERE, "::ffff:192.0.2.5", "::1"):
        assert policy.admit_address(address) is None
        assert policy.admit(address, request(), True) is None
    for address in ("192.0.2.66", "::ffff:192.0.2.66", "198.51.100.1", "::2", "", "@unix"):
        assert code(policy.admit_address(address)) == "forbidden"
        assert code(policy.admit(address, request(), True)) == "forbidden"


def test_deny_alone_lets_the_others_in() -> None:
    policy = Policy.compile("", {"deny_ips": ["192.0.2.66"]})
    assert policy.admit_address(HERE) is None
    assert code(policy.admit_address("192.0.2.66")) == "forbidden"


# -- authorisation
def test_password() -> None:
    policy = Policy.compile("user:secret")
    assert code(policy.admit(HERE, request(), True)) == "unauthorized"
    assert code(policy.admit(HERE, request(login("user:wrong")), True)) == "unauthorized"
    assert code(policy.admit(HERE, request(login("nobody:secret")), True)) == "unauthorized"
    assert policy.admit(HERE, request(login("user:secret")), True) is None
    assert "secret" not in repr(policy) + repr(policy._parts)


def test_only_authorization_counts() -> None:
    """Route by one field, authorise by another: the shape of CVE-2026-40910."""
    policy = Policy.compile("user:secret")
    spoofed = login("user:secret").replace("Authorization", "Proxy-Authorization")
    assert code(policy.admit(HERE, request(spoofed), True)) == "unauthorized"
    assert code(policy.admit(HERE, request(spoofed, login("a:b")), True)) == "unauthorized"


def test_guessing_is_slowed_down() -> None:
    now = 0.0
    policy = Policy.compile("user:secret", clock=lambda: now)
    for _ in range(BURST):
        assert code(policy.admit(HERE, request(login("user:guess")), True)) == "unauthorized"
        assert code(policy.admit(HERE, request(), True)) == "unauthorized"  # asking for the password costs nothing
    denial = policy.admit(HERE, request(login("user:secret")), True)
    assert denial == Denial("rate_limited", b"Retry-After: 6\r\n")
    assert policy.admit("192.0.2.2", request(login("user:secret")), True) is None
    now = 6.0
    assert policy.admit(HERE, request(login("user:secret")), True) is None


def test_order_of_the_checks() -> None:
    policy = Policy.compile("user:secret", {"allow_ips": [HERE], "redirect_https": True})
    assert code(policy.admit("192.0.2.2", request(), False)) == "forbidden"
    assert code(policy.admit(HERE, request(login("user:secret")), False)) == "https_required"
    assert code(policy.admit(HERE, request(), True)) == "unauthorized"
    assert policy.admit(HERE, request(login("user:secret")), True) is None


# -- redirect
@pytest.mark.parametrize(
    ("first", "port", "location"),
    [
        ("GET /a?b=c HTTP/1.1", 443, b"https://a.test/a?b=c"),
        ("GET /a?b=c HTTP/1.1", 8443, b"https://a.test:8443/a?b=c"),
        ("GET //evil.test HTTP/1.1", 443, b"https://a.test//evil.test"),
        ("GET http://a.test:8080/x HTTP/1.1", 443, b"https://a.test/x"),
        ("OPTIONS * HTTP/1.1", 443, b"https://a.test/"),
        ("GET /ä HTTP/1.1", 443, b"https://a.test/%C3%A4"),
    ],
)
def test_redirect(first: str, port: int, location: bytes) -> None:
    policy = Policy.compile("", {"redirect_https": True}, https_port=port)
    assert policy.admit(HERE, request(first=first), False) == Denial("https_required", b"Location: %b\r\n" % location)
    assert policy.admit(HERE, request(first=first), True) is None


# -- edits
def test_host_header_and_request_headers() -> None:
    options = {"host_header": "localhost:3000", "request_headers": {"set": {"X-A": "1"}, "remove": ["Cookie"]}}
    head = request("Cookie: a", "x-a: old", "Connection: close", "B: c")
    sent = Policy.compile("", options).edit_request(head).forward(b"X-Forwarded-For: 192.0.2.1\r\n")
    assert sent == (
        b"GET /a?b HTTP/1.1\r\nB: c\r\nHost: localhost:3000\r\nX-A: 1\r\nX-Forwarded-For: 192.0.2.1\r\n\r\n"
    )
    assert parse_request(sent).host == "localhost"
    assert b"Cookie: a" in head.forward(b"")  # the original is untouched
    edited = Policy.compile("", options).edit_request(head)
    assert edited.forward(b"", frozenset({b"b"})) == b"GET /a?b HTTP/1.1\r\nHost: localhost:3000\r\nX-A: 1\r\n\r\n"
    assert (edited.host, edited.target, edited.keep_alive, edited.body().done) == ("a.test", b"/a?b", False, True)


def test_response_headers() -> None:
    policy = Policy.compile("", {"response_headers": {"add": {"X-A": "1"}, "remove": ["Server"]}})
    final = parse_response(b"HTTP/1.1 200 OK\r\nServer: x\r\nContent-Length: 0\r\n\r\n", method=b"GET")
    assert policy.edit_response(final).forward(b"B: c\r\n") == (
        b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-A: 1\r\nB: c\r\n\r\n"
    )
    interim = parse_response(b"HTTP/1.1 103 Early Hints\r\nServer: x\r\n\r\n", method=b"GET")
    assert policy.edit_response(interim) is interim


# -- options
def test_an_unknown_option_is_refused_by_name() -> None:
    with pytest.raises(Fault) as caught:
        Policy.compile("", {"compres\x1bs": True})
    assert caught.value.code == "unknown_option"
    assert caught.value.blame is Blame.AGENT
    assert "compres\\x1bs" in caught.value.message
    assert "allow_ips" in caught.value.hint


@pytest.mark.parametrize(
    "options",
    [
        *({"allow_ips": "192.0.2.1"}, {"allow_ips": []}, {"allow_ips": [5]}, {"allow_ips": ["192.0.2.1/24"]}, {"allow_ips": {}}),
        *({"deny_ips": ["\x1b"]}, {"deny_ips": ["::1"] * 1001}, {"deny_ips": None}, {"redirect_https": "yes"}),
        *({"redirect_https": 1}, {"host_header": "rewrite"}, {"host_header": "a\r\nb"}, {"host_header": ""}),
        *({"host_header": "a b"}, {"host_header": "http://a"}, {"host_header": 5}, {"host_header": "u@a"}),
        {"host_header": "\udc80"},
        *({"on_conflict": "fight"}, {"on_conflict": []}, {"request_headers": {"set": {"Host": "a"}}}, {"response_headers": []}),
    ],
)  # fmt: skip
def test_bad_options(options: dict[str, object]) -> None:
    with pytest.raises(Fault) as caught:
        Policy.compile("", options)
    assert caught.value.code == "bad_option"
    assert next(iter(options)) in caught.value.message
    assert caught.value.message.isprintable()


def test_a_summary_for_logs() -> None:
    policy = Policy.compile("a:b", {"allow_ips": [HERE], "redirect_https": True, "host_header": "x"})
    assert repr(policy) == "<Policy auth addresses request redirect_https>"
