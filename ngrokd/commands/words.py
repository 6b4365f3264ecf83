"""How answers are shown to people: tables, times, limits. Rules: results go to stdout, plain text, no colours; what belongs to
machines is asked for with --json, one document, the same keys as the operator's API. Pure.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from ngrokd.grants import show_ports

MASKED_HINT = "It is shown only this once."
_BYTES = ((10**9, "GB"), (10**6, "MB"), (10**3, "KB"))


def as_json(answer: Any) -> str:
    return json.dumps(answer, indent=2)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be, the last one ragged."""
    widths = [max(len(row[column]) for row in (heads, *rows)) for column in range(len(heads))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (heads, *rows)]
    return "\n".join(line.rstrip() for line in lines)


def moment(seconds: float | None, otherwise: str) -> str:
    """A time as people write it, UTC."""
    if seconds is None:
        return otherwise
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M")


def limits(scope: Mapping[str, Any]) -> str:
    """A scope in a few words."""
    found = []
    if hosts := scope.get("allow_hosts"):
        found.append("hosts " + ",".join(hosts))
    if ports := scope.get("allow_ports"):
        found.append("ports " + show_ports([(first, last) for first, last in ports]).replace(", ", ","))
    counts = [(scope.get(f"max_{key}"), key) for key in ("tunnels", "sessions", "connections")]
    found += [f"{most} {key}" for most, key in counts if most]
    if rate := scope.get("max_requests"):
        found.append(f"{rate:g} requests/s")
    if bandwidth := scope.get("max_bandwidth"):
        found.append(f"{_size(bandwidth)}/s")
    return "; ".join(found) or "none"


def _size(count: int) -> str:
    for unit, name in _BYTES:
        if count >= unit and count % (unit // 10) == 0:
            return f"{count / unit:g}{name}"
    return f"{count}B"


def tokens(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "no tokens yet; make one with: ngrokd token add NAME"
    heads = ("NAME", "ID", "STATE", "EXPIRES", "LAST USED", "LIMITS")
    return table(
        heads,
        [
            (
                row["name"],
                row["id"],
                row["state"],
                moment(row["expires"], "never"),
                " ".join(filter(None, (moment(row["last_used"], "never"), row["last_source"]))),
                limits(row["scope"]),
            )
            for row in rows
        ],
    )


def reservations(rows: Sequence[Mapping[str, Any]]) -> str:
    if not rows:
        return "nothing is reserved; reserve a name with: ngrokd reserve NAME --for TOKEN"
    heads = ("NAME", "KIND", "FOR", "SINCE")
    return table(
        heads,
        [
            (
                row["name"],
                "tcp port" if row["kind"] == "port" else "wildcard" if row["name"].startswith("*") else "host",
                row["token"] + (" (revoked)" if row["revoked"] else ""),
                moment(row["created"], ""),
            )
            for row in rows
        ],
    )


def reloaded(answer: Mapping[str, Any]) -> str:
    """What a reload has done."""
    lines = ["changed: " + ", ".join(answer["changed"])] if answer["changed"] else []
    if waiting := answer["restart"]:
        lines.append(f"only with a restart (or -takeOver): {', '.join(waiting)}")
    return "\n".join(lines) or "nothing has changed"


def client_set_up(answer: Mapping[str, Any], heading: str) -> str:
    """A token and what to do with it. The token is kept off command lines, which other users of a machine can read."""
    token, server = answer["token"], answer["server"]
    pinned = "" if token.count("_") > 2 else "\nThe server's certificate is checked as a browser does it.\n"
    return (
        f"{heading}. {MASKED_HINT}\n\n"
        "In the client's ~/.ngrok (or the file that it is given with -config):\n\n"
        f"    server_addr: {server}\n"
        f"    auth_token: {token}\n\n"
        "then, for example:  ngrokc 8080\n\n"
        "Or without a file:\n\n"
        f"    export NGROK_AUTHTOKEN={token}\n"
        f"    ngrokc -server={server} 8080\n"
        f"{pinned}"
    ).rstrip("\n")
