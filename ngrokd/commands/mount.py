"""Adds the operator's commands to the program."""

from __future__ import annotations

import click

from ngrokd.commands.backup import backup
from ngrokd.commands.check import check
from ngrokd.commands.names import reservations, reserve, unreserve
from ngrokd.commands.operate import COMMANDS
from ngrokd.commands.tokens import token


def register(group: click.Group) -> None:
    """Add all commands to `group`, whose callback puts the Settings into `ctx.obj`."""
    for command in (token, reserve, unreserve, reservations, backup, check, *COMMANDS):
        group.add_command(command)
