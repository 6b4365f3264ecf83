"""The program's outside: what goes where, and the exit codes. What it serves is tested with the agent."""

from pathlib import Path

import pytest

from ngrokc.cli import main, run


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("NGROK_AUTHTOKEN", raising=False)
    return tmp_path


def test_help_version_list(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["help"]) == 0
    assert capsys.readouterr().out.startswith("Usage: ngrokc")
    assert run(["version"]) == 0
    assert capsys.readouterr().out == "0.1.0\n"
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == "0.1.0\n"
    assert run(["list"]) == 0
    assert capsys.readouterr().out == ""
    (home / ".ngrok").write_text("tunnels: {a: {proto: {http: 1}}, b: {proto: {tcp: 2}}}")
    assert run(["list"]) == 0
    assert capsys.readouterr().out == "a\nb\n"


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ([], "ngrokc: a port or a command is missing"),
        (["-subdomian=x", "80"], "ngrokc: unknown flag -subdomian; did you mean '-subdomain'?\n"),
        (["-verbose", "80"], "ngrokc: unknown flag -verbose; all of them: ngrokc help\n"),
        (
            ["-server=h", "-url-file=/nonexistent/url", "80"],
            "/nonexistent/url: -url-file: its directory is not there\n",
        ),
        (["-json=maybe", "80"], "ngrokc: invalid value for '-json': 'maybe' is neither true nor false\n"),
        (["-server"], "ngrokc: option -server requires an argument\n"),
        (["-server=h", "-subdomain=a b", "80"], "ngrokc: -subdomain: a host name has"),
        (["80"], "ngrokc: no server was named\n  hint: add -server=HOST"),
        (["-server=h", "-log=/nonexistent/dir/log", "80"], "/nonexistent/dir/log: the log can't be opened"),
    ],
)
def test_errors_go_to_stderr(line: list[str], text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(line) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert text in captured.err


def test_errors_of_a_file_have_their_place(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (home / ".ngrok").write_text("server_addr: x\ntunnles: {}\n")
    with pytest.raises(SystemExit) as caught:
        main(["80"])
    assert caught.value.code == 1
    expected = f"ngrokc: {home}/.ngrok:2:1: unknown key 'tunnles' in the file\n  hint: did you mean 'tunnels'?\n"
    assert capsys.readouterr().err == expected
