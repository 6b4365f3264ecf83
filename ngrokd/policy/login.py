"""HTTP basic authentication of visitors (RFC 7617), and the brake on guessing.

The credentials are kept as digests and compared in constant time, as a whole, so that neither a user's existence nor a
length can be measured. Failures count by source; a visitor that sends none at all fails nothing.
Knows no clock of its own: it is given one.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import math
from collections.abc import Callable, Hashable
from typing import Final

CREDENTIALS_CAP: Final = 4096  # bytes of an Authorization value that is worth decoding
BURST: Final = 10  # wrong passwords in a row: more than a person's typing errors
REFILL: Final = 6.0  # seconds for each further one: 10 a minute, 14 400 a day
SOURCES_MAX: Final = 4096  # remembered at a time, the longest unseen goes first; about 1 MiB


class Throttle:
    """A bucket of BURST failures for each source, refilled by one every REFILL seconds. `clock` gives seconds."""

    __slots__ = ("_buckets", "_clock")

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._buckets: dict[Hashable, tuple[float, float]] = {}  # source -> failures left, when

    def wait(self, source: Hashable) -> int:
        """Whole seconds until this source may try again, 0 if now."""
        left = self._left(source)
        return 0 if left >= 1 else math.ceil((1 - left) * REFILL)

    def failed(self, source: Hashable) -> None:
        """Count one failure."""
        left = self._left(source)
        self._buckets.pop(source, None)  # to the end: dicts keep the order of insertion
        self._buckets[source] = (left - 1, self._clock())
        if len(self._buckets) > SOURCES_MAX:
            del self._buckets[next(iter(self._buckets))]

    def _left(self, source: Hashable) -> float:
        left, then = self._buckets.get(source, (float(BURST), 0.0))
        return min(float(BURST), left + max(0.0, self._clock() - then) / REFILL)

    def __len__(self) -> int:
        return len(self._buckets)


class BasicLogin:
    """One pair `user:password`, as text. Either encoding that browsers use for it is taken."""

    __slots__ = ("_digests",)

    def __init__(self, credentials: str) -> None:
        spellings = {credentials.encode("utf-8", "surrogatepass"), credentials.encode("latin-1", "replace")}
        self._digests = [hashlib.sha256(spelling).digest() for spelling in sorted(spellings)]

    def matches(self, authorization: bytes) -> bool:
        """Whether this value of an Authorization field is the pair. Anything malformed is not."""
        digest = hashlib.sha256(_decoded(authorization)).digest()
        found = False
        for expected in self._digests:
            found |= hmac.compare_digest(digest, expected)
        return found

    def __repr__(self) -> str:
        return "<BasicLogin>"


def _decoded(authorization: bytes) -> bytes:
    scheme, _, encoded = authorization.partition(b" ")
    if scheme.lower() != b"basic" or len(encoded) > CREDENTIALS_CAP:
        return b""
    try:
        return binascii.a2b_base64(encoded.strip(b" "), strict_mode=True)
    except binascii.Error:
        return b""
