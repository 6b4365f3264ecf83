"""`ngrokd reserve`, `unreserve`, `reservations`: which names belong to whom."""

from __future__ import annotations

import click

from ngrokd.commands import words
from ngrokd.commands.reach import operate
from ngrokd.commands.tokens import JSON
from ngrokd.settings import Settings


@click.command()
@click.argument("name")
@click.option("--for", "token", required=True, metavar="TOKEN", help="The token's name.")
@JSON
@click.pass_obj
def reserve(settings: Settings, /, *, name: str, token: str, as_json: bool) -> None:
    """Keep a host, a wildcard or a tcp port for a token.

    \b
    ngrokd reserve shop --for alice                   shop below the server's domain
    ngrokd reserve '*.demo.example.me' --for alice    all names below demo.example.me
    ngrokd reserve 2222 --for alice                   a tcp port
    """
    answer = operate(settings, "reserve", name=name, **{"for": token})
    port = "tcp port " if answer["kind"] == "port" else ""
    click.echo(words.as_json(answer) if as_json else f"{port}{answer['name']} is reserved for {answer['token']}")


@click.command()
@click.argument("name")
@JSON
@click.pass_obj
def unreserve(settings: Settings, /, *, name: str, as_json: bool) -> None:
    """Let anybody have a name again. A tunnel that has it stays."""
    answer = operate(settings, "unreserve", name=name)
    click.echo(words.as_json(answer) if as_json else f"{answer['name']} is no longer reserved")


@click.command()
@JSON
@click.pass_obj
def reservations(settings: Settings, /, *, as_json: bool) -> None:
    """What is reserved, and for whom."""
    answer = operate(settings, "reservations")
    click.echo(words.as_json(answer) if as_json else words.reservations(answer))
