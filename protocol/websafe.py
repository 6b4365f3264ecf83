"""May a browser's request have come from our own page? Pure checks for pages that listen on loopback, for both programs.

Loopback proves nothing: any page in the user's browser can send requests there, a name can be rebound to it, and a tunnel
can end there. So the Host must be one of ours, nothing may have come through a proxy, and what changes state must come from
our own origin.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from protocol.address import format_address

FORWARDED: Final = ("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "forwarded", "via", "x-real-ip")
SAFE_METHODS: Final = ("GET", "HEAD")

SECURITY_HEADERS: Final[Mapping[str, str]] = MappingProxyType({
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri "
        "'none'; form-action 'self'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), clipboard-read=()",
    "cache-control": "no-store",
})  # fmt: skip


def allowed_hosts(host: str, port: int, more: Iterable[str] = ()) -> frozenset[str]:
    """The spellings of Host under which a page on `host` and `port` may be asked for; lower case. `host` is the listener's
    own address; "" or an unspecified one adds nothing."""
    names = {"localhost", "127.0.0.1", "::1"}
    if host and host not in ("0.0.0.0", "::"):  # noqa: S104 - compared, not bound
        names.add(host.lower())
    found = {format_address(name, port) for name in names} | {name.lower() for name in more}
    return frozenset(found | ({name.rpartition(":")[0] for name in found} if port == 80 else set()))


def came_through_proxy(headers: Iterable[str]) -> bool:
    """Whether a proxy or tunnel left its mark; `headers` are the request's field names, lower case."""
    return any(name in FORWARDED for name in headers)


def from_own_page(headers: Mapping[str, str], host: str, *, navigation: bool = False) -> bool:
    """Whether a request that names `host` was not made by a page of another site: by Origin, and by fetch metadata where
    the browser sends them. `navigation`: a link from elsewhere may open this one (strict cookies don't come along)."""
    origin = headers.get("origin")
    if origin is not None and origin.lower() != f"http://{host}":
        return False
    site = headers.get("sec-fetch-site", "none")
    if site in ("same-origin", "none"):
        return True
    return navigation and headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"


def is_json(content_type: str) -> bool:
    """A body that no form of another site can send without asking."""
    return content_type.partition(";")[0].strip().lower() == "application/json"
