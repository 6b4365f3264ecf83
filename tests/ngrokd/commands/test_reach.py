"""Commands find the server's books, whether it runs or not; what they say is tested by transcripts (tests/cli)."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from ngrokd import certs
from ngrokd.commands.reach import operate
from ngrokd.settings import Settings, settings_from
from ngrokd.state import StateDirectory
from ngrokd.store.lock import StateLock
from ngrokd.store.sqlite import LOCK
from protocol.errors import Fault
from protocol.token import parse_token


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return settings_from({"state_dir": tmp_path / "state"})


def test_without_a_server_the_store_is_opened(settings: Settings) -> None:
    made = operate(settings, "token_add", name="alice", expires=None)
    token = parse_token(made["token"])
    assert token is not None
    assert settings.state_dir is not None
    assert token.pin == certs.own_fingerprint(StateDirectory(settings.state_dir))
    assert made["server"] == "localhost:4443"
    assert [row["name"] for row in operate(settings, "token_list")] == ["alice"]


def test_flags_say_what_a_server_would_be(settings: Settings) -> None:
    named = settings_from({"state_dir": settings.state_dir, "domain": "example.me", "tunnel_addr": ":5555"})
    assert operate(named, "token_add", name="alice")["server"] == "example.me:5555"


def test_flags_say_which_ports_a_server_would_give_out(settings: Settings) -> None:
    named = settings_from({"state_dir": settings.state_dir, "tcp_ports": "2000-2010"})
    operate(settings, "token_add", name="alice")
    with pytest.raises(Fault, match="2000-2010"):
        operate(named, "reserve", name="2222", **{"for": "alice"})
    assert operate(settings, "reserve", name="2222", **{"for": "alice"})["name"] == "2222"


def test_with_a_certificate_of_the_operator_s_a_token_has_no_pin(settings: Settings, tmp_path: Path) -> None:
    named = settings_from({"state_dir": settings.state_dir, "tls_crt": tmp_path / "a", "tls_key": tmp_path / "b"})
    token = parse_token(operate(named, "token_add", name="alice")["token"])
    assert token is not None
    assert token.pin == ""


def test_a_socket_that_was_left_over_is_no_server(settings: Settings) -> None:
    operate(settings, "token_list")
    assert settings.state_dir is not None
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(settings.state_dir / "control.sock"))
    assert operate(settings, "token_list") == []


def test_a_server_that_is_not_ready_yet_keeps_the_store(settings: Settings) -> None:
    operate(settings, "token_list")
    assert settings.state_dir is not None
    lock = StateLock(settings.state_dir / LOCK)
    with pytest.raises(Fault) as caught:
        operate(settings, "token_list")
    assert caught.value.code == "state_in_use"
    lock.release()
