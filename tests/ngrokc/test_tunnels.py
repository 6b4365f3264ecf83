"""What is asked for, and which answer belongs to what, in both dialects."""

from types import MappingProxyType

import pytest

from ngrokc.options import TunnelOptions
from ngrokc.tunnel_spec import TunnelSpec
from ngrokc.tunnels import FOR_GOOD, Asked, TunnelBook, WantedTunnel
from protocol.address import parse_upstream
from protocol.errors import Fault
from protocol.messages import NewTunnel
from protocol.secret import Secret


def wanted(name: str, *protocols: str, **more: object) -> WantedTunnel:
    upstreams = MappingProxyType(
        {protocol: parse_upstream(str(80 + index)) for index, protocol in enumerate(protocols)}
    )
    return WantedTunnel(TunnelSpec(name, upstreams, **more))  # type: ignore[arg-type]


def test_native_asks_once_for_equal_options() -> None:
    tunnel = wanted("t", "http", "https", subdomain="s", auth=Secret("u:p"))
    asked = Asked(native=True)
    (request,) = asked.requests(tunnel)
    assert (request.protocol, request.subdomain, request.http_auth, request.options) == ("http+https", "s", "u:p", None)
    assert asked.requests(tunnel) == []  # it is on its way


def test_native_splits_different_options() -> None:
    tunnel = wanted("t", "http", "https", "tcp", remote_port=22, options=TunnelOptions(host_header="rewrite"))
    requests = Asked(native=True).requests(tunnel)
    assert [(request.protocol, request.options, request.remote_port) for request in requests] == [
        ("http", {"host_header": "127.0.0.1"}, 0),
        ("https", {"host_header": "127.0.0.1:81"}, 0),
        ("tcp", None, 22),
    ]


def test_classic_asks_for_each_protocol_and_sends_no_options() -> None:
    tunnel = wanted("t", "http", "https", subdomain="s", options=TunnelOptions(redirect_https=True))
    requests = Asked(native=False).requests(tunnel)
    assert [(request.protocol, request.options) for request in requests] == [("http", None), ("https", None)]


def test_classic_gives_the_second_protocol_the_first_one_s_random_name() -> None:
    tunnel = wanted("t", "http", "https", "tcp")
    asked = Asked(native=False)
    first = asked.requests(tunnel)
    assert [request.protocol for request in first] == ["http", "tcp"]
    answer = asked.answered(NewTunnel(first[0].req_id, "http://abc.ngrok.me:8080", "http"))
    assert answer is not None
    tunnel.endpoints["http"].state, tunnel.endpoints["http"].url = "online", "http://abc.ngrok.me:8080"
    (second,) = asked.requests(tunnel)
    assert (second.protocol, second.subdomain) == ("https", "abc")


def test_errors_without_an_id_belong_to_the_oldest_request() -> None:
    asked = Asked(native=False)
    one, two = wanted("one", "http", subdomain="a"), wanted("two", "http", subdomain="b")
    asked.requests(one)
    (request,) = asked.requests(two)
    refused = asked.answered(NewTunnel(error="taken"))
    assert refused is not None
    assert (refused.tunnel, refused.protocols) == (one, ("http",))
    online = asked.answered(NewTunnel(request.req_id, "http://b", "http"))
    assert online is not None
    assert online.tunnel is two
    assert len(asked) == 0


def test_a_native_refusal_ends_the_whole_request() -> None:
    asked = Asked(native=True)
    (request,) = asked.requests(wanted("t", "http", "https"))
    answer = asked.answered(NewTunnel(request.req_id, error="no", code="name_taken"))
    assert answer is not None
    assert answer.protocols == ("http", "https")


@pytest.mark.parametrize(
    ("code", "again"), [*[(code, False) for code in FOR_GOOD], ("name_taken", True), ("odd", True)]
)
def test_what_is_refused_for_good_is_asked_for_again_by_the_next_session_alone(code: str, again: bool) -> None:
    book = TunnelBook([wanted("t", "http", "tcp", options=TunnelOptions(redirect_https=True)).spec])
    tunnel = book.get("t")
    assert tunnel is not None
    asked = Asked(native=True)
    for request in asked.requests(tunnel):
        asked.answered(NewTunnel(request.req_id, error="no", code=code))
    for endpoint in tunnel.endpoints.values():
        endpoint.state, endpoint.code = "refused", "name_taken"
    tunnel.endpoints["tcp"].code = code
    assert [request.protocol for request in asked.requests(tunnel)] == (["http", "tcp"] if again else ["http"])
    book.session_lost()
    assert [request.protocol for request in Asked(native=True).requests(tunnel)] == ["http", "tcp"]


@pytest.mark.parametrize(
    "message", [NewTunnel("unknown", "http://x", "http"), NewTunnel(error="x"), NewTunnel("", "http://x", "http")]
)
def test_answers_to_nothing(message: NewTunnel) -> None:
    assert Asked(native=True).answered(message) is None


def test_a_protocol_that_was_not_asked_for() -> None:
    asked = Asked(native=True)
    (request,) = asked.requests(wanted("t", "http"))
    assert asked.answered(NewTunnel(request.req_id, "tcp://x:1", "tcp")) is None


def test_the_book() -> None:
    book = TunnelBook([wanted("a", "http").spec])
    tunnel = wanted("b", "http")
    book.add(tunnel)
    assert ("b" in book, len(book)) == (True, 2)
    with pytest.raises(Fault):
        book.add(wanted("b", "http"))
    tunnel.refusals = 1
    assert [entry.name for entry in book.in_asking_order()] == ["a", "b"]
    found = book.get("a")
    assert found is not None
    found.given_up = True
    assert [entry.name for entry in book.in_asking_order()] == ["b"]
    found.endpoints["http"].state = "closed"
    tunnel.endpoints["http"].state = "online"
    book.session_lost()
    assert (found.endpoints["http"].state, tunnel.endpoints["http"].state) == ("closed", "waiting")
    assert book.remove("b") is tunnel
    assert book.remove("b") is None
