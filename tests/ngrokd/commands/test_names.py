"""The words of this module's commands; what they do and print is in the transcripts of tests/cli."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from ngrokd.commands.mount import register


@pytest.mark.parametrize("word", ["reserve", "unreserve", "reservations"])
def test_each_command_has_help_and_json(word: str) -> None:
    group = click.Group()
    register(group)
    shown = CliRunner().invoke(group, [word, "--help"])
    assert shown.exit_code == 0
    assert "--json" in shown.output
