"""The command line as 1.7 takes it, and more."""

import click
import pytest

from ngrokc.flags import Request, understand, usage


@pytest.mark.parametrize(
    ("line", "command", "arguments", "given"),
    [
        ("8080", "port", ("8080",), {}),
        ("-subdomain=test 8080", "port", ("8080",), {"subdomain": "test"}),
        ("-subdomain test 8080", "port", ("8080",), {"subdomain": "test"}),
        ("--subdomain=test 8080", "port", ("8080",), {"subdomain": "test"}),
        ("--subdomain test 8080", "port", ("8080",), {"subdomain": "test"}),
        ("8080 -subdomain=test", "port", ("8080",), {"subdomain": "test"}),
        ("8080 -subdomain test", "port", ("8080",), {"subdomain": "test"}),
        (
            "-config=debug.yml -log=ngrok.log start test",
            "start",
            ("test",),
            {"config": "debug.yml", "log": "ngrok.log"},
        ),
        ("start a b -log stdout", "start", ("a", "b"), {"log": "stdout"}),
        ("start-all", "start-all", (), {}),
        ("-httpauth=a:b=c 80", "port", ("80",), {"httpauth": "a:b=c"}),
        ("-subdomain= 80", "port", ("80",), {"subdomain": ""}),
        ("-hostHeader=rewrite 80", "port", ("80",), {"hostHeader": "rewrite"}),
        ("-proto tcp -remotePort=22 22", "port", ("22",), {"proto": "tcp", "remotePort": "22"}),
        ("-- 80", "port", ("80",), {}),
        ("help", "help", (), {}),
        ("-help", "help", (), {}),
        ("-h", "help", (), {}),
        ("8080 --help", "help", (), {}),
        ("version", "version", (), {}),
        ("list -config x", "list", (), {"config": "x"}),
    ],
)
def test_lines(line: str, command: str, arguments: tuple[str, ...], given: dict[str, str]) -> None:
    request = understand(line.split(" "))
    assert request == Request(command, arguments, given)


def test_defaults() -> None:
    request = understand(["80"])
    assert (request.flag("proto"), request.flag("log"), request.flag("subdomain")) == ("http+https", "none", "")


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ("", "missing"),
        ("-subdomian=x 80", "subdomain"),
        ("-log-level=LOUD 80", "no level"),
        ("80 81", "one port"),
        ("strat a", "did you mean 'start'"),
        ("start", "needs the name"),
        ("list x", "takes nothing"),
        ("-subdomain=x start a", "only for `ngrokc PORT`"),
        ("-subdomain", "argument"),
    ],
)
def test_mistakes(line: str, word: str) -> None:
    with pytest.raises(click.UsageError) as caught:
        understand(line.split(" ") if line else [])
    assert word in caught.value.format_message()


def test_usage_names_every_flag() -> None:
    text = usage()
    for name in ("config", "authtoken", "pin", "inspectAddr", "log-level"):
        assert f"-{name}=" in text
    assert max(map(len, text.splitlines())) <= 110
