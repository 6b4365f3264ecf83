"""What a session knows: who may join it, and how it prints."""

from __future__ import annotations

from typing import cast

from ngrokd.opener import Links
from ngrokd.session import AgentInfo, ControlHandle, Identity, Session, SessionKey
from protocol.secret import Secret


def make(ticket: Secret | None = None, caps: frozenset[str] = frozenset()) -> Session:
    identity = Identity(SessionKey("0123456789abcdef", 7), "5e55", ticket)
    return Session(identity, AgentInfo(), caps, cast(ControlHandle, None), cast(Links, None))


def test_a_classic_session_is_joined_by_its_id() -> None:
    assert make().admits("0123456789abcdef", None)
    assert not make().admits("other", None)


def test_a_native_session_is_joined_by_its_ticket_alone() -> None:
    session = make(Secret("t" * 64), frozenset({"ticket"}))
    assert session.admits("0123456789abcdef", "t" * 64)
    assert not session.admits("0123456789abcdef", "u" * 64)
    assert not session.admits("0123456789abcdef", "")
    assert not session.admits("0123456789abcdef", None)
    assert not session.admits("other", "t" * 64)


def test_the_repr_shows_no_secret() -> None:
    session = make(Secret("t" * 64), frozenset({"ticket"}))
    assert repr(session) == "<Session 01234567#7 native tunnels=0>"
    assert "ttt" not in repr(session.identity)
    assert session.generation == 7
    assert session.id == "5e55"
