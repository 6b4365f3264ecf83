"""`ngrokd token add|set|list|revoke|rotate`."""

from __future__ import annotations

from typing import Any

import click

from ngrokd.commands import words
from ngrokd.commands.reach import operate
from ngrokd.settings import Settings

NO_LIMIT = ("none", "never")
JSON = click.option("--json", "as_json", is_flag=True, help="Answer in JSON.")


@click.group(no_args_is_help=False)
def token() -> None:
    """Who may log in.

    With no token on the books only agents on this machine may; as soon as one exists every agent needs one.
    """


@token.command()
@click.argument("name")
@click.option("--allow-host", metavar="NAMES", help="Only these, like 'x.example.me,*.dev.example.me'.")
@click.option("--allow-port", metavar="PORTS", help="Only these tcp ports, like 2000-2100,2222.")
@click.option("--max-tunnels", type=int, metavar="N")
@click.option("--max-sessions", type=int, metavar="N")
@click.option("--max-connections", type=int, metavar="N", help="Visitors at a time.")
@click.option("--max-requests", type=float, metavar="N", help="HTTP requests per second.")
@click.option("--max-bandwidth", metavar="RATE", help="Bytes per second, like 10MB/s.")
@click.option("--expires", metavar="TIME", help="From now, like 30d.")
@JSON
@click.pass_obj
def add(settings: Settings, /, *, as_json: bool, **given: Any) -> None:
    """Make a token and show it, once, with what the client needs.

    \b
    ngrokd token add alice
    ngrokd token add ci --allow-host '*.ci.example.me' --max-tunnels 5 --expires 30d
    """
    answer = operate(settings, "token_add", **given)
    click.echo(words.as_json(answer) if as_json else words.client_set_up(answer, f"Token {answer['name']}"))


class _Limit(click.ParamType[Any]):
    """A value, or `none` to take the limit away. `kind` is what the value is; texts are judged by the server."""

    def __init__(self, kind: type[int | float | str] = str) -> None:
        self.kind = kind
        self.name = kind.__name__

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in NO_LIMIT:
            return NO_LIMIT
        try:
            return self.kind(value)
        except ValueError:
            self.fail(f"{value!r} is no number, nor none", param, ctx)


@token.command("set")
@click.argument("name")
@click.option("--allow-host", "allow_hosts", metavar="NAMES", type=_Limit())
@click.option("--allow-port", "allow_ports", metavar="PORTS", type=_Limit())
@click.option("--max-tunnels", metavar="N", type=_Limit(int))
@click.option("--max-sessions", metavar="N", type=_Limit(int))
@click.option("--max-connections", metavar="N", type=_Limit(int), help="Visitors at a time.")
@click.option("--max-requests", metavar="N", type=_Limit(float), help="HTTP requests per second.")
@click.option("--max-bandwidth", metavar="RATE", type=_Limit(), help="Bytes per second, like 10MB/s.")
@click.option("--expires", "lifetime", metavar="TIME", type=_Limit(), help="From now, like 30d; never.")
@JSON
@click.pass_obj
def set_(settings: Settings, /, *, name: str, as_json: bool, **given: Any) -> None:
    """Give a token other limits; `none` takes one away, those that are not named stay. They count at once.

    \b
    ngrokd token set ci --max-tunnels 10 --max-bandwidth none
    ngrokd token set ci --expires 30d
    """
    limits = {key: None if value is NO_LIMIT else value for key, value in given.items() if value is not None}
    if not limits:
        raise click.UsageError("nothing to change: name at least one limit")
    answer = operate(settings, "token_set", name=name, limits=limits)
    click.echo(words.as_json(answer) if as_json else words.tokens([answer]))


@token.command("list")
@JSON
@click.pass_obj
def list_(settings: Settings, /, *, as_json: bool) -> None:
    """All tokens, without what proves them."""
    answer = operate(settings, "token_list")
    click.echo(words.as_json(answer) if as_json else words.tokens(answer))


@token.command()
@click.argument("name")
@click.option("--forget", is_flag=True, help="Strike it off the books, with its reservations.")
@JSON
@click.pass_obj
def revoke(settings: Settings, /, *, name: str, forget: bool, as_json: bool) -> None:
    """End a token: its sessions end within a second, and it lets nobody in."""
    answer = operate(settings, "token_revoke", name=name, forget=forget)
    if as_json:
        click.echo(words.as_json(answer))
        return
    ended = answer["sessions_ended"]
    sessions = "" if not ended else f"; {ended} session{'s' if ended > 1 else ''} ended"
    click.echo(f"token {answer['name']} {'forgotten' if forget else 'revoked'}{sessions}")
    if not answer["tokens_left"]:
        click.echo("no token is left: agents on this machine are served without one, and anybody's with -open")


@token.command()
@click.argument("name")
@JSON
@click.pass_obj
def rotate(settings: Settings, /, *, name: str, as_json: bool) -> None:
    """Give a token a new secret; the old one lets nobody in any more. Limits and reservations stay."""
    answer = operate(settings, "token_rotate", name=name)
    click.echo(words.as_json(answer) if as_json else words.client_set_up(answer, f"Token {answer['name']}, renewed"))
