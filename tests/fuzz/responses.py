"""Response heads against h11, as `heads`. `python -m tests.fuzz.responses --seconds 60`."""

from __future__ import annotations

import sys

from protocol.head import parse_response
from tests.fuzz.loop import Mutator, run
from tests.kit.agreement import response_agrees
from tests.kit.hostile_heads import REFUSED_RESPONSES, STRANGE_RESPONSES, answer
from tests.kit.http_strategies import FIELDS, STATUS_LINES

CLOSE = b"Connection: close\r\n"


def check(mutator: Mutator, raw: bytes) -> str:
    method = mutator.random.choice((b"GET", b"GET", b"HEAD"))
    ours = response_agrees(raw, method)
    if ours is None:
        return "refused"
    again = response_agrees(ours.forward(CLOSE if ours.upgrade is None else b""), method)
    assert again is not None, "what is forwarded is not a head"
    assert (again.status, again.length, again.upgrade) == (ours.status, ours.length, ours.upgrade)
    slow = parse_response(ours.forward(b"", frozenset({b"x-nothing"})), method=method, upgrade=b"websocket")
    quick = parse_response(ours.forward(b""), method=method, upgrade=b"websocket")
    names = [[name.lower() for name, _ in head.fields] for head in (slow, quick)]
    assert names[0] == names[1], "the quick and the longer way differ"
    return "accepted"


def originals() -> list[bytes]:
    table = [raw for raw, _ in STRANGE_RESPONSES.values()] * 8 + list(REFUSED_RESPONSES.values())
    table += [answer(first=line) for line in STATUS_LINES]
    table += [answer(a, b) for a, b in zip(FIELDS, FIELDS[7:] + FIELDS[:7], strict=True)]
    table += [answer(b"Connection: upgrade", b"Upgrade: websocket", first=b"HTTP/1.1 101 S")]
    return [raw for raw in table if len(raw) < 2000]


if __name__ == "__main__":
    sys.exit(run("responses", originals(), check))
