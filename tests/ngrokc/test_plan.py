"""Flags over environment over file; nothing connects."""

from pathlib import Path

import pytest

from ngrokc.flags import understand
from ngrokc.plan import Plan, make_plan
from protocol.address import HostPort
from protocol.errors import ConfigError

FILE = "server_addr: ngrok.me:4443\nauth_token: filetoken\ntunnels:\n  test: {proto: {http: 8080}}\n  ssh: {proto: {tcp: 22}}\n"


def plan(tmp_path: Path, line: str, text: str | None = FILE, **environ: str) -> Plan:
    path = tmp_path / ".ngrok"
    if text is not None:
        path.write_text(text)
    return make_plan(understand(line.split()), {"HOME": str(tmp_path), **environ})


def test_start(tmp_path: Path) -> None:
    found = plan(tmp_path, "start ssh test ssh")
    assert [spec.name for spec in found.tunnels] == ["ssh", "test"]
    assert found.server == HostPort("ngrok.me", 4443)
    assert (found.config.token.reveal(), found.save_token) == ("filetoken", False)
    assert [spec.name for spec in plan(tmp_path, "start-all").tunnels] == ["test", "ssh"]


def test_the_port_form_drops_the_file_s_tunnels(tmp_path: Path) -> None:
    (spec,) = plan(tmp_path, "-subdomain=x -httpauth=u:p 8080").tunnels
    assert (spec.name, spec.subdomain, spec.protocols, spec.auth.reveal()) == ("default", "x", ("http", "https"), "u:p")
    (spec,) = plan(tmp_path, "-proto=tcp -remotePort=2222 localhost:22").tunnels
    assert (spec.protocols, spec.remote_port) == (("tcp",), 2222)


def test_the_host_header_of_the_port_form(tmp_path: Path) -> None:
    (spec,) = plan(tmp_path, "-hostHeader=rewrite 5173").tunnels
    assert spec.wire_options("http") == {"host_header": "127.0.0.1:5173"}
    (spec,) = plan(tmp_path, "5173").tunnels
    assert spec.wire_options("http") == {}


def test_precedence(tmp_path: Path) -> None:
    assert plan(tmp_path, "80", NGROK_AUTHTOKEN="envtoken").config.token.reveal() == "envtoken"
    found = plan(tmp_path, "-authtoken=flagtoken -server=other:1 -inspectAddr=disabled 80", NGROK_AUTHTOKEN="envtoken")
    assert (found.config.token.reveal(), found.save_token) == ("flagtoken", True)
    assert (found.server, found.config.inspect_addr) == (HostPort("other", 1), None)
    assert found.config.path == tmp_path / ".ngrok"


def test_an_old_token_file_is_kept_in_the_new_format(tmp_path: Path) -> None:
    assert plan(tmp_path, "-server=s 80", "oldtoken").save_token
    assert not plan(tmp_path, "-server=s 80", "oldtoken", NGROK_AUTHTOKEN="envtoken").save_token


def test_proxies(tmp_path: Path) -> None:
    assert plan(tmp_path, "80").proxy is None
    found = plan(tmp_path, "80", http_proxy="http://p:1", https_proxy="http://q:2").proxy
    assert found is not None
    assert found.host == "q"
    found = plan(
        tmp_path, "80", "server_addr: s\nhttp_proxy: http://file:3\n", http_proxy="http://p:1", no_proxy="*"
    ).proxy
    assert found is not None
    assert found.host == "file"


@pytest.mark.parametrize(
    ("line", "text", "word"),
    [
        ("80", "", "no server was named"),
        ("80", None, "no server was named"),
        ("start nope", FILE, "no tunnel 'nope'"),
        ("foo", FILE, "no command and no address"),
        ("foo.bar", FILE, "needs a port"),
        ("99999", FILE, "port"),
        ("-server=a:b 80", FILE, "-server"),
        ("-pin=zz 80", FILE, "-pin"),
        ("-proto=udp 80", FILE, "-proto"),
        ("-remotePort=x -proto=tcp 80", FILE, "-remotePort"),
        ("-hostHeader=a/b 80", FILE, "-hostHeader"),
        ("-remotePort=5 80", FILE, "-remotePort is for tcp"),
        ("-httpauth=me 80", FILE, "-httpauth must"),
        ("-ca=/nonexistent/ca.pem 80", FILE, "CA file"),
        ("-config=/nonexistent 80", FILE, "no such file"),
        ("80", "tunnels: {a: {proto: {http: x}}}", "needs a port"),
    ],
)
def test_mistakes(tmp_path: Path, line: str, text: str | None, word: str) -> None:
    with pytest.raises(ConfigError) as caught:
        plan(tmp_path, line, text)
    assert word in caught.value.message
