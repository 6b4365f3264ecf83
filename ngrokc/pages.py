"""The answer that the agent writes itself, when a 1.7 server has no better one: a small, complete HTTP/1.1 response.

Names the public URL, never the private address, and repeats nothing of the request. Pure.
"""

from __future__ import annotations

import html
from email.utils import formatdate

# code -> status, reason, sentence
_PAGES = {
    "upstream_timeout": (
        504,
        "Gateway Timeout",
        "The service behind this tunnel did not accept the connection in time.",
    ),
    "denied": (403, "Forbidden", "This tunnel does not accept visitors from your address."),
}
_DEFAULT = (502, "Bad Gateway", "The tunnel works, but nothing answers behind it.")

_BODY = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta name="color-scheme" content="light dark"><title>{status} {reason}</title>
<style>body{{font:1.1rem/1.5 system-ui,sans-serif;max-width:36rem;margin:12vh auto;padding:0 1rem}}</style></head>
<body><h1>{status} {reason}</h1><p>{sentence}</p><p>Tunnel: <b>{url}</b></p><p><small>{code}</small></p></body></html>
"""


def error_page(code: str, url: str, *, head_only: bool = False, now: float | None = None) -> bytes:
    """The response for a failed visitor connection; the connection is to be closed after it."""
    status, reason, sentence = _PAGES.get(code, _DEFAULT)
    body = _BODY.format(
        status=status, reason=reason, sentence=sentence, url=html.escape(url, quote=True), code=html.escape(code)
    ).encode()
    head = (
        f"HTTP/1.1 {status} {reason}\r\n"
        f"Date: {formatdate(now, usegmt=True)}\r\n"
        "Content-Type: text/html; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Cache-Control: no-store\r\n"
        f"Ngrok-Error-Code: {code}\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Connection: close\r\n\r\n"
    )
    return head.encode("ascii") + (b"" if head_only else body)
