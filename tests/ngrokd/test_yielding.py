"""Who gives way, and what the other is told."""

from __future__ import annotations

from typing import cast

import pytest

from ngrokd.opener import Links
from ngrokd.session import AgentInfo, Identity, Session, SessionKey
from ngrokd.tunnel import Tunnel
from ngrokd.yielding import Conflicts, tell_evicted
from protocol.errors import Fault
from protocol.messages import Message, TunnelClosed


class Control:
    def __init__(self) -> None:
        self.said: list[Message] = []
        self.ended = ""

    def send(self, message: Message) -> None:
        self.said.append(message)

    def end(self, reason: str) -> None:
        self.ended = reason


def session(client: str, account: str = "", caps: tuple[str, ...] = ("close",)) -> tuple[Session, Control]:
    control = Control()
    identity = Identity(SessionKey(client, 1), "s", account=account)
    return Session(identity, AgentInfo(), frozenset(caps), control, cast(Links, None)), control


def tunnel(of: Session) -> Tunnel:
    return Tunnel("t1", "http://shop.me", "http", "shop.me", 0, of, None)


@pytest.mark.parametrize(
    ("wish", "asker", "owner", "words"),
    [
        ("fail", "alice", "alice", "in use by another session of this token"),
        ("random", "alice", "alice", "in use by another session of this token"),
        ("takeover", "alice", "bob", "is taken by another token"),
        ("takeover", "alice", "", "is taken by another token"),
        ("takeover", "", "alice", "is taken by another token"),
        ("takeover", "", "", "is already registered by another agent"),
        ("takeover", "alice", "alice", None),
    ],
)
def test_rules(wish: str, asker: str, owner: str, words: str | None) -> None:
    conflicts = Conflicts(session("a", asker)[0], wish)
    other = tunnel(session("b", owner)[0])
    if words is None:
        conflicts.check(other, "http://shop.me")
        return
    with pytest.raises(Fault, match=words) as caught:
        conflicts.check(other, "http://shop.me")
    assert caught.value.code == "name_taken"
    assert caught.value.hint
    assert conflicts.settles(caught.value) == (wish == "random")


def test_a_session_does_not_evict_itself() -> None:
    mine = session("a", "alice")[0]
    with pytest.raises(Fault, match="a tunnel of this session already"):
        Conflicts(mine, "takeover").check(tunnel(mine), "http://shop.me")


def test_a_native_agent_is_told_and_stays() -> None:
    old, control = session("a", "alice")
    tell_evicted(tunnel(old))
    (message,) = control.said
    assert isinstance(message, TunnelClosed)
    assert (message.tunnel_id, message.code) == ("t1", "taken_over")
    assert not control.ended


def test_a_classic_agent_is_sent_away() -> None:
    old, control = session("a", "alice", caps=())
    tell_evicted(tunnel(old))
    assert not control.said
    assert control.ended
