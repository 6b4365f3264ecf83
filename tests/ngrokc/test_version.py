"""One version, in two places."""

import tomllib
from pathlib import Path

from ngrokc.version import VERSION


def test_the_same_as_in_pyproject() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert project["project"]["version"] == VERSION
