"""What a token allows: the scope that an operator wrote, and the grant that is compiled from it. Pure.

A `Scope` is data (the store keeps it, the command line fills it); a `Grant` answers questions. Checks return nothing or
raise a Fault whose message is for the agent's user. They are asked when a session begins, when a tunnel is declared and
when a link joins; never on a request's path.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, NoReturn

from protocol.errors import Blame, Fault, RefusedError
from protocol.names import covers, is_wildcard, normalize_host

MAX_PATTERNS = 64  # of hosts or port ranges in one scope: a list, not a database
MAX_COUNT = 1_000_000
MAX_RATE = 1e12
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,62}")
_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SIZE = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,3})?)\s*([kmg]?i?b?)(?:/s|ps)?", re.IGNORECASE)
_SPAN = re.compile(r"([0-9]{1,6})\s*([smhdw])", re.IGNORECASE)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True, slots=True)
class Scope:
    """Limits of a token; None and () mean no limit of that kind. Ports are inclusive ranges, bandwidth is bytes a second
    over both directions of all connections together."""

    allow_hosts: tuple[str, ...] = ()
    allow_ports: tuple[tuple[int, int], ...] = ()
    max_tunnels: int | None = None
    max_sessions: int | None = None
    max_connections: int | None = None
    max_requests: float | None = None
    max_bandwidth: int | None = None

    def dump(self) -> str:
        """As JSON text, only what is set."""
        return json.dumps({key: value for key, value in asdict(self).items() if value}, sort_keys=True)

    @staticmethod
    def load(text: str) -> Scope:
        """What `dump` gave. Raises ValueError for anything else: a scope that can't be read must not mean "no limits"."""
        found = json.loads(text)
        if not isinstance(found, dict) or not found.keys() <= {field.name for field in fields(Scope)}:
            raise ValueError("not a scope")
        hosts, ports = found.get("allow_hosts", []), found.get("allow_ports", [])
        if not all(isinstance(host, str) for host in hosts):
            raise ValueError("not a list of hosts")
        ranges = tuple((int(first), int(last)) for first, last in ports)
        counts = {key: found[key] for key in found.keys() - {"allow_hosts", "allow_ports"}}
        if not all(isinstance(value, int | float) and value > 0 for value in counts.values()):
            raise ValueError("a limit is no number")
        return Scope(tuple(hosts), ranges, **counts)


@dataclass(frozen=True, slots=True)
class Grant:
    """What one token's sessions may do. `account` is the token's id, `name` its name for people; `expires` is seconds since
    the epoch. `scope.allow_hosts` are full names here."""

    account: str
    name: str
    scope: Scope = Scope()
    expires: float | None = None

    def check_alive(self, now: float) -> None:
        """Raises RefusedError `bad_token` when the token has expired; `now` as `expires`."""
        if self.expires is not None and now >= self.expires:
            raise RefusedError("bad_token", "this token has expired", blame=Blame.AGENT, retry=False)

    def check_host(self, host: str) -> None:
        """`host`: normalised, or a wildcard. Raises Fault `not_allowed`."""
        allowed = self.scope.allow_hosts
        if allowed and not any(_allows(pattern, host) for pattern in allowed):
            _not_allowed("this name", ", ".join(allowed))

    def check_port(self, port: int) -> None:
        """Raises Fault `not_allowed`."""
        allowed = self.scope.allow_ports
        if allowed and not any(first <= port <= last for first, last in allowed):
            _not_allowed(f"tcp port {port}", show_ports(allowed))

    def check_tunnels(self, wanted: int) -> None:
        """`wanted`: tunnels of all its sessions, the new ones included. Raises Fault `too_many_tunnels`."""
        most = self.scope.max_tunnels
        if most is not None and wanted > most:
            raise Fault(
                "too_many_tunnels", f"this token may have {_count(most, 'tunnel')}", blame=Blame.AGENT, retry=True
            )

    def check_sessions(self, wanted: int) -> None:
        """`wanted`: its sessions, the new one included. Raises RefusedError `too_many_sessions`."""
        most = self.scope.max_sessions
        if most is not None and wanted > most:
            message = f"this token may have {_count(most, 'session')} at a time"
            raise RefusedError("too_many_sessions", message, blame=Blame.AGENT, retry=True)


def compile_grant(account: str, name: str, scope: Scope, *, domain: str, expires: float | None = None) -> Grant:
    """The grant of a token on a server: names without a dot are below its domain."""
    hosts = tuple(host if "." in host.removeprefix("*.") else f"{host}.{domain}" for host in scope.allow_hosts)
    changed = {field.name: getattr(scope, field.name) for field in fields(Scope)} | {"allow_hosts": hosts}
    return Grant(account, name, Scope(**changed), expires)


def _allows(pattern: str, host: str) -> bool:
    """A wildcard is allowed by one that covers all of it, its own equal too."""
    if is_wildcard(host):
        return pattern == host or (is_wildcard(pattern) and host.endswith(pattern[1:]))
    return covers(pattern, host)


