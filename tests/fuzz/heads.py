"""Request heads against h11: nothing it refuses is accepted, nothing is seen otherwise, and what is forwarded is the same
request again. `python -m tests.fuzz.heads --seconds 60`."""

from __future__ import annotations

import sys

from protocol.errors import HttpError
from protocol.head import head_end, parse_request
from tests.fuzz.loop import Mutator, run
from tests.kit.agreement import request_agrees
from tests.kit.hostile_heads import REFUSED_REQUESTS, STRANGE_REQUESTS
from tests.kit.http_strategies import FIELDS, REQUEST_LINES

ADDED = b"X-Forwarded-For: 192.0.2.1\r\n"


def check(mutator: Mutator, raw: bytes) -> str:
    found = _in_pieces(mutator, raw)
    ours = request_agrees(raw)
    if ours is None:
        return "refused"
    assert found in (None, len(raw)), "head_end disagrees with parse_request"
    again = request_agrees(ours.forward(ADDED))
    assert again is not None, "what is forwarded is not a head"
    assert (again.method, again.target, again.host) == (ours.method, ours.target, ours.host)
    assert (again.length, again.authorization, again.upgrade) == (ours.length, ours.authorization, ours.upgrade)
    names = [name.lower() for name, _ in again.fields]
    assert names.count(b"host") == (1 if ours.host else 0)
    assert names.count(b"x-forwarded-for") == 1
    slow = parse_request(ours.forward(ADDED, frozenset({b"x-nothing"})))
    assert [n for n, _ in slow.fields] == [n for n, _ in again.fields], "the quick and the longer way differ"
    return "accepted"


def _in_pieces(mutator: Mutator, raw: bytes) -> int | None:
    """The end that is found when the bytes come in pieces; None when they are refused on the way."""
    seen, end = 0, -1
    try:
        for cut in [*mutator.cuts(len(raw)), len(raw)]:
            end = head_end(raw[:cut], 0, seen)
            if end >= 0:
                break
            seen = cut
    except HttpError:
        return None
    return end


def originals() -> list[bytes]:
    table = [raw for raw, _ in STRANGE_REQUESTS.values()] * 8 + [raw for _, raw in REFUSED_REQUESTS.values()]
    table += [line + b"\r\nHost: a.test\r\n\r\n" for line in REQUEST_LINES]
    good = [field for field in FIELDS if not field.lower().startswith(b"host")]
    table += [b"GET / HTTP/1.1\r\nHost: a.test\r\n" + field + b"\r\n\r\n" for field in good] * 4
    pairs = zip(good, good[7:] + good[:7], strict=True)
    table += [b"POST / HTTP/1.1\r\n" + a + b"\r\nHost: a.test\r\n" + b + b"\r\n\r\n" for a, b in pairs]
    return [raw for raw in table if len(raw) < 2000]


if __name__ == "__main__":
    sys.exit(run("heads", originals(), check))
