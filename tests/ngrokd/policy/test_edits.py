"""Header edits out of untrusted options: no line of their own, no framing, nothing of ours (D-C6)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngrokd.policy.edits import EDITS_MAX, VALUE_CAP, Edits, bad_option, compile_edits, shown
from protocol.errors import Blame, Fault
from protocol.fields import HOP_BY_HOP


def test_add_set_and_remove() -> None:
    edits = compile_edits(
        "request_headers",
        {"add": {"X-A": "1", "X-B": ["2", "3"]}, "set": {"Cookie": "ä"}, "remove": ["User-Agent", "X-C"]},
    )
    assert edits.drop == {b"cookie", b"user-agent", b"x-c"}
    assert edits.added == "Cookie: ä\r\nX-A: 1\r\nX-B: 2\r\nX-B: 3\r\n".encode()
    assert compile_edits("o", {}) == Edits()
    assert not compile_edits("o", {"add": {}, "remove": []})


def refused(value: object) -> Fault:
    with pytest.raises(Fault) as caught:
        compile_edits("request_headers", value)
    assert caught.value.code == "bad_option"
    assert caught.value.blame is Blame.AGENT
    assert "request_headers" in caught.value.message
    assert caught.value.message.isprintable()
    return caught.value


@pytest.mark.parametrize("verb", ["add", "set", "remove"])
@pytest.mark.parametrize(
    "name",
    [
        *(
            "Host",
            "host",
            "HOST",
            "Content-Length",
            "Transfer-Encoding",
            "Connection",
            "TE",
            "Trailer",
            "Upgrade",
            "Keep-Alive",
        ),
        *(
            "Proxy-Connection",
            "Proxy-Authorization",
            "HTTP2-Settings",
            "X-Forwarded-For",
            "x-forwarded-proto",
            "Forwarded",
        ),
        *(
            "X-Forwarded-Anything",
            "X-Real-IP",
            "X_Forwarded_For",
            "Content_Length",
            "Transfer.Encoding",
            "Ngrok-Error-Code",
        ),
        *("", " ", "A:", "A B", "A\r\nB", "A\x00", "ä", "\udc80", "A" * 257, 5, None, b"A"),
    ],
)
def test_names_that_are_not_free(verb: str, name: object) -> None:
    refused({verb: [name] if verb == "remove" else {name: "x"}})


@pytest.mark.parametrize("verb", ["add", "set"])
@pytest.mark.parametrize(
    "value",
    [
        *(
            "a\r\nB: c",
            "a\rb",
            "a\nb",
            "\n",
            "a\x00b",
            "\x1b[31m",
            "\x7f",
            "a\x0bb",
            " a",
            "a ",
            "\ta",
            "a\t",
            "\udc80",
        ),
        *("a" * (VALUE_CAP + 1), 5, None, True, {}, ["a", 5], ["a\n"], b"a"),
    ],
)
def test_values_that_break_out(verb: str, value: object) -> None:
    refused({verb: {"X-A": value}})


@pytest.mark.parametrize(
    "value",
    [None, [], "a", 5, {"append": {}}, {"add": []}, {"add": "a"}, {"set": None}, {"remove": {}}, {"remove": "Cookie"}],
)
def test_shapes(value: object) -> None:
    refused(value)


def test_caps() -> None:
    assert len(compile_edits("o", {"remove": [f"X-{n}" for n in range(EDITS_MAX)]}).drop) == EDITS_MAX
    refused({"remove": [f"X-{n}" for n in range(EDITS_MAX + 1)]})
    refused({"add": {"X-A": ["a"] * (EDITS_MAX + 1)}})
    refused({"add": {f"X-{n}": "a" * VALUE_CAP for n in range(3)}})
    assert compile_edits("o", {"add": {"X-A": "a" * VALUE_CAP}})


def test_messages() -> None:
    assert "use host_header" in refused({"set": {"Host": "a"}}).message
    assert shown("\x1b" * 100).endswith("...")
    assert len(shown("\x1b" * 100)) == 60
    assert bad_option("a", "b").message == "option a: b"


@given(st.dictionaries(st.text(max_size=12), st.text(max_size=20), max_size=4))
def test_whatever_is_accepted_is_safe(pairs: dict[str, str]) -> None:
    try:
        edits = compile_edits("o", {"set": pairs})
    except Fault:
        return
    lines = edits.added.split(b"\r\n")
    assert len(lines) == len(pairs) + 1
    assert not edits.drop & HOP_BY_HOP
    assert b"\n" not in edits.added.replace(b"\r\n", b"")
