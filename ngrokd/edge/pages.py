"""What a visitor is sent instead of an answer: one complete response for each code.

HTML for browsers, JSON or one plain line for programs, by Accept. The only thing of a request that has any say is which of
the three it wants; the request id is ours. All but the id is put together once, when the templates are read.
Knows nothing of why a request failed.
"""

from __future__ import annotations

import html
import json
import string
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ngrokd.edge.codes import CODES, Code, public
from protocol.errors import ConfigError

if TYPE_CHECKING:
    from protocol.head import RequestHead

TEMPLATE_CAP: Final = 256 * 1024  # of an operator's template; each page is kept ready in memory
ACCEPT_CAP: Final = 1024  # bytes of an Accept field that are looked at
ACCEPT_MAX: Final = 20  # members of it; browsers send about eight
PLACES: Final = frozenset({"status", "title", "text", "hint", "code", "request_id"})

_HTML, _JSON, _PLAIN = b"text/html; charset=utf-8", b"application/json", b"text/plain; charset=utf-8"
_KINDS: Final = {
    b"text/html": _HTML,
    b"application/xhtml+xml": _HTML,
    b"application/json": _JSON,
    b"application/problem+json": _JSON,
    b"text/plain": _PLAIN,
    b"text/*": _PLAIN,
    b"*/*": _PLAIN,
}
_MARK: Final = "request-id-goes-here"  # within the finished text, for the id of each request


@dataclass(frozen=True, slots=True)
class _Page:
    """One code in one form: the parts of the body between the places where the request id goes."""

    head: bytes  # up to the length, whole lines
    parts: tuple[bytes, ...]
    retry_after: bytes


class Pages:
    """All pages. `directory`: an operator's own templates, `page.html` for all codes and `CODE.html` for one of them; the
    words `$status $title $text $hint $code $request_id` are replaced. Reading them raises ConfigError with file and hint.
    """

    def __init__(self, directory: Path | None = None, *, clock: Callable[[], str] | None = None) -> None:
        self._date = clock if clock is not None else _http_date
        self._pages: dict[tuple[str, bytes], _Page] = {}
        common = _read(directory, "page.html")
        ours = common is None
        if common is None:
            common = string.Template(resources.files("assets").joinpath("errors/page.html").read_text("utf-8"))
        for row in CODES.values():
            own = _read(directory, f"{row.code}.html")
            page = _fill(own if own is not None else common, row)
            self._add(row, _HTML, page, strict=ours and own is None)
            self._add(row, _JSON, _json(row), strict=True)
            self._add(row, _PLAIN, f"{row.title} ({row.code}, request {_MARK})\n", strict=True)

    def _add(self, row: Code, kind: bytes, text: str, *, strict: bool) -> None:
        head = b"HTTP/1.1 %d %b\r\n" % (row.status, (row.reason or row.title).encode("ascii"))
        head += b"Content-Type: %b\r\nNgrok-Error-Code: %b\r\n" % (kind, row.code.encode("ascii"))
        head += b"Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
        if strict:  # an operator's page may load what it likes
            head += b"Content-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; "
            head += b"form-action 'none'; frame-ancestors 'none'\r\n"
        retry = row.fields if row.fields.startswith(b"Retry-After") else b""
        head += b"" if retry else row.fields
        self._pages[row.code, kind] = _Page(head, tuple(text.encode().split(_MARK.encode())), retry)

    def texts(self) -> object:
        """Something to compare: equal when all pages are."""
        return self._pages

    def render(self, code: str, request_id: str, request: RequestHead | None = None, fields: bytes = b"") -> bytes:
        """The whole response for `code` (any code: unknown ones are made public ones). The connection is closed after it.

        `request`: None when its head was not understood. `fields`: header lines of this answer alone, such as Location; a
        Retry-After in them stands for the table's own.
        """
        accept = None if request is None else _accept(request)
        page = self._pages[public(code).code, wanted(accept)]
        body = request_id.encode("ascii", "replace").join(page.parts)
        if b"Retry-After:" not in fields:
            fields += page.retry_after
        head = b"%bDate: %b\r\nContent-Length: %d\r\n%bConnection: close\r\n\r\n" % (
            page.head, self._date().encode("ascii"), len(body), fields,
        )  # fmt: skip
        return head if request is not None and request.method == b"HEAD" else head + body


def wanted(accept: bytes | None) -> bytes:
    """The content type for a visitor that accepts this (RFC 9110, 12.5.1): the one with the highest weight, the first of
    several. Who asks for nothing in particular (curl: `*/*`) gets a line of text."""
    best, weight = _PLAIN, 0.0
    for member in (accept or b"")[:ACCEPT_CAP].lower().split(b",")[:ACCEPT_MAX]:
        media, *parameters = member.replace(b" ", b"").replace(b"\t", b"").split(b";")
        kind = _KINDS.get(media)
        if kind is not None and (here := _weight(parameters)) > weight:
            best, weight = kind, here
    return best


def _weight(parameters: list[bytes]) -> float:
    for parameter in parameters:
        name, _, value = parameter.partition(b"=")
        if name == b"q":
            digits = value.replace(b".", b"", 1)
            return float(value) if digits.isdigit() and len(value) <= 5 else 0.0
    return 1.0


def _accept(request: RequestHead) -> bytes | None:
    for name, value in request.fields:
        if name.lower() == b"accept":
            return value
    return None


def _http_date() -> str:
    return formatdate(usegmt=True)


def _json(row: Code) -> str:
    values = {"code": row.code, "status": row.status, "message": row.text, "hint": row.hint, "request_id": _MARK}
    return json.dumps({"error": row.title, **values}) + "\n"


def _fill(template: string.Template, row: Code) -> str:
    words = {"status": str(row.status), "title": row.title, "text": row.text, "hint": row.hint, "code": row.code}
    return template.substitute({name: html.escape(word) for name, word in words.items()}, request_id=_MARK)


def _read(directory: Path | None, name: str) -> string.Template | None:
    """An operator's template, None where there is none."""
    if directory is None:
        return None
    path = directory / name
    try:
        with path.open("rb") as file:
            data = file.read(TEMPLATE_CAP + 1)
        text = data.decode("utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the error page cannot be read: {error}", file=str(path)) from error
    if len(data) > TEMPLATE_CAP:
        raise ConfigError(f"the error page is larger than {TEMPLATE_CAP // 1024} KiB", file=str(path))
    template = string.Template(text)
    unknown = set(template.get_identifiers()) - PLACES
    if unknown or not template.is_valid():
        raise ConfigError(
            "the error page has a $ that stands for nothing" if not unknown else f"unknown word ${min(unknown)}",
            file=str(path),
            hint="known are " + " ".join(f"${place}" for place in sorted(PLACES)) + "; write $$ for a plain $",
        )
    return template
