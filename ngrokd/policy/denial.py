"""The answer "no" as a value: expected, so not an exception."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Denial:
    """A request that is not let through. `code` is one of `ngrokd.edge.codes`; `fields` header lines of this answer alone
    (Location, Retry-After), each with its CRLF; `detail` is for logs."""

    code: str
    fields: bytes = b""
    detail: str = ""
