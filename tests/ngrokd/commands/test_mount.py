"""The words of this module's commands; what they do and print is in the transcripts of tests/cli."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from ngrokd.commands.mount import register


@pytest.mark.parametrize("word", ["token", "reserve", "unreserve", "reservations", "backup"])
def test_the_program_has_each_command(word: str) -> None:
    group = click.Group()
    register(group)
    assert CliRunner().invoke(group, [word, "--help"]).exit_code == 0
