"""The configuration file: the flags' names as keys, values as typed, mistakes with their line."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngrokd.configfile import parse, read_file, read_settings
from ngrokd.settings import PortRange
from protocol.address import HostPort
from protocol.errors import ConfigError


def test_keys_are_flags_and_values_are_what_was_typed() -> None:
    found = parse('domain: example.me\nhttpAddr: ":8080"\nhttpsAddr: ""\ntcpPorts: 02000-2100\nopen: yes\n', "f")
    assert found == {
        "domain": "example.me", "http_addr": ":8080", "https_addr": "", "tcp_ports": "02000-2100", "open": "yes",
    }  # fmt: skip


def test_flag_over_file(tmp_path: Path) -> None:
    path = tmp_path / "ngrokd.yml"
    path.write_text("domain: file.example\ngrace: 5\nstateDir: state\nhttpsAddr:\n")
    settings = read_settings({"config": str(path), "domain": "flag.example"})
    assert (settings.domain, settings.grace) == ("flag.example", 5.0)
    assert settings.state_dir == tmp_path / "state"
    assert settings.https_addr == HostPort("", 443)  # nothing was typed: the default
    assert read_settings({"tcp_ports": "2000-2010"}).tcp_ports == PortRange(2000, 2010)


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        ("domain: a.example\ndomian: b\n", "f:2:1", "unknown key 'domian'"),
        ("domain: a.example\ngrace: never\n", "f:2:1", "grace: "),
        ("httpAddr:\n  - :80\n", "f:2:3", "httpAddr: one word is wanted here"),
        ("- a\n", "f:1:1", "the file is no list of `name: value` lines"),
        ("domain: a\ndomain: b\n", "f:2:1", "domain stands here twice"),
        ("config: other.yml\n", "f:1:1", "unknown key 'config'"),
        ("domain: [\n", "f:2", "not YAML"),
        ("log-level: LOUD\n", "f:1:1", "log-level: must be one of"),
    ],
)
def test_mistakes_have_their_place(text: str, place: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "f")
    assert caught.value.place == place
    assert message in caught.value.message


def test_hints() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("httpsAdr: :1\n", "f")
    assert caught.value.hint == "did you mean httpsAddr?"


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        read_file(tmp_path / "none.yml")
    big = tmp_path / "big.yml"
    big.write_bytes(b"#" * (2 << 20))
    with pytest.raises(ConfigError, match="larger"):
        read_file(big)
    big.write_bytes(b"domain: a\n\xff\n")
    with pytest.raises(ConfigError) as caught:
        read_file(big)
    assert caught.value.line == 2


def test_an_empty_file_says_nothing() -> None:
    assert parse("", "f") == {}
    assert parse("# nothing\n", "f") == {}


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_in_our_words(text: str) -> None:
    with contextlib.suppress(ConfigError):
        parse(text, "f")