def _not_allowed(what: str, allowed: str) -> NoReturn:
    raise Fault(
        "not_allowed",
        f"this token may not have {what}",
        blame=Blame.AGENT,
        hint=f"it may have {allowed}",
    )


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


# -- what operators write
def parse_token_name(text: str) -> str:
    """The name of a token, for people and lists. Raises Fault `bad_argument`."""
    if not _NAME.fullmatch(text):
        _bad("a token's name has letters, digits and . _ @ -, begins with one of the first two, and is at most 63 long")
    return text


def parse_hosts(text: str) -> tuple[str, ...]:
    """`x.example.me,*.dev.example.me`; a name without a dot is below the server's domain. Raises Fault."""
    hosts = []
    for word in _words(text):
        star = is_wildcard(word)
        hosts.append(("*." if star else "") + normalize_host(word.removeprefix("*.")))
    return tuple(hosts)


def parse_port_ranges(text: str) -> tuple[tuple[int, int], ...]:
    """`2000-2100,2222`. Raises Fault `bad_argument`."""
    ranges = []
    for word in _words(text):
        first, _, last = word.partition("-")
        last = last or first
        if not all(part.isascii() and part.isdigit() and len(part) <= 5 for part in (first, last)):
            _bad("ports are written like 2000-2100,2222")
        if not 1024 <= int(first) <= int(last) <= 65535:
            _bad("ports lie within 1024-65535, the lower one first")
        ranges.append((int(first), int(last)))
    return tuple(ranges)


def _words(text: str) -> Sequence[str]:
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        _bad("the list has an empty entry")
    if len(words) > MAX_PATTERNS:
        _bad(f"the list has more than {MAX_PATTERNS} entries")
    return words


def parse_count(value: Any) -> int:
    if not isinstance(value, int) or not 0 < value <= MAX_COUNT:
        _bad(f"a limit is a number from 1 to {MAX_COUNT}")
    return value


def parse_rate(value: Any) -> float:
    if not isinstance(value, int | float) or not 0.01 <= value <= MAX_COUNT:
        _bad(f"requests per second are a number from 0.01 to {MAX_COUNT}")
    return value


def parse_bandwidth(text: str) -> int:
    """`10MB/s`, `512KiB`, `100000`: bytes per second. Raises Fault `bad_argument`."""
    match = _SIZE.fullmatch(text.strip())
    unit = match.group(2).lower() if match else ""
    if unit in ("k", "m", "g", "ki", "mi", "gi"):
        unit += "b"
    if match is None or unit not in _UNITS:
        _bad("a bandwidth is written like 10MB/s or 512KiB/s (bytes per second)")
    rate = int(float(match.group(1)) * _UNITS[unit])
    if not 1024 <= rate <= MAX_RATE:
        _bad("a bandwidth is at least 1KiB/s")
    return rate


def parse_lifetime(text: str) -> float:
    """`30d`, `12h`: seconds. Raises Fault `bad_argument`."""
    match = _SPAN.fullmatch(text.strip())
    if match is None or not int(match.group(1)):
        _bad("a time is written like 30d, 12h or 2w")
    return float(int(match.group(1)) * _SECONDS[match.group(2).lower()])


_CHANGES: dict[str, tuple[type | tuple[type, ...], Callable[[Any], Any]]] = {
    "allow_hosts": (str, parse_hosts),
    "allow_ports": (str, parse_port_ranges),
    "max_tunnels": (int, parse_count),
    "max_sessions": (int, parse_count),
    "max_connections": (int, parse_count),
    "max_requests": ((int, float), parse_rate),
    "max_bandwidth": (str, parse_bandwidth),
    "lifetime": (str, parse_lifetime),
}
CHANGEABLE = tuple(_CHANGES)


def parse_changes(given: Mapping[str, Any]) -> dict[str, Any]:
    """New limits of a token as an operator writes them, by field of Scope, and `lifetime` (in seconds, from now). None takes
    a limit away, what is not there stays. Raises Fault `bad_argument` that names the field."""
    found: dict[str, Any] = {}
    for key, value in given.items():
        if key not in _CHANGES:
            _bad(f"unknown key {str(key)[:50]!r}")
        kind, parse = _CHANGES[key]
        if value is None:
            found[key] = () if key.startswith("allow_") else None
        elif isinstance(value, bool) or not isinstance(value, kind):
            _bad(f"{key}: {'a text' if kind is str else 'a number'}, or null for no limit")
        else:
            try:
                found[key] = parse(value)
            except Fault as fault:
                _bad(f"{key}: {fault.message}")
    return found


def show_ports(ranges: Sequence[tuple[int, int]]) -> str:
    return ", ".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def _bad(message: str) -> NoReturn:
    raise Fault("bad_argument", message, blame=Blame.OPERATOR)
