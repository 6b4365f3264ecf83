"""A request as something to paste elsewhere: curl, an HTTP file, Python with httpx. Pure.

Quoted so that no byte of the visitor's becomes a command; secrets masked unless asked for. `base` is the public URL.
"""

from __future__ import annotations

import shlex
from typing import Final

from ngrokc.inspect.heads import Fields
from ngrokc.inspect.mask import mask_fields, mask_target
from ngrokc.inspect.model import Exchange

BODY_CAP: Final = 256 * 1024
HOP: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"connection", b"keep-alive", b"upgrade"})
EDGE: Final = (b"x-forwarded-", b"forwarded", b"x-request-id")


def copy(exchange: Exchange, kind: str, *, reveal: bool, body: bytes) -> str:
    """`kind`: curl, http or python. Raises KeyError for another."""
    makers = {"curl": _curl, "http": _http, "python": _python}
    fields = exchange.request.fields if reveal else mask_fields(exchange.request.fields)
    target = exchange.request.start[1] if reveal else mask_target(exchange.request.start[1])
    url = exchange.origin.url.rstrip("/") + (_text(target) if target.startswith(b"/") else "/")
    kept = [(n, v) for n, v in fields if n.lower() not in HOP and not n.lower().startswith(EDGE)]
    return makers[kind](exchange.method, url, kept, body[:BODY_CAP])


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _curl(method: str, url: str, fields: Fields, body: bytes) -> str:
    parts = ["curl", "-i", "-g"]
    if method == "HEAD":
        parts.append("--head")
    elif method != ("POST" if body else "GET"):
        parts += ["-X", _quote(method)]
    lines = [" ".join([*parts, _quote(url)])]
    lines += [
        f"-H {_quote(f'{_text(name)}: {_text(value)}' if value else f'{_text(name)};')}" for name, value in fields
    ]
    if not body:
        return " \\\n  ".join(lines)
    text = _shell_text(body)
    if text is None:
        return f"printf '{_octal(body)}' | " + " \\\n  ".join([*lines, "--data-binary @-"])
    return " \\\n  ".join([*lines, f"--data-binary {_quote(text)}"])


def _shell_text(body: bytes) -> str | None:
    """The body as an argument, or None for what can't be one: no text, NUL, or a leading @, which names a file."""
    if body.startswith(b"@") or b"\0" in body:
        return None
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None


def _quote(text: str) -> str:
    """For a POSIX shell; control bytes stay as they are within single quotes, which is what a shell wants."""
    return shlex.quote(text.replace("\0", ""))


def _octal(data: bytes) -> str:
    """For printf."""
    return "".join(chr(b) if 48 <= b < 58 or 65 <= b < 91 or 97 <= b < 123 else f"\\{b:03o}" for b in data)


def _http(method: str, url: str, fields: Fields, body: bytes) -> str:
    lines = [f"{method} {url} HTTP/1.1", *(f"{_text(name)}: {_text(value)}" for name, value in fields), ""]
    return "\n".join(lines) + "\n" + body.decode("utf-8", "replace")


def _python(method: str, url: str, fields: Fields, body: bytes) -> str:
    pairs = "".join(f"        ({_text(name)!r}, {_text(value)!r}),\n" for name, value in fields)
    lines = ["import httpx", "", "answer = httpx.request(", f"    {method!r},", f"    {url!r},"]
    if pairs:
        lines += ["    headers=[", pairs.rstrip("\n"), "    ],"]
    if body:
        lines.append(f"    content={body!r},")
    return "\n".join([*lines, ")", "print(answer.status_code, answer.text)", ""])
