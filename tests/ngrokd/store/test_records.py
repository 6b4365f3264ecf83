"""Records print no more than they should, and say when there is nothing to write."""

from __future__ import annotations

from ngrokd.store.records import Name, Notes, already_reserved, name_in_use, no_such_token


def test_names_read_well() -> None:
    assert str(Name("host", "*.demo.example.me")) == "*.demo.example.me"
    assert str(Name("port", "2022")) == "tcp port 2022"


def test_empty_notes_are_false() -> None:
    assert not Notes()
    assert Notes(remembered={"a": None})
    assert Notes(used={"a": (1.0, "")})


def test_faults_have_codes() -> None:
    assert name_in_use("alice").code == "token_exists"
    assert no_such_token().code == "no_such_token"
    assert already_reserved(Name("port", "2022")).message == "tcp port 2022 is reserved already"
