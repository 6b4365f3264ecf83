"""The words of this module's commands; what they do and print is in the transcripts of tests/cli."""

from __future__ import annotations

import click
import pytest
from click.testing import CliRunner

from ngrokd.commands.mount import register


@pytest.mark.parametrize("words", [[], ["a", "b"]])
def test_it_takes_one_file(words: list[str]) -> None:
    group = click.Group()
    register(group)
    assert CliRunner().invoke(group, ["backup", *words]).exit_code == 2
