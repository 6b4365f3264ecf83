"""The state directory: where it is, who may look in, and files that are whole or not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from ngrokd.state import StateDirectory, default_directory, read_file
from protocol.errors import ConfigError


@pytest.mark.parametrize(
    ("environ", "root", "expected"),
    [
        ({"STATE_DIRECTORY": "/run/a:/run/b", "HOME": "/h"}, True, "/run/a"),
        ({"HOME": "/root"}, True, "/var/lib/ngrokd"),
        ({"HOME": "/h", "XDG_STATE_HOME": "/x"}, False, "/x/ngrokd"),
        ({"HOME": "/h", "XDG_STATE_HOME": "relative"}, False, "/h/.local/state/ngrokd"),
        ({"HOME": "/h"}, False, "/h/.local/state/ngrokd"),
    ],
)
def test_where_it_is(environ: dict[str, str], root: bool, expected: str) -> None:
    assert default_directory(environ, root=root) == Path(expected)


def test_it_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "a" / "b")
    assert state.path.stat().st_mode & 0o777 == 0o700


def test_one_that_is_open_to_others_is_closed(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir(mode=0o755)
    StateDirectory(tmp_path / "s")
    assert (tmp_path / "s").stat().st_mode & 0o777 == 0o700


def test_one_that_cannot_be_made_names_the_flag(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError) as caught:
        StateDirectory(tmp_path / "file" / "s")
    assert "-stateDir" in caught.value.hint


def test_files_are_private_and_replaced_whole(tmp_path: Path) -> None:
    state = StateDirectory(tmp_path / "s")
    assert state.read("a", limit=10) is None
    state.write("a", b"one")
    state.write("a", b"two")
    assert state.read("a", limit=10) == b"two"
    assert state.file("a").stat().st_mode & 0o777 == 0o600
    assert [path.name for path in state.path.iterdir()] == ["a"]


def test_a_file_that_is_too_large_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"12345")
    with pytest.raises(ConfigError, match="larger than 4"):
        read_file(tmp_path / "a", limit=4)
    with pytest.raises(ConfigError):
        read_file(tmp_path, limit=4)  # a directory
