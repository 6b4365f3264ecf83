"""Secrets and random identifiers: what proves a session, and names that nobody can guess.

All randomness comes from the operating system. Knows nothing of storage: `Secret.digest` is what a store may keep.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import NoReturn

MASK = "********"
TICKET_BYTES = 32  # 256 bits, written as 64 hex digits
CLIENT_ID_BYTES = 16  # as 1.7: 32 hex digits
REQUEST_ID_BYTES = 8  # as 1.7: 16 hex digits
_NAME_STARTS = "abcdefghijkmnpqrstuvwxyz"  # without l, 1, o, 0: names are read aloud and typed
_NAME_LETTERS = _NAME_STARTS + "23456789"  # 32 of them, 5 bits each
NAME_LENGTH = 17  # one start and 16 letters: more than 80 bits, too many to try


class Secret:
    """Text that never shows itself: printing, formatting and repr give a mask, comparing takes constant time.

    Takes a str; `reveal()` gives it back, for the one place that must write it to a link or a file. False when empty.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The text itself. Never pass it on to a log, an exception or a page."""
        return self._text

    def matches(self, other: Secret | str | None) -> bool:
        """Whether `other` is the same text, in constant time. An empty secret matches nothing, not even "": a proof
        that was never issued cannot be presented."""
        theirs = other.reveal() if isinstance(other, Secret) else other or ""
        return bool(self._text) and hmac.compare_digest(_raw(self._text), _raw(theirs))

    def digest(self) -> str:
        """SHA-256 in hex: the form in which a secret of full entropy may be stored."""
        return hashlib.sha256(_raw(self._text)).hexdigest()

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(_raw(self._text), _raw(other.reveal()))

    def __hash__(self) -> int:
        return hash(self._text)

    def __bool__(self) -> bool:
        return bool(self._text)

    def __str__(self) -> str:
        return MASK if self._text else ""

    def __repr__(self) -> str:
        return f"Secret({str(self)!r})"

    def __format__(self, spec: str) -> str:
        return format(str(self), spec)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")


def _raw(text: str) -> bytes:
    # Peers may send lone surrogates; comparing them must not fail.
    return text.encode("utf-8", "surrogatepass")


def new_ticket() -> Secret:
    """The secret of a session: 256 random bits as 64 hex digits."""
    return Secret(secrets.token_hex(TICKET_BYTES))


def new_client_id() -> str:
    """An id as 1.7 makes it: 128 random bits as 32 hex digits. In the classic dialect it is also what proves a session."""
    return secrets.token_hex(CLIENT_ID_BYTES)


def new_request_id() -> str:
    """The id that ties a NewTunnel to its ReqTunnel, also used for tunnels and connections: 16 hex digits."""
    return secrets.token_hex(REQUEST_ID_BYTES)


def random_name() -> str:
    """A public name that cannot be guessed: at least 80 random bits in 17 lower-case letters and digits. The first is a
    letter: a label of digits could look like part of an address."""
    rest = "".join(secrets.choice(_NAME_LETTERS) for _ in range(NAME_LENGTH - 1))
    return secrets.choice(_NAME_STARTS) + rest
