"""The words of this module's commands; what they do and print is in the transcripts of tests/cli."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from ngrokd.commands.mount import register


@pytest.mark.parametrize("word", ["add", "list", "revoke", "rotate"])
def test_each_command_has_help_and_json(word: str) -> None:
    group = click.Group()
    register(group)
    shown = CliRunner().invoke(group, ["token", word, "--help"])
    assert shown.exit_code == 0
    assert "--json" in shown.output


def test_a_token_is_never_an_argument() -> None:
    """It would stand in the process list: commands take names."""
    group = click.Group()
    register(group)
    token = group.commands["token"]
    assert isinstance(token, click.Group)
    for command in token.commands.values():
        assert {param.name for param in command.params if isinstance(param, click.Argument)} <= {"name"}
