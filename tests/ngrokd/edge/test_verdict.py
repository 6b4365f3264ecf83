"""Verdicts: whole, byte by byte, with bytes behind; anything else is the agent's fault."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngrokd.edge.verdict import take_verdict
from protocol.errors import WireError
from protocol.frames import FIRST_FRAME_CAP, frame
from protocol.messages import Pong, StartProxyResp

VERDICTS = st.builds(StartProxyResp, st.sampled_from(["", "upstream_refused"]), st.text(max_size=20))


@given(VERDICTS, st.binary(max_size=20))
def test_a_verdict_is_taken_off_when_it_is_whole(verdict: StartProxyResp, behind: bytes) -> None:
    data = frame(verdict)
    for end in range(len(data)):
        assert take_verdict(data[:end]) is None
    assert take_verdict(data + behind) == (verdict, behind)


def test_the_usual_one_need_not_be_decoded() -> None:
    assert take_verdict(frame(StartProxyResp()) + b"HTTP/1.1") == (StartProxyResp(), b"HTTP/1.1")


@pytest.mark.parametrize(
    "data", [frame(Pong()), b"\xff" * 8, (FIRST_FRAME_CAP + 1).to_bytes(8, "little"), b"HTTP/1.1 200 OK\r\n\r\n"]
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(WireError):
        take_verdict(data)
