"""The token goes into the file and nothing else changes."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngrokc.token_file import old_format_token, save_token, with_token
from ngrokc.yaml_nodes import parse
from protocol.errors import ConfigError
from protocol.secret import Secret

KEPT = """# my tunnels
server_addr: example.me:4443   # the VPS
{old}
tunnels:
  test:
    proto: {{http: 8080}}
"""


@pytest.mark.parametrize(
    "old", ["auth_token: oldtoken1", "auth_token: 'old token'", 'auth_token: "x"', "auth_token: 123 # mine"]
)
def test_the_scalar_is_replaced_in_place(old: str) -> None:
    text = KEPT.format(old=old)
    changed = with_token(text, "newtoken1")
    assert changed.replace("newtoken1", "X").splitlines()[:2] == text.splitlines()[:2]
    assert "auth_token: newtoken1" in changed
    assert "# my tunnels" in changed
    assert ("# mine" in changed) == ("# mine" in old)


def test_a_missing_key_is_added_and_comments_stay() -> None:
    changed = with_token(KEPT.format(old="#"), "newtoken1")
    assert "auth_token: newtoken1\nserver_addr: example.me:4443   # the VPS\n" in changed
    assert changed.startswith("# my tunnels\n")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "auth_token: newtoken1\n"),
        ("# only a comment", "# only a comment\nauth_token: newtoken1\n"),
        ("---\n", "---\nauth_token: newtoken1\n"),
        ("an_old-token!", "auth_token: newtoken1\n"),
        ("auth_token:\nmux: false\n", "auth_token: newtoken1\nmux: false\n"),
        ("{mux: false}", "{auth_token: newtoken1, mux: false}"),
        ("{}", "{auth_token: newtoken1}"),
        ("---\nmux: no\n...\n", "---\nauth_token: newtoken1\nmux: no\n...\n"),
        ("  mux: no\n  ca: x\n", "  auth_token: newtoken1\n  mux: no\n  ca: x\n"),
    ],
)
def test_shapes(text: str, expected: str) -> None:
    assert with_token(text, "newtoken1") == expected
    assert with_token(expected, "newtoken1") == expected


@given(st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True))
def test_any_token_is_read_back_as_it_was(token: str) -> None:
    table = parse(with_token("mux: false\n", token), "")
    assert not isinstance(table, str)
    assert table.value("auth_token", "").text() == token


@pytest.mark.parametrize("text", ["a: [", "- a\n- b\n", "two words"])
def test_what_is_no_configuration_is_left_alone(text: str) -> None:
    with pytest.raises(ConfigError):
        with_token(text, "newtoken1")


def test_strange_tokens_are_not_written() -> None:
    with pytest.raises(ConfigError):
        with_token("", "a\nb: c")


@pytest.mark.parametrize(
    ("text", "token"),
    [("abc-DEF_1!\n", "abc-DEF_1!"), ("---\n", None), ("a: b", None), ("", None), ("two words", None)],
)
def test_old_format(text: str, token: str | None) -> None:
    assert old_format_token(text) == token


def test_saved_once_privately(tmp_path: Path) -> None:
    path = tmp_path / "config"
    assert save_token(path, Secret("newtoken1"))
    assert not save_token(path, Secret("newtoken1"))
    assert path.read_text() == "auth_token: newtoken1\n"
    assert path.stat().st_mode & 0o777 == 0o600
