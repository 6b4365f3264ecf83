"""Faults carry facts, print one sentence, and the children keep their extra facts."""

from __future__ import annotations

import pytest

from protocol.errors import Blame, ConfigError, Fault, HttpError, LinkError, RefusedError, WireError


def test_a_fault_says_its_message_and_keeps_its_facts() -> None:
    fault = Fault("agent_silent", "the agent did not answer", blame=Blame.AGENT, hint="look at its log", retry=True)
    assert str(fault) == fault.message == "the agent did not answer"
    assert (fault.code, fault.blame, fault.hint, fault.retry) == (
        "agent_silent",
        Blame.AGENT,
        "look at its log",
        True,
    )
    assert repr(fault) == "<Fault agent_silent (agent): 'the agent did not answer'>"


def test_without_a_message_the_code_stands_for_it() -> None:
    assert str(Fault("agent_silent")) == "agent silent"


@pytest.mark.parametrize(
    ("fault", "blame", "retry"),
    [
        (WireError("bad_json"), Blame.AGENT, False),
        (HttpError(400, "bad_head"), Blame.VISITOR, False),
        (ConfigError("no such key"), Blame.OPERATOR, False),
        (LinkError("lost"), Blame.SERVER, True),
        (RefusedError("bad_token"), Blame.OPERATOR, False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Fault) else "",
)
def test_each_child_has_the_blame_that_is_usual_for_it(fault: Fault, blame: Blame, retry: bool) -> None:
    assert isinstance(fault, Fault)
    assert (fault.blame, fault.retry) == (blame, retry)


def test_http_errors_carry_a_status() -> None:
    fault = HttpError(431, "head_too_big", blame=Blame.UPSTREAM)
    assert (fault.status, fault.blame) == (431, Blame.UPSTREAM)


@pytest.mark.parametrize(
    ("error", "place"),
    [
        (ConfigError("x", file="debug.yml", line=3, column=5), "debug.yml:3:5"),
        (ConfigError("x", file="debug.yml"), "debug.yml"),
        (ConfigError("x", line=3), "3"),
        (ConfigError("x"), ""),
    ],
)
def test_config_errors_say_where(error: ConfigError, place: str) -> None:
    assert error.place == place
    assert error.code == "bad_config"
