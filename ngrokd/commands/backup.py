"""`ngrokd backup`: the state in one file, while the server runs."""

from __future__ import annotations

from pathlib import Path

import click

from ngrokd.commands import words
from ngrokd.commands.reach import operate
from ngrokd.commands.tokens import JSON
from ngrokd.settings import Settings


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@JSON
@click.pass_obj
def backup(settings: Settings, /, *, file: Path, as_json: bool) -> None:
    """Write tokens, reservations and the server's keys to a tar file. Keep it as safe as the state directory.

    \b
    ngrokd backup /var/backups/ngrokd.tar
    tar -xf /var/backups/ngrokd.tar -C /var/lib/ngrokd        into an empty state directory
    """
    answer = operate(settings, "backup", file=str(file.absolute()))
    click.echo(words.as_json(answer) if as_json else f"{answer['file']}: {answer['bytes']} bytes")
