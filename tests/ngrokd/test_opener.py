"""The two faults every opener gives."""

from __future__ import annotations

from ngrokd.opener import agent_gone, agent_silent
from protocol.errors import Blame


def test_both_blame_the_agent_and_may_be_tried_again() -> None:
    for fault, code in ((agent_silent(), "agent_silent"), (agent_gone(), "agent_gone")):
        assert (fault.code, fault.blame, fault.retry) == (code, Blame.AGENT, True)
