"""`ngrokc config show --origin`: each value with the place it comes from; secrets masked."""

from __future__ import annotations

from pathlib import Path

from ngrokc.cli import run
from ngrokc.flags import understand
from ngrokc.origins import show, values
from ngrokc.plan import read_config

FILE = """\
server_addr: example.me:4443
auth_token: nt_secret
# a comment
tunnels:
  web:
    subdomain: shop
    proto: {http: 8080}
  ssh:
    remote_port: 2222
    proto: {tcp: 22}
"""


def origins(tmp_path: Path, *words: str, **environ: str) -> dict[str, tuple[str, str]]:
    path = tmp_path / "ngrok.yml"
    path.write_text(FILE)
    request = understand([f"-config={path}", "config", "show", *words])
    config = read_config(request, environ)
    return {
        value.name: (value.text, value.origin.replace(str(path), "F")) for value in values(config, request, environ)
    }


def test_the_file_has_lines(tmp_path: Path) -> None:
    found = origins(tmp_path)
    assert found["server_addr"] == ("example.me:4443", "F:1")
    assert found["auth_token"] == ("********", "F:2")
    assert found["mux"] == ("true", "default")
    assert found["tunnels.web"] == ("shop: http -> 127.0.0.1:8080", "F:6")
    assert found["tunnels.ssh"][1] == "F:9"


def test_what_a_tunnel_has_besides_is_named_but_not_shown(tmp_path: Path) -> None:
    path = tmp_path / "more.yml"
    path.write_text(
        "tunnels: {a: {proto: {http: 80}, auth: 'u:secret', host_header: rewrite, allow_ips: [10.0.0.0/8], "
        "request_headers: {set: {X-Key: secret}}}}"
    )
    request = understand([f"-config={path}", "config", "show"])
    (text,) = [value.text for value in values(read_config(request, {}), request, {}) if value.name == "tunnels.a"]
    assert text == "a: http -> 127.0.0.1:80 with auth, host_header, allow_ips, request_headers"


def test_flags_and_environment_say_so(tmp_path: Path) -> None:
    found = origins(tmp_path, "-server=other.me", NGROK_AUTHTOKEN="nt_other")
    assert found["server_addr"] == ("other.me:4443", "flag -server")
    assert found["auth_token"][1] == "environment NGROK_AUTHTOKEN"


def test_the_command(tmp_path: Path, capsys: object) -> None:
    path = tmp_path / "ngrok.yml"
    path.write_text(FILE)
    assert run([f"-config={path}", "config", "show", "-origin"]) == 0
    assert run([f"-config={path}", "config", "hide"]) == 1
    assert run([f"-config={path}", "list", "-origin"]) == 1


def test_without_origins_there_are_two_columns(tmp_path: Path) -> None:
    path = tmp_path / "none.yml"
    path.write_text("")
    request = understand([f"-config={path}", "config", "show"])
    text = show(list(values(read_config(request, {}), request, {})), origin=False)
    assert "default" not in text
    assert "inspect_addr  127.0.0.1:4040" in text
