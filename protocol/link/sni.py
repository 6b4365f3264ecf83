"""The name a TLS client asks for (SNI, RFC 6066 section 3): remembered for the server, which may choose a certificate by it.

Knows nothing of where certificates come from.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable

Choose = Callable[[str], ssl.SSLContext | None]


class NamedTls(ssl.SSLObject):
    """A server's TLS object that remembers: `sni` is None when no name was sent. `choose`, when set, gives the context
    (and so the certificate) for a name, None for the usual one; it must not block."""

    sni: str | None = None
    choose: Choose | None = None


def notice_names(context: ssl.SSLContext) -> ssl.SSLContext:
    """Make a server's context remember the names; the same context."""
    context.sslobject_class = NamedTls
    context.sni_callback = _named
    return context


def _named(tls: ssl.SSLObject | ssl.SSLSocket, name: str | None, _: ssl.SSLContext) -> int | None:
    if isinstance(tls, NamedTls) and name:
        tls.sni = name.lower().removesuffix(".")
        other = tls.choose(tls.sni) if tls.choose is not None else None
        if other is not None:
            tls.context = other
    return None  # a name that nobody knows gets the usual certificate: its visitor reads who we are
