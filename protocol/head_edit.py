"""What a request's and a response's head have in common: the bytes they were parsed from, their fields, being edited.

Knows nothing of what the two say; see `head_request` and `head_response`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Self

from protocol.fields import NOTHING, Fields, parse_fields


class Head(ABC):
    """A parsed head: all of `_raw`, whose fields begin at `_start`."""

    __slots__ = ("_fields", "_raw", "_start")

    _raw: bytes
    _start: int
    _fields: Fields | None

    @property
    def raw(self) -> bytes:
        """All of it, as it came."""
        return self._raw

    @property
    def fields(self) -> Fields:
        """Names and values in order and case, without the white space around the values."""
        if self._fields is None:
            self._fields = parse_fields(self._raw, self._start)
        return self._fields

    @abstractmethod
    def forward(self, added: bytes, drop: frozenset[bytes] = NOTHING) -> bytes:
        """The head as it is sent on: without the fields named in `drop` (lower case), with the whole lines of `added`."""


class Edited(Head):
    """A head with changes that it makes whenever it is forwarded. Mixed in before the class of the head, by a class with
    the slots `less` and `more`. `fields` shows what was received."""

    __slots__ = ()

    more: bytes
    less: frozenset[bytes]

    @classmethod
    def of(cls, head: Head, added: bytes, drop: frozenset[bytes]) -> Self:
        """`head` with `drop` and `added` as in `forward`, put before what is added there."""
        other = cls.__new__(cls)
        for kind in type(head).__mro__:
            for slot in getattr(kind, "__slots__", ()):
                setattr(other, slot, getattr(head, slot))
        if type(head) is cls:  # isinstance asks the metaclass, at several times the price
            added, drop = head.more + added, head.less | drop
        for slot, value in (("more", added), ("less", drop)):  # slots of the class that this one is mixed into
            setattr(other, slot, value)
        return other

    def forward(self, added: bytes, drop: frozenset[bytes] = NOTHING) -> bytes:
        return super().forward(self.more + added, self.less | drop)  # type: ignore[safe-super]  # a head's own is next
