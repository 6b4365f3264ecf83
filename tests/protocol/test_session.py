"""The order of messages, told to both sides at once: what one may send the other takes, in both dialects."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import WireError
from protocol.messages import (
    CLASSIC,
    NATIVE,
    Auth,
    AuthResp,
    CloseTunnel,
    GoAway,
    Message,
    NewTunnel,
    Notice,
    Ping,
    Pong,
    RegLeg,
    RegProxy,
    ReqLeg,
    ReqProxy,
    ReqTunnel,
    StartProxy,
    TunnelClosed,
)
from protocol.session import (
    CAPABILITIES,
    CLASSIC_AGENT_HEARTBEAT,
    CLASSIC_SERVER_HEARTBEAT,
    NATIVE_HEARTBEAT,
    TABLE,
    ControlOrder,
    LinkKind,
    Side,
    State,
    heartbeat,
    link_kind,
    negotiate,
)


class Pair:
    """Both ends of one control link; every message goes through both."""

    def __init__(self, offered: tuple[str, ...] | None = None, granted: tuple[str, ...] | None = None) -> None:
        self.agent = ControlOrder(Side.AGENT)
        self.server = ControlOrder(Side.SERVER)
        self.up(Auth(caps=offered))
        self.down(AuthResp(caps=granted))

    def up(self, message: Message) -> bool:
        self.agent.sent(message)
        taken = self.server.received(message)
        assert self.agent.state == self.server.state
        assert self.agent.caps == self.server.caps
        return taken

    def down(self, message: Message) -> bool:
        self.server.sent(message)
        taken = self.agent.received(message)
        assert self.agent.state == self.server.state
        assert self.agent.caps == self.server.caps
        return taken


def test_a_classic_session() -> None:
    pair = Pair()
    assert not pair.agent.native
    assert pair.down(ReqProxy())
    assert pair.up(ReqTunnel())
    assert pair.down(NewTunnel())
    assert pair.up(Ping())
    assert pair.down(Pong())
    assert pair.agent.state is State.OPEN


def test_a_native_session_with_a_farewell() -> None:
    pair = Pair(CAPABILITIES, CAPABILITIES)
    assert pair.agent.native
    assert pair.agent.caps == CAPABILITIES
    assert pair.down(ReqLeg())
    assert pair.down(Ping())
    assert pair.up(Pong())
    assert pair.up(CloseTunnel())
    assert pair.down(TunnelClosed())
    assert pair.down(Notice())
    assert pair.down(GoAway())
    assert pair.agent.state is State.LEAVING
    assert pair.up(ReqTunnel())  # was on its way
    assert pair.down(NewTunnel())
    assert pair.down(GoAway())
    assert pair.agent.state is State.LEAVING


def test_a_refusal_ends_it() -> None:
    agent = ControlOrder(Side.AGENT)
    agent.sent(Auth())
    assert agent.received(AuthResp(error="no"))
    assert agent.state is State.ENDED
    assert not agent.received(ReqProxy())
    with pytest.raises(ValueError):
        agent.sent(Ping())


@pytest.mark.parametrize("message", [ReqTunnel(), Ping(), RegProxy(), StartProxy(), AuthResp()], ids=repr)
def test_before_auth_nothing_else_is_taken(message: Message) -> None:
    with pytest.raises(WireError) as caught:
        ControlOrder(Side.SERVER).received(message)
    assert caught.value.code == "out_of_order"


@pytest.mark.parametrize("message", [ReqProxy(), NewTunnel(), Pong(), Auth()], ids=repr)
def test_auth_resp_is_strictly_first(message: Message) -> None:
    agent = ControlOrder(Side.AGENT)
    agent.sent(Auth())
    with pytest.raises(WireError) as caught:
        agent.received(message)
    assert caught.value.code == "out_of_order"


@pytest.mark.parametrize("message", [Auth(), AuthResp(), NewTunnel(), StartProxy(), RegProxy()], ids=repr)
def test_in_an_open_session_a_known_message_out_of_place_is_ignored(message: Message) -> None:
    pair = Pair()
    before = pair.server.state
    assert not pair.server.received(message)
    assert pair.server.state is before


@pytest.mark.parametrize(
    ("message", "from_agent", "needs"),
    [
        (Ping(), False, "close"),
        (Pong(), True, "close"),
        (CloseTunnel(), True, "close"),
        (TunnelClosed(), False, "close"),
        (ReqLeg(), False, "mux"),
        (GoAway(), False, "bye"),
        (Notice(), False, "notice"),
    ],
    ids=repr,
)
def test_native_messages_need_their_capability(message: Message, from_agent: bool, needs: str) -> None:
    classic = Pair()
    sender, receiver = (classic.agent, classic.server) if from_agent else (classic.server, classic.agent)
    assert not sender.may_send(type(message))
    with pytest.raises(ValueError):
        sender.sent(message)
    if isinstance(message, Ping | Pong):
        assert not receiver.received(message)  # 1.7's own types in the wrong direction: ignored, as 1.7 does
    else:
        with pytest.raises(WireError) as caught:
            receiver.received(message)
        assert caught.value.code == "not_agreed"
    caps = ("ticket", needs)
    native = Pair(caps, caps)
    assert (native.up if from_agent else native.down)(message)


def test_nobody_is_granted_what_was_not_offered() -> None:
    pair = Pair(("ticket", "new-word"), (*CAPABILITIES, "new-word"))
    assert pair.agent.caps == ("ticket",)
    assert Pair(None, CAPABILITIES).agent.caps == ()
    assert Pair(CAPABILITIES, None).agent.caps == ()


@pytest.mark.parametrize(
    ("offered", "ours", "both"),
    [
        (None, CAPABILITIES, ()),
        ((), CAPABILITIES, ()),
        (("close", "ticket"), CAPABILITIES, ("ticket", "close")),
        (("ticket", "ticket", "TICKET", "", "x"), CAPABILITIES, ("ticket",)),
        (("mux", "close"), CAPABILITIES, ("close",)),
        (CAPABILITIES, ("bye", "mux"), ("bye",)),
        (CAPABILITIES, (), ()),
        (CAPABILITIES, CAPABILITIES, CAPABILITIES),
    ],
)
def test_negotiate(offered: tuple[str, ...] | None, ours: tuple[str, ...], both: tuple[str, ...]) -> None:
    assert negotiate(offered, ours) == both


@given(st.lists(st.sampled_from([*CAPABILITIES, "x"])), st.lists(st.sampled_from(CAPABILITIES)))
def test_negotiating_twice_changes_nothing(offered: list[str], ours: list[str]) -> None:
    once = negotiate(offered, ours)
    assert negotiate(once, ours) == once
    assert set(once) <= set(offered) & set(ours)


_ANY_MESSAGE = st.sampled_from(
    [cls() for cls in CLASSIC + NATIVE] + [AuthResp(error="no"), AuthResp(caps=CAPABILITIES)]
)


@given(st.lists(_ANY_MESSAGE, max_size=12), st.booleans())
def test_any_story_is_taken_ignored_or_refused(story: list[Message], agent: bool) -> None:
    order = ControlOrder(Side.AGENT if agent else Side.SERVER)
    if agent:
        order.sent(Auth(caps=CAPABILITIES))
    for message in story:
        try:
            order.received(message)
        except WireError:
            break
    assert order.state in TABLE


def test_first_frames() -> None:
    assert link_kind(Auth()) is LinkKind.CONTROL
    assert link_kind(RegProxy()) is LinkKind.PROXY
    assert link_kind(RegLeg()) is LinkKind.LEG
    for cls in CLASSIC + NATIVE:
        if cls not in (Auth, RegProxy, RegLeg):
            with pytest.raises(WireError):
                link_kind(cls())


def test_heartbeats() -> None:
    assert heartbeat(Side.AGENT, ()) is CLASSIC_AGENT_HEARTBEAT
    assert heartbeat(Side.SERVER, ()) is CLASSIC_SERVER_HEARTBEAT
    assert heartbeat(Side.AGENT, ("close",)) is heartbeat(Side.SERVER, ("close",)) is NATIVE_HEARTBEAT


def test_repr_is_a_summary() -> None:
    order = ControlOrder(Side.AGENT)
    assert repr(order) == "<ControlOrder agent start caps=->"
    assert repr(Pair(("ticket",), ("ticket",)).server) == "<ControlOrder server open caps=ticket>"
