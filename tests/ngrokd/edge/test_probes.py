"""Every probe of the public suites at the edge, in one write and in any cut, towards agents of both dialects.

Refused: one answer with that status, then the end; no whole request, nothing smuggled, and not one byte when the fault was
there from the start. Passed: exactly these requests with exactly these bodies, the one behind them by itself.
"""

from __future__ import annotations

import itertools

import pytest

from tests.kit.exchanges import messages
from tests.kit.handedge import HandEdge
from tests.kit.http1 import parse_head
from tests.kit.memory_port import MemoryPort
from tests.kit.probes import HOST, SMUGGLED, Probe, Request, probes

DIALECTS = {"native": frozenset({"ticket"}), "classic": frozenset[str]()}
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
BYTEWISE = 2000  # longer ones go in larger pieces


def requests_in(raw: bytes) -> list[Request]:
    """The whole requests that stand in what a service received; bodies without their chunks."""
    found = []
    for message in messages(raw, None)[0]:
        head = parse_head(b"\r\n".join([message.start, *(name + b":" + value for name, value in message.fields)]))
        found.append((head.method, head.target, _unchunked(message.body) if head.chunked else message.body))
    return found


def _unchunked(raw: bytes) -> bytes:
    data, at = b"", 0
    while True:
        end = raw.index(b"\r\n", at)
        size = int(raw[at:end].partition(b";")[0], 16)
        if not size:
            return data
        data += raw[end + 2 : end + 2 + size]
        at = end + size + 4


class Played:
    """One connection: the visitor sends `pieces`, services answer each whole request at once."""

    def __init__(self, pieces: list[bytes], caps: frozenset[str]) -> None:
        self.world = HandEdge([(HOST.decode(), caps)])
        self.visitor = self.world.visitor()
        self.received: list[bytes] = []
        for piece in pieces:
            self.world.send(self.visitor, piece)
            self._serve()
        self.ended = self.visitor.far.closed or self.visitor._ended  # closed, or lingering for a last look
        self.answer = bytes(self.visitor.incoming)
        self.resets = [stream._reset for stream in self.world.opener.streams]
        self.world.over()

    def _serve(self) -> None:
        """Until nobody asks any more: each answer may bring the next request."""
        while any(stream.incoming for stream in self.world.opener.streams):
            for number, stream in enumerate(self.world.opener.streams):
                self._answer(number, stream)

    def _answer(self, number: int, stream: MemoryPort) -> None:
        if number == len(self.received):
            self.received.append(b"")
        before = len(requests_in(self.received[number]))
        self.received[number] += bytes(stream.incoming)
        stream.incoming.clear()
        for message in messages(self.received[number], None)[0][before:]:
            expects = any(name.lower() == b"expect" for name, _ in message.fields)
            if not (stream.closed or stream.far.closed):
                stream.write((CONTINUE if expects else b"") + OK)
                self.world.reactor.settle()

    @property
    def requests(self) -> list[Request]:
        return [one for raw in self.received for one in requests_in(raw)]


def cuts(data: bytes) -> dict[str, list[bytes]]:
    """The ways in which a probe arrives: its meaning must not depend on them."""
    size = 1 if len(data) < BYTEWISE else 997
    head = data.find(b"\r\n\r\n") + 4
    edges = [0, *sorted({head, min(head + 1, len(data)), len(data)})]
    return {
        "whole": [data],
        "small": [data[at : at + size] for at in range(0, len(data), size)],
        "behind the head": [data[one:two] for one, two in itertools.pairwise(edges) if two > one],
    }


def complaints(probe: Probe, caps: frozenset[str]) -> list[str]:
    """What is wrong with how the edge takes `probe`, each a line."""
    found = []
    for cut, pieces in cuts(probe.data + SMUGGLED).items():
        played = Played(pieces, caps)
        wrong = _refusal(probe, played, cut) if isinstance(probe.verdict, int) else _passage(probe, played)
        found += [f"{probe.name} ({probe.section}), {cut}: {line}" for line in wrong]
    return found


def _refusal(probe: Probe, played: Played, cut: str) -> list[str]:
    assert isinstance(probe.verdict, int)
    found = []
    if not played.answer.startswith(b"HTTP/1.1 %d " % probe.verdict) or played.answer.count(b"HTTP/1.1 ") != 1:
        found.append(f"wanted {probe.verdict}, got {played.answer[:100]!r}")
    if not played.ended:
        found.append("the connection goes on")
    if played.requests or any(b"smuggled" in raw for raw in played.received):
        found.append(f"reached a service: {played.received}")
    if cut == "whole" and any(played.received):
        found.append(f"bytes reached a service: {played.received}")
    if not all(played.resets):
        found.append("a service may take what it got for complete")
    return found


def _passage(probe: Probe, played: Played) -> list[str]:
    assert isinstance(probe.verdict, tuple)
    wanted = [*probe.verdict, (b"GET", b"/smuggled", b"")]
    found = []
    if played.requests != wanted:
        found.append(f"wanted {wanted}, the service saw {played.requests}; answer {played.answer[:100]!r}")
    if played.answer.count(b"HTTP/1.1 200 ") != len(wanted):
        found.append(f"the visitor got {played.answer!r}")
    if any(b"HTTP2-Settings" in raw or b"h2c" in raw for raw in played.received):
        found.append("HTTP/2 in the clear was offered to a service")
    return found


def test_the_table_is_long_enough_and_names_its_sources() -> None:
    table = probes()
    assert len({probe.name for probe in table}) == len(table) >= 350
    assert all(probe.section.startswith("RFC ") for probe in table)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_each_probe_has_its_one_verdict(dialect: str) -> None:
    found = [line for probe in probes() for line in complaints(probe, DIALECTS[dialect])]
    assert not found, f"{len(found)} wrong:\n" + "\n".join(found)
