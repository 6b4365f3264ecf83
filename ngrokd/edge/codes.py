"""Every error that a visitor can be shown: code, status, and words that are the same whoever asks.

The words are fixed: nothing of the request gets into them, and they tell the public no more than it needs. What exactly
happened stands in the logs beside the request id that is on the page. `docs/errors.md` explains each code; a test compares.
Knows nothing of how a page looks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Code:
    """One row: `fields` are whole header lines that belong to the answer."""

    code: str
    status: int
    title: str
    text: str
    hint: str = ""
    fields: bytes = b""
    reason: str = ""  # the reason phrase, where the title isn't it


def _retry_after(seconds: int) -> bytes:
    return b"Retry-After: %d\r\n" % seconds


# 1.7's own words are kept findable: "Bad Request", "Authorization required", "Tunnel ... not found".
_TABLE: Final = (
    Code("bad_request", 400, "Bad Request", "The request was not valid HTTP, or could be read in more than one way."),
    Code(
        "unauthorized",
        401,
        "Authorization required",
        "This tunnel asks for a user name and a password.",
        "Reload the page and sign in with what the tunnel's owner gave you.",
        b'WWW-Authenticate: Basic realm="ngrok"\r\n',
        "Unauthorized",
    ),
    Code(
        "forbidden",
        403,
        "Forbidden",
        "This tunnel does not take requests from your address.",
        "Ask the tunnel's owner to allow it.",
    ),
    Code(
        "tunnel_not_found",
        404,
        "Tunnel not found",
        "There is no tunnel with this name here.",
        "Check the address for typing errors. If it is yours, see whether ngrokc is running.",
        reason="Not Found",
    ),
    Code(
        "request_timeout",
        408,
        "Request Timeout",
        "The request took too long to arrive.",
        "Try again, or use a faster connection.",
    ),
    Code("body_too_large", 413, "Content Too Large", "The request's body is larger than this server takes."),
    Code("uri_too_long", 414, "URI Too Long", "The address in the request is longer than this server takes."),
    Code(
        "expectation_failed", 417, "Expectation Failed", "The request expects something that this server does not know."
    ),
    Code(
        "misdirected",
        421,
        "Misdirected Request",
        "The request is for another name than the secure connection it came on.",
        "Open the page in a new window.",
    ),
    Code(
        "rate_limited",
        429,
        "Too Many Requests",
        "There were too many requests from your address.",
        "Wait a moment, then try again.",
        _retry_after(10),
    ),
    Code(
        "tunnel_rate_limited",
        429,
        "Too Many Requests",
        "This tunnel gets more requests than its owner's account allows.",
        "Wait a moment, then try again.",
        _retry_after(1),
    ),
    Code(
        "head_too_large",
        431,
        "Request Header Fields Too Large",
        "The request's headers are larger than this server takes.",
        "Deleting this site's cookies often helps.",
    ),
    Code("internal", 500, "Internal Server Error", "Something in this server went wrong.", "Try again in a moment."),
    Code("not_implemented", 501, "Not Implemented", "This server does not do what the request asks for."),
    Code(
        "upstream_refused",
        502,
        "Bad Gateway",
        "The tunnel works, but nothing answers behind it.",
        "If it is yours: is the service running on the port that ngrokc was given?",
    ),
    Code(
        "upstream_broke",
        502,
        "Bad Gateway",
        "The service behind the tunnel ended the connection before its answer was complete.",
        "Try again. If it is yours, look at the service's own log.",
    ),
    Code(
        "upstream_bad_response",
        502,
        "Bad Gateway",
        "The service behind the tunnel answered with something that is not valid HTTP.",
        "If it is yours: does the port speak HTTP, and not HTTPS or something else?",
    ),
    Code(
        "agent_offline",
        503,
        "Service Unavailable",
        "This tunnel is known, but its agent is not connected at the moment.",
        "Try again in a moment. If it is yours, start ngrokc.",
        _retry_after(10),
    ),
    Code(
        "overloaded",
        503,
        "Service Unavailable",
        "This server has more to do than it can.",
        "Try again in a moment.",
        _retry_after(5),
    ),
    Code(
        "limit_reached",
        503,
        "Service Unavailable",
        "This tunnel has reached one of its limits.",
        "Try again in a moment.",
        _retry_after(10),
    ),
    Code(
        "upstream_timeout",
        504,
        "Gateway Timeout",
        "The service behind the tunnel did not answer in time.",
        "Try again. If it is yours, see whether the service hangs.",
    ),
    Code(
        "agent_silent",
        504,
        "Gateway Timeout",
        "The tunnel's agent did not answer in time.",
        "Try again in a moment. If it is yours, look at ngrokc.",
    ),
    # Not an error: the answer of `redirect_https`. The Location field is the request's own.
    Code(
        "https_required",
        307,
        "Temporary Redirect",
        "This tunnel is served over HTTPS.",
        "Use the address that begins with https.",
    ),
)

CODES: Final = {row.code: row for row in _TABLE}

# What agents (StartProxyResp.Code) and our own parts report, in the public's coarser words. All that is not here is
# `upstream_refused`: the tunnel stands, but nothing came of the visit.
_PUBLIC: Final = {
    "upstream_unreachable": "upstream_refused",
    "upstream_tls": "upstream_refused",
    "refused": "upstream_refused",
    "dial_timeout": "upstream_timeout",
    "denied": "forbidden",
    "no_such_tunnel": "tunnel_not_found",
    "unknown_tunnel": "tunnel_not_found",
    "agent_gone": "agent_offline",
    "agent_closed": "agent_offline",
    "link_lost": "agent_silent",
    "leg_timeout": "agent_silent",
    "login_timeout": "agent_silent",
    "mux_full": "overloaded",
    "too_many_streams": "overloaded",
}


def public(code: str) -> Code:
    """The row for any code, whoever made it up. Never raises."""
    return CODES.get(code) or CODES[_PUBLIC.get(code, "upstream_refused")]
