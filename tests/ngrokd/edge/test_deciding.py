"""Who serves a request: the order of the questions, and what is asked again of a request that is sent again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ngrokd.edge.deciding import decide, decide_again, decide_without, find, may_repeat
from ngrokd.policy import Policy
from ngrokd.policy.denial import Denial
from ngrokd.registry import Registry, Want
from ngrokd.session import AgentInfo, Identity, Session, SessionKey
from ngrokd.tunnel import Tunnel
from protocol.errors import Blame, Fault
from protocol.head import parse_request
from tests.kit.edgeworld import Control


def request(method: str = "GET", fields: str = "") -> Any:
    return parse_request(f"{method} / HTTP/1.1\r\nHost: one.test\r\n{fields}\r\n".encode())


def visitor(*, guard: Any = None, room: Any = None, server_name: str | None = None) -> Any:
    registry = Registry(iter("abc").__next__)
    edge = SimpleNamespace(
        guard=guard, room=room, heir=None, registry=registry, scheme="http", reactor=SimpleNamespace(now=0.0),
        why_unknown=lambda _host: "tunnel_not_found",
    )  # fmt: skip
    return SimpleNamespace(edge=edge, server_name=server_name, address=("192.0.2.1", 1), secure=False)


def declare(one: Any, number: int = 1, *, auth: str = "", usage: Any = None) -> Tunnel:
    opener: Any = None
    session = Session(Identity(SessionKey(f"{number:032x}", number), "s"), AgentInfo(), frozenset(), Control(), opener)
    session.usage = usage
    one.edge.registry.replace(session)
    declared = one.edge.registry.declare(
        session, [Want("http", "http://one.test", "one.test", policy=Policy.compile(auth, None))]
    )
    tunnel: Tunnel = declared[0]
    return tunnel


def test_the_owner_of_the_name_serves() -> None:
    one = visitor()
    assert decide(one, request()) == Denial("tunnel_not_found")
    tunnel = declare(one)
    assert decide(one, request()) is tunnel


def test_who_waits_for_an_agent_that_is_expected_back_has_no_answer_yet() -> None:
    room = SimpleNamespace(takes=lambda *_: True)
    assert decide(visitor(room=room), request()) is None


def test_each_question_may_end_it() -> None:
    no = Denial("rate_limited")
    assert decide(visitor(guard=SimpleNamespace(consider=lambda *_: no)), request()) is no
    one = visitor(server_name="two.test")
    declare(one)
    assert decide(one, request()) == Denial("misdirected")
    busy = visitor()
    usage = SimpleNamespace(admit_request=lambda _now: False, grant=SimpleNamespace(name="ci"))
    declare(busy, usage=usage)
    assert decide(busy, request()) == Denial("tunnel_rate_limited", detail="ci")
    locked = visitor()
    declare(locked, auth="me:secret")
    found = decide(locked, request())
    assert isinstance(found, Denial)


def test_a_request_that_is_sent_again_goes_to_who_has_the_name_now() -> None:
    one = visitor()
    first = declare(one)
    assert decide_again(one, request(), first) is first
    one.edge.registry.release(first.session.key)
    assert decide_again(one, request(), first) == Denial("agent_gone")
    heir = declare(one, 2)
    assert decide_again(one, request(), first) is heir


@pytest.mark.parametrize("takes", [True, False])
def test_after_a_hot_restart_the_heir_serves_whose_agent_went_over(takes: bool) -> None:
    one = visitor()
    gone = Fault("agent_gone", "away", blame=Blame.AGENT)
    silent = Fault("agent_silent", "asleep", blame=Blame.AGENT)
    assert decide_without(one, request(), gone) == Denial("agent_gone", detail="away")
    one.edge.heir = lambda *_: takes
    assert (decide_without(one, request(), gone) is None) is takes
    assert decide_without(one, request(), silent) == Denial("agent_silent", detail="asleep")
    first = declare(one)
    one.edge.registry.release(first.session.key)
    assert (decide_again(one, request(), first) is None) is takes


def test_a_request_is_counted_once_however_often_it_is_decided() -> None:
    counted: list[str] = []
    guard = SimpleNamespace(consider=lambda _visitor, _request: counted.append("one"))
    waiting = visitor(guard=guard, room=SimpleNamespace(takes=lambda *_: True))
    assert decide(waiting, request()) is None
    tunnel = declare(waiting)
    assert find(waiting, request()) is tunnel
    waiting.edge.registry.release(tunnel.session.key)
    heir = declare(waiting, 2)
    assert decide_again(waiting, request(), tunnel) is heir
    assert counted == ["one"]


@pytest.mark.parametrize(
    ("method", "fields", "may"),
    [("GET", "", True), ("POST", "", False), ("PUT", "Content-Length: 1\r\n", False), ("DELETE", "", True)],
)
def test_only_what_does_no_harm_twice_is_repeated(method: str, fields: str, may: bool) -> None:
    assert may_repeat(request(method, fields)) is may
