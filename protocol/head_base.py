"""What a request's and a response's head have in common: the bytes they were parsed from, their fields, being edited.

Knows nothing of what the two say; see `head_request` and `head_response`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from protocol.fields import NOTHING, Fields, parse_fields


class Head(ABC):
    """A parsed head: all of `raw`, whose fields begin at `start`."""

    __slots__ = ("_fields", "_raw", "_start", "less", "more")

    def __init__(self, raw: bytes, start: int) -> None:
        self._raw = raw
        self._start = start
        self._fields: Fields | None = None
        self.more = b""
        """Edits: what is added whenever the head is forwarded, and `less`, what is left out."""
        self.less = NOTHING

    @property
    def raw(self) -> bytes:
        """All of it, as it came."""
        return self._raw

    @property
    def fields(self) -> Fields:
        """Names and values in order and case, without the white space around the values. Edits don't show here."""
        if self._fields is None:
            self._fields = parse_fields(self._raw, self._start)
        return self._fields

    def forward(self, added: bytes, drop: frozenset[bytes] = NOTHING) -> bytes:
        """The head as it is sent on: without hop-by-hop fields and those named in `drop` (lower case), with the whole lines
        of `added`, behind what it was edited by."""
        if self.more or self.less:
            return self._forward(self.more + added, self.less | drop)
        return self._forward(added, drop)

    def edited(self, added: bytes, drop: frozenset[bytes]) -> Self:
        """The same head with changes that it makes whenever it is forwarded: `drop` and `added` as in `forward`, put before
        what is added there. This one stays as it is. It is parsed again: that takes less than copying what was found."""
        other = self._again()
        other.more = self.more + added
        other.less = self.less | drop
        return other

    @abstractmethod
    def _forward(self, added: bytes, drop: frozenset[bytes]) -> bytes:
        """`forward`, the edits among its arguments."""

    @abstractmethod
    def _again(self) -> Self:
        """Another one, parsed from the same bytes."""
