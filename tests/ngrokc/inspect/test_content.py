from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ngrokc.inspect.body import Body
from ngrokc.inspect.content import View, as_text, hex_rows, image, multipart, pretty_xml, view
from ngrokc.inspect.model import Half
from ngrokc.inspect.settings import Limits
from tests.kit.inspection import Bench


def half(data: bytes, kind: str = "", coding: str = "", bench: Bench | None = None) -> Half:
    body = Body((bench or Bench()).store.vault)
    body.add(data)
    fields = [(b"Content-Type", kind.encode())] if kind else []
    fields += [(b"Content-Encoding", coding.encode())] if coding else []
    return Half(b"", (b"HTTP/1.1", b"200", b"OK"), body, fields)


def seen(data: bytes, kind: str = "", coding: str = "") -> View:
    return view(half(data, kind, coding))


def test_json() -> None:
    found = seen(gzip.compress(b'{"a":[1,"\xc3\xbc"]}'), "application/problem+json; charset=utf-8", "gzip")
    assert (found.kind, found.text) == ("json", '{\n  "a": [\n    1,\n    "ü"\n  ]\n}')
    assert seen(b'{"guessed": 1}').kind == "json"
    lines = seen(b'{"a":1}\n{"b":2}\n', "application/json")
    assert (lines.kind, lines.text) == ("json", '{"a": 1}\n{"b": 2}')
    broken = seen(b'{"a":\n x}', "application/json")
    assert (broken.kind, broken.error) == ("text", "Expecting value (line 2, column 2)")
    assert seen(b"[" * 50_000, "application/json").error


def test_xml_is_only_indented() -> None:
    assert pretty_xml("<a><b>t</b><c/><!--x--></a>") == "<a>\n  <b>t</b>\n  <c/>\n  <!--x-->\n</a>"
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa">]><x>&a;</x>'
    assert "&a;" in seen(bomb.encode(), "application/xml").text


def test_forms_and_parts() -> None:
    form = seen(b"a=1&b=two+words&c=%3Cx%3E&d", "application/x-www-form-urlencoded")
    assert form.pairs == [("a", "1"), ("b", "two words"), ("c", "<x>"), ("d", "")]
    data = (
        b'--B\r\nContent-Disposition: form-data; name="t"\r\n\r\nvalue\r\n'
        b'--B\r\nContent-Disposition: form-data; name="f"; filename="a.bin"\r\nContent-Type: x/y\r\n\r\n\x00\xff\r\n--B--\r\n'
    )
    text, file = seen(data, 'multipart/form-data; boundary="B"').parts
    assert (text["name"], text["value"], text["filename"]) == ("t", "value", "")
    assert (file["filename"], file["media"], file["size"], file["value"]) == ("a.bin", "x/y", 2, None)


def test_images_but_never_svg() -> None:
    assert image(half(b"\x89PNG", "image/png")) == ("image/png", "iVBORw==")
    assert image(half(b"<svg/>", "image/svg+xml")) is None
    assert seen(b"<svg/>", "image/svg+xml").kind == "xml"
    assert image(half(b"x" * 100, "image/png", bench=Bench(Limits(body_memory=10, body_total=20)))) is None


def test_text_and_bytes() -> None:
    assert as_text("ü".encode("latin-1"), "latin-1") == "ü"
    assert as_text("aü".encode()[:-1]) == "a"
    assert as_text(b"a\xff b c d e f") is None
    assert as_text(bytes(100)) is None
    assert as_text(b"x", "no-such-charset") == "x"
    assert seen(b"\x00\x01").kind == "binary"
    assert seen(b"").kind == "empty"
    assert hex_rows(b"AB\x00", 16) == [("00000010", "41 42 00", "AB.")]
    assert "only the first" in seen(b"x" * 600_000, "text/plain").note


@given(
    st.binary(max_size=300),
    st.sampled_from(
        [
            "",
            "application/json",
            "text/xml",
            "application/x-www-form-urlencoded",
            "multipart/x; boundary=a",
            "text/plain; charset=x",
        ]
    ),
    st.sampled_from(["", "gzip", "br, zstd"]),
)
def test_any_bytes(data: bytes, kind: str, coding: str) -> None:
    json.dumps(seen(data, kind, coding).plain())
    multipart(data, b"a")


@pytest.mark.parametrize("size", [10, 200_000])
def test_spooled_bodies_are_read_back(tmp_path: Path, size: int) -> None:
    bench = Bench(parent=tmp_path)
    found = view(half(b"x" * size, "text/plain", bench=bench))
    assert len(found.text) == size
    bench.close()
