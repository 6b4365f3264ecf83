"""Configuration files: what 1.7 reads, what we add, and every mistake with its place."""

from pathlib import Path

import pytest

from ngrokc.config import Config, inspect_address, load, read, server_address
from protocol.address import HostPort
from protocol.errors import ConfigError

DEBUG = "server_addr: ngrok.me:4443\ntunnels:\n  test:\n    proto:\n      http: 8080\n"


def test_the_developer_guide_s_file() -> None:
    config = read(DEBUG, "debug.yml")
    assert config.server == HostPort("ngrok.me", 4443)
    spec = config.tunnels["test"]
    assert (spec.subdomain, spec.hostname, str(spec.upstreams["http"])) == ("test", "", "127.0.0.1:8080")
    assert config.inspect_addr == HostPort("127.0.0.1", 4040)


def test_every_key() -> None:
    config = read(
        "server_addr: example.me\ninspect_addr: disabled\ninspect_api: open\nhttp_proxy: http://u:p%40@p:3128\n"
        "trust_host_root_certs: yes\nauth_token: 0123\non_conflict: random\nmux: off\nca: ca.pem\n"
        f"pin: sha256:{'AB' * 32}\ntunnels: {{t: {{proto: {{tcp: 22}}}}}}\n",
        "f.yml",
        path=Path("/etc/ngrok/f.yml"),
    )
    assert config.server == HostPort("example.me", 4443)
    assert config.inspect_addr is None
    assert config.inspect_open
    assert config.token.reveal() == "0123"
    assert not config.mux
    assert config.ca == "/etc/ngrok/ca.pem"
    assert config.pin == "sha256:" + "ab" * 32
    assert config.tunnels["t"].options.on_conflict == "random"
    assert "p%40" not in repr(config)
    assert "0123" not in repr(config)


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "~\n"])
def test_empty_files(text: str) -> None:
    assert read(text, "f") == Config()


def test_the_oldest_format_is_a_token() -> None:
    config = read("abc_DEF-1!\n", "f")
    assert config.token.reveal() == "abc_DEF-1!"
    assert config.old_format


@pytest.mark.parametrize(
    ("text", "place", "message", "hint"),
    [
        ("sever_addr: x\n", "f:1:1", "unknown key 'sever_addr'", "server_addr"),
        ("web_addr: x\n", "f:1:1", "unknown key", "inspect_addr"),
        ("server_addr: x:99999\n", "f:1:14", "port", ""),
        ("server_addr: [a]\n", "f:1:14", "must be text, not a list", ""),
        ("http_proxy: ftp://x\n", "f:1:13", "http://", "proxy.example"),
        ("mux: maybe\n", "f:1:6", "true or false", ""),
        ("pin: abc\n", "f:1:6", "fingerprint", "ngrokd prints it"),
        ("inspect_addr: nowhere\n", "f:1:15", "port", ""),
        ("inspect_api: opne\n", "f:1:14", "one of token, open", "open"),
        ("on_conflict: x\n", "f:1:14", "one of", ""),
        ("trust_host_root_certs: 1\n", "f:1:24", "true or false", ""),
        ("a word\n", "f:1", "one word", ""),
    ],
)
def test_mistakes(text: str, place: str, message: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text, "f")
    assert caught.value.place == place
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_loading(tmp_path: Path) -> None:
    path = tmp_path / "c.yml"
    assert load(path, required=False) == Config(path=path)
    with pytest.raises(ConfigError, match="no such file"):
        load(path, required=True)
    path.write_bytes(b"\xef\xbb\xbfmux: no\n")
    assert not load(path, required=True).mux
    path.write_bytes(b"mux: no\nca: \xff\n")
    with pytest.raises(ConfigError) as caught:
        load(path, required=True)
    assert caught.value.line == 2
    path.write_bytes(b"#" * (2 << 20))
    with pytest.raises(ConfigError, match="larger"):
        load(path, required=True)
    with pytest.raises(ConfigError, match="can't be read"):
        load(tmp_path, required=True)


def test_addresses() -> None:
    assert server_address("h") == HostPort("h", 4443)
    assert inspect_address("disabled") is None
    assert inspect_address(":0") == HostPort("127.0.0.1", 0)
