"""`ngrokd status`, `sessions`, `tunnels`, `kick`, `drain`, `reload`: what a running server does, and what it shall do.

They reach it through the socket in its state directory and exit with 1 when none runs. Shown for people, or with --json as
the operator's API has it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import click
import trio

from ngrokd.commands import words
from ngrokd.commands.tokens import JSON
from ngrokd.grants import parse_lifetime
from ngrokd.local import SOCKET, ask
from ngrokd.settings import Settings
from ngrokd.state import default_directory
from protocol.errors import Blame, Fault

Row = Mapping[str, Any]


def running(settings: Settings, word: str, **arguments: Any) -> Any:
    """What the running server answers. Raises Fault `not_running`."""
    state = settings.state_dir or default_directory(os.environ, root=os.geteuid() == 0)
    try:
        return trio.run(ask, state / SOCKET, word, arguments)
    except (FileNotFoundError, ConnectionRefusedError) as error:
        raise Fault(
            "not_running",
            f"no ngrokd runs with the state directory {state}",
            blame=Blame.OPERATOR,
            hint="name its directory with -stateDir, or start one",
        ) from error
    except OSError as error:
        raise Fault(
            "no_answer",
            f"{state / SOCKET}: {error.strerror or error}",
            blame=Blame.OPERATOR,
            hint="be its user, or root",
        ) from error


@click.command()
@JSON
@click.pass_obj
def status(settings: Settings, /, *, as_json: bool) -> None:
    """What the running server does, in numbers."""
    answer = running(settings, "status")
    click.echo(words.as_json(answer) if as_json else show_status(answer, time.time()))


@click.command()
@JSON
@click.pass_obj
def sessions(settings: Settings, /, *, as_json: bool) -> None:
    """Agents that are logged in."""
    answer = running(settings, "sessions")
    click.echo(words.as_json(answer) if as_json else show_sessions(answer, time.time()))


@click.command()
@JSON
@click.pass_obj
def tunnels(settings: Settings, /, *, as_json: bool) -> None:
    """Tunnels that are online, and what goes through them."""
    answer = running(settings, "tunnels")
    click.echo(words.as_json(answer) if as_json else show_tunnels(answer))


@click.command()
@click.argument("who")
@click.option("--for", "lifetime", metavar="TIME", help="Keep it out for that long: 10m, 2h, 1d.")
@click.option("--ban", type=click.Choice(["client", "token", "address"]), default="client", help="By what it is known.")
@JSON
@click.pass_obj
def kick(settings: Settings, /, *, who: str, lifetime: str | None, ban: str, as_json: bool) -> None:
    """End a session: by its id, its tunnel's name or URL, its token's id, or its address.

    \b
    ngrokd kick shop.example.me                       it may come back at once
    ngrokd kick 203.0.113.7 --for 1h --ban address    nobody from there for an hour
    """
    seconds = parse_lifetime(lifetime) if lifetime else 0
    answer = running(settings, "kick", who=who, seconds=seconds, ban=ban)
    if as_json:
        click.echo(words.as_json(answer))
        return
    for row in answer:
        kept = f", and kept out for {span(row['seconds'])}" if row["seconds"] else ""
        click.echo(f"session {row['session']} has ended{kept}")


@click.command()
@JSON
@click.pass_obj
def drain(settings: Settings, /, *, as_json: bool) -> None:
    """Stop the server in order: no new visitors, what runs may finish."""
    answer = running(settings, "drain")
    click.echo(words.as_json(answer) if as_json else "the server finishes what runs, then it stops")


@click.command()
@JSON
@click.pass_obj
def reload(settings: Settings, /, *, as_json: bool) -> None:
    """Have the server read its configuration file, certificate and templates again."""
    answer = running(settings, "reload")
    click.echo(words.as_json(answer) if as_json else words.reloaded(answer))


COMMANDS: tuple[click.Command, ...] = (status, sessions, tunnels, kick, drain, reload)


# -- for people
def show_status(found: Row, now: float) -> str:
    visitors = ", ".join(f"{count} {kind}" for kind, count in found["visitors"].items() if count) or "none"
    refusals = ", ".join(f"{count} {code}" for code, count in sorted(found["refusals"].items())) or "none"
    logins = ", ".join(f"{count} {code}" for code, count in sorted(found["refused_logins"].items())) or "none"
    rows = [
        (
            "state",
            f"{found['state']} for {span(now - found['started'])} (version {found['version']}, pid {found['pid']})",
        ),
        *[(name, ", ".join(places)) for name, places in found["listeners"].items()],
        ("domain", found["domain"]),
        ("pin", found["fingerprint"]),
        ("certificate", f"until {words.moment(found['certificate_expires'], 'for ever')}"),
        ("sessions", str(found["sessions"])),
        ("tunnels", str(found["tunnels"])),
        ("visitors", visitors),
        ("traffic", f"{size(found['rates']['up'])}/s up, {size(found['rates']['down'])}/s down"),
        ("refused", f"requests: {refusals}; logins: {logins}"),
    ]
    return "\n".join(f"{name:<12}{text}" for name, text in rows)


def show_sessions(rows: list[Row], now: float) -> str:
    if not rows:
        return "no agent is logged in"
    return words.table(
        ("ID", "ADDRESS", "AGENT", "DIALECT", "SINCE", "LINKS", "LIVE", "TUNNELS"),
        [
            (
                row["id"],
                row["address"],
                " ".join(filter(None, (row["agent"]["version"], row["agent"]["os"]))),
                row["dialect"],
                span(now - row["since"]),
                _links(row["links"]["count"], row["links"]["kind"]),
                str(row["live"]),
                ", ".join(row["tunnels"]) or "none",
            )
            for row in rows
        ],
    )


def _links(count: int, kind: str) -> str:
    return f"{count} {kind.removesuffix('s') if count == 1 else kind}"


def show_tunnels(rows: list[Row]) -> str:
    if not rows:
        return "no tunnel is online"
    return words.table(
        ("URL", "SESSION", "LIVE", "VISITORS", "UP", "DOWN", "NOW"),
        [
            (
                row["url"],
                row["session"],
                str(row["live"]),
                str(row["connections"]),
                size(row["up"]),
                size(row["down"]),
                f"{size(row['rates']['up'] + row['rates']['down'])}/s",
            )
            for row in rows
        ],
    )


def span(seconds: float) -> str:
    """A duration, its two largest parts."""
    left = max(0, round(seconds))
    parts: list[str] = []
    for unit, name in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        count, left = divmod(left, unit)
        if count or (unit == 1 and not parts):
            parts.append(f"{count}{name}")
    return " ".join(parts[:2])


def size(count: float) -> str:
    """Bytes as people say them."""
    for unit, name in ((10**9, "GB"), (10**6, "MB"), (10**3, "KB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count:.0f} B"
