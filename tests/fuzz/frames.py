"""Frames and messages: whatever comes is a message, a wait for more, or a WireError; the same however it is cut, and what was
read is written and read again as the same. `python -m tests.fuzz.frames --seconds 60`."""

from __future__ import annotations

import itertools
import struct
import sys

from protocol.errors import WireError
from protocol.frames import FIRST_FRAME_CAP, FrameDecoder, frame
from protocol.messages import (
    Auth,
    AuthResp,
    GoAway,
    Message,
    NewTunnel,
    Notice,
    Ping,
    Pong,
    RegLeg,
    RegProxy,
    ReqProxy,
    ReqTunnel,
    StartProxy,
    StartProxyResp,
)
from tests.fuzz.loop import Mutator, run

ID = "0123456789abcdef0123456789abcdef"
Found = tuple[list[Message], str | None]


def check(mutator: Mutator, raw: bytes) -> str:
    if mutator.random.random() < 0.5 and len(raw) > 8:  # a length that fits again, so that the JSON is what is wrong
        raw = struct.pack("<Q", len(raw) - 8) + raw[8:]
    messages, code = _decode([raw])
    for cuts in (mutator.cuts(len(raw)), list(range(len(raw)))):
        pieces = [raw[begin:end] for begin, end in itertools.pairwise([0, *cuts, len(raw)])]
        assert _decode(pieces) == (messages, code), "cut otherwise, seen otherwise"
    for message in messages:
        assert _decode([frame(message)]) == ([message], None), "written again, another message"
    return "refused" if code else "messages" if messages else "unfinished"


def _decode(pieces: list[bytes]) -> Found:
    decoder = FrameDecoder(FIRST_FRAME_CAP)
    found: list[Message] = []
    try:
        for piece in pieces:
            decoder.feed(piece)
            while (message := decoder.next()) is not None:
                found.append(message)
    except WireError as error:
        return found, error.code
    return found, None


def originals() -> list[bytes]:
    messages: list[Message] = [
        *(Ping(), Pong(), ReqProxy(), RegProxy(ID), AuthResp(client_id=ID), Auth(os="linux", arch="amd64")),
        ReqTunnel("0011223344556677", "http+https", subdomain="test"),
        NewTunnel("0011223344556677", "http://test.ngrok.me", "http"),
        *(StartProxy("http://x", "1.2.3.4:5"), StartProxyResp(), GoAway(30, "bye"), Notice("limit_reached", "full")),
        RegLeg(client_id=ID),
    ]
    frames = [frame(message) for message in messages]
    odd = [
        b"{}",
        b"[]",
        b'{"Type":"Ping"}',
        b'{"Type":"Ping","Payload":null}',
        b"[" * 40 + b"]" * 40,
        b'{"Type":1e999}',
        b'"\\ud800"',
    ]
    sizes = [struct.pack("<Q", size) for size in (0, 1, 1 << 14, (1 << 14) + 1, 1 << 63, (1 << 64) - 1)]
    return (
        frames
        + [struct.pack("<Q", len(body)) + body for body in odd]
        + sizes
        + [a + b for a, b in itertools.pairwise(frames)]
    )


if __name__ == "__main__":
    sys.exit(run("frames", originals(), check))
