"""Is this answer a service's "I don't know that host name", and what cures it? Pure: bytes in, words out.

Development servers answer only to names they know (against DNS rebinding), and a tunnel's public name is not among them. The
texts are those of today's versions, looked up in their sources. Services whose check also reads X-Forwarded-Host (Rails,
Sinatra) or compares Host with Origin (Jupyter) are not cured by another Host field, so for them the service's own setting
is named. Not known here: answers that are compressed, and Rails and Django in production, which say nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from typing import Final

LOOK_BYTES: Final = 16 * 1024  # Rails puts 6 KiB of style sheet in front of its words


@dataclass(frozen=True, slots=True)
class Blocker:
    """A kind of service. `marks`: all of them stand in its answer. `header`: the value of host_header that it takes, ""
    where none helps. `own`: its own setting; HOST stands for the public name, PORT for the service's port."""

    service: str
    status: bytes
    marks: tuple[bytes, ...]
    header: str
    own: str


class Look(Enum):
    """What `judge` says when it has found nobody."""

    MORE = "more"
    NOTHING = "nothing"


WEBPACK: Final = Blocker(
    "webpack-dev-server", b"403", (b"\nInvalid Host header",), "rewrite", 'devServer.allowedHosts: ["HOST"]'
)
BLOCKERS: Final = (
    Blocker("Vite", b"403", (b"Blocked request. This host (",), "rewrite", 'server.allowedHosts: ["HOST"]'),
    WEBPACK,
    Blocker("Django", b"400", (b"<title>DisallowedHost",), "rewrite", 'ALLOWED_HOSTS = ["HOST"]'),
    Blocker("Rails", b"403", (b"Blocked host", b"config.hosts"), "", 'config.hosts << "HOST"'),
    Blocker("Sinatra", b"403", (b"\nHost not permitted",), "", 'set :host_authorization, permitted_hosts: ["HOST"]'),
    Blocker("Jupyter", b"403", (b"upyter", b"403 : Forbidden"), "", "--ServerApp.allow_remote_access=True"),
    Blocker("Flask", b"400", (b"<p>Host &#39;", b"is not trusted."), "", 'TRUSTED_HOSTS = ["HOST"]'),
    Blocker("Starlette", b"400", (b"\nInvalid host header",), "", 'TrustedHostMiddleware, allowed_hosts=["HOST"]'),
    Blocker("Angular", b"400", (b'with hostname "', b'" is not allowed.'), "", "NG_ALLOWED_HOSTS=HOST"),
    Blocker(
        "ASP.NET", b"400", (b"Bad Request - Invalid Hostname",), "localhost:PORT", '"AllowedHosts": "localhost;HOST"'
    ),
)
_OLD_WEBPACK: Final = b"Invalid Host header"  # of version 4 and before, as 200: known by being the whole answer
_LENGTH: Final = re.compile(rb"(?i)\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n")


def judge(seen: bytes) -> Blocker | Look:
    """`seen`: the first bytes of a service's first answer on a connection, LOOK_BYTES at most."""
    if len(seen) < 12:
        return Look.MORE if b"HTTP/1.".startswith(seen[:7]) else Look.NOTHING
    status = seen[9:12]
    if not seen.startswith(b"HTTP/1.") or status not in (b"200", b"400", b"403"):
        return Look.NOTHING
    if status == b"200":
        return _judge_old(seen)
    for blocker in BLOCKERS:
        if blocker.status == status and all(mark in seen for mark in blocker.marks):
            return blocker
    return Look.NOTHING if len(seen) >= LOOK_BYTES or _complete(seen) else Look.MORE


def _judge_old(seen: bytes) -> Blocker | Look:
    head, end, body = seen.partition(b"\r\n\r\n")
    if not end:
        return Look.MORE if len(seen) < 2048 else Look.NOTHING
    length = _LENGTH.search(head + b"\r\n")
    if length is None or int(length[1]) != len(_OLD_WEBPACK) or not _OLD_WEBPACK.startswith(body):
        return Look.NOTHING
    return WEBPACK if body == _OLD_WEBPACK else Look.MORE


def _complete(seen: bytes) -> bool:
    """As far as a look can tell: a wrong guess costs a notice."""
    head, end, body = seen.partition(b"\r\n\r\n")
    if not end:
        return False
    length = _LENGTH.search(head + b"\r\n")
    return len(body) >= int(length[1]) if length is not None else body.endswith(b"0\r\n\r\n")


def advice(blocker: Blocker, host: str, port: int, *, header: str) -> str:
    """One line for the tunnel's owner. `header`: what its host_header is now; "" where the server can't change it (1.7)."""
    cure = blocker.own.replace("HOST", host)
    if header == "preserve" and blocker.header:
        value = blocker.header.replace("PORT", str(port))
        return (
            f"{blocker.service} refuses the host name {host}; add `host_header: {value}` to the tunnel, "
            f"or -hostHeader={value}"
        )
    return f"{blocker.service} refuses the host name; allow it there: {cure}"
