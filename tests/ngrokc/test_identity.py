"""The same start gets the same identity; two at the same time never share one."""

from pathlib import Path

import pytest

from ngrokc.identity import Identity, identity_key, open_identity, state_directory
from protocol.secret import Secret

TICKET = Secret("ab" * 32)


def test_kept_across_restarts(tmp_path: Path) -> None:
    first = open_identity(tmp_path / "s", "k")
    first.remember("0" * 32, TICKET)
    first.close()
    again = open_identity(tmp_path / "s", "k")
    assert (again.client_id, again.ticket) == ("0" * 32, TICKET)
    again.close()
    modes = {entry.stat().st_mode & 0o777 for entry in (tmp_path / "s").iterdir()}
    assert (modes, (tmp_path / "s").stat().st_mode & 0o777) == ({0o600}, 0o700)


def test_two_at_once_and_other_starts_differ(tmp_path: Path) -> None:
    one, two, other = open_identity(tmp_path, "k"), open_identity(tmp_path, "k"), open_identity(tmp_path, "o")
    assert len({one.client_id, two.client_id, other.client_id}) == 3
    for identity in (one, two, other):
        identity.close()
        identity.close()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"client_id": 5}', '{"client_id": "x"}', '{"client_id": "' + "x" * 9000]
)
def test_a_broken_file_is_a_new_identity(tmp_path: Path, text: str) -> None:
    (tmp_path / "agent-k-0.json").write_text(text)
    identity = open_identity(tmp_path, "k")
    assert len(identity.client_id) == 32
    identity.remember("1" * 32, Secret(""))
    identity.close()
    again = open_identity(tmp_path, "k")
    assert again.client_id == "1" * 32
    again.close()


def test_no_directory_is_no_trouble(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    identity = open_identity(tmp_path / "file" / "s", "k")
    identity.remember("2" * 32, TICKET)
    assert identity.client_id == "2" * 32
    assert "222222222" not in repr(identity)


def test_keys_and_directories() -> None:
    assert identity_key("s", Secret("t"), ["a", "b"]) == identity_key("s", Secret("t"), ["b", "a"])
    assert identity_key("s", Secret("t"), ["a"]) != identity_key("s", Secret("u"), ["a"])
    assert state_directory({"STATE_DIRECTORY": "/a:/b"}) == Path("/a")
    assert state_directory({"XDG_STATE_HOME": "/x"}) == Path("/x/ngrokc")
    assert state_directory({"XDG_STATE_HOME": "x", "HOME": "/h"}) == Path("/h/.local/state/ngrokc")
    assert len(Identity().client_id) == 32
