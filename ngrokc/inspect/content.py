"""What a body means to a person: pretty JSON, XML, form fields, the parts of a multipart, text, an image, or bytes.

Pure; runs in a worker thread on at most a few MiB. Everything comes out as text to be escaped by whoever shows it.
"""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, field
from email.parser import BytesHeaderParser
from typing import Final
from urllib.parse import parse_qsl

from ngrokc.inspect.heads import values
from ngrokc.inspect.inflate import inflate
from ngrokc.inspect.model import Half

SHOWN: Final = 512 * 1024  # characters of text: more than anybody reads, little enough for a page
READ: Final = 1024 * 1024  # bytes of a body that are looked at
HEX_SHOWN: Final = 64 * 1024
IMAGE_CAP: Final = 2 * 1024 * 1024
IMAGES: Final = frozenset(
    {"image/png", "image/jpeg", "image/gif", "image/webp", "image/bmp", "image/x-icon", "image/avif"}
)
PARTS: Final = 100
JSON_DEPTH: Final = 200

_TAGS = re.compile(r"<!\[CDATA\[.*?\]\]>|<!--.*?-->|<[^>]*>|[^<]+", re.DOTALL)


@dataclass(slots=True)
class View:
    """`kind`: json, xml, form, multipart, image, text, binary or empty. `pairs` are the fields of a form, `parts` those of a
    multipart. `note` says what is missing."""

    kind: str
    media: str
    text: str = ""
    pairs: list[tuple[str, str]] = field(default_factory=list)
    parts: list[dict[str, object]] = field(default_factory=list)
    note: str = ""
    error: str = ""
    size: int = 0

    def plain(self) -> dict[str, object]:
        return {
            "kind": self.kind,
            "media": self.media,
            "text": self.text,
            "pairs": self.pairs,
            "parts": self.parts,
            "note": self.note,
            "error": self.error,
            "size": self.size,
        }


def media_type(half: Half) -> tuple[str, dict[str, str]]:
    """The media type in lower case, and its parameters."""
    text = half.get(b"content-type").decode("latin-1")
    media, _, rest = text.partition(";")
    found = re.findall(r'([\w-]+)\s*=\s*(?:"([^"]*)"|([^;\s]*))', rest)
    return media.strip().lower(), {name.lower(): quoted or bare for name, quoted, bare in found}


def decoded(half: Half, cap: int = READ) -> tuple[bytes, str]:
    """The body without its content codings, and a note. Blocks on the disk for a spooled one."""
    raw = half.body.read(0, cap)
    note = half.body.cut and f"cut: {half.body.cut}"
    if half.body.kept > cap:
        note = f"only the first {cap >> 10} KiB are shown"
    found = inflate(raw, values(half.fields, b"content-encoding"))
    return found.data, found.note or note


def view(half: Half) -> View:
    """The body as a person wants to see it."""
    media, parameters = media_type(half)
    if not half.body.kept:
        return View("empty", media, note=half.body.cut, size=half.body.size)
    data, note = decoded(half)
    result = _judge(data, media, parameters)
    result.note = result.note or note
    result.size = half.body.size
    if len(result.text) > SHOWN:
        result.text, result.note = result.text[:SHOWN], f"only the first {SHOWN >> 10} Ki characters are shown"
    return result


def _judge(data: bytes, media: str, parameters: dict[str, str]) -> View:
    if media in IMAGES:
        return View("image", media)
    if media == "application/x-www-form-urlencoded":
        return View("form", media, text=data.decode("utf-8", "replace"), pairs=form_pairs(data))
    if media.startswith("multipart/") and parameters.get("boundary"):
        return View("multipart", media, parts=multipart(data, parameters["boundary"].encode("latin-1", "replace")))
    text = as_text(data, parameters.get("charset", ""))
    if text is None:
        return View("binary", media)
    if media.endswith(("/json", "+json")) or (not media and text.lstrip()[:1] in ("{", "[")):
        return _json(text, media)
    if media.endswith(("/xml", "+xml")):
        return View("xml", media, text=pretty_xml(text))
    return View("text", media, text=text)


def as_text(data: bytes, charset: str = "") -> str | None:
    """The text, or None for what is none: bytes that don't decode, or control bytes that no text has."""
    for name in (charset or "utf-8", "utf-8"):
        try:
            text = data.decode(name)
            break
        except (UnicodeDecodeError, LookupError, ValueError) as error:
            if isinstance(error, UnicodeDecodeError) and error.start > len(data) - 4 and error.end >= len(data):
                text = data.decode(name, "ignore")  # cut within a character
                break
    else:
        return None
    sample = text[:4096]
    odd = sum(1 for sign in sample if sign < " " and sign not in "\t\r\n\f\x1b")
    return None if odd > len(sample) // 50 else text


def _json(text: str, media: str) -> View:
    try:
        value = json.loads(text)
        return View("json", media, text=json.dumps(value, indent=2, ensure_ascii=False))
    except (json.JSONDecodeError, RecursionError) as error:
        where = f"line {error.lineno}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else "too deep"
        what = error.msg if isinstance(error, json.JSONDecodeError) else "JSON"
        lines = _json_lines(text)
        if lines is not None:
            return View("json", media, text=lines)
        return View("text", media, text=text, error=f"{what} ({where})")


def _json_lines(text: str) -> str | None:
    """Newline-delimited JSON, as many APIs stream it."""
    lines = [line for line in text.splitlines() if line.strip()]
    if not 1 < len(lines) <= 10_000:
        return None
    try:
        return "\n".join(json.dumps(json.loads(line), ensure_ascii=False) for line in lines)
    except (json.JSONDecodeError, RecursionError):
        return None


def pretty_xml(text: str) -> str:
    """Indented for reading. No parser, so no entities, no external anything, and broken XML comes out all the same."""
    depth, lines = 0, []
    for piece in _TAGS.findall(text):
        stripped = piece.strip()
        if not stripped:
            continue
        closing = stripped.startswith("</")
        if closing:
            depth = max(0, depth - 1)
        lines.append("  " * min(depth, JSON_DEPTH) + stripped)
        if stripped.startswith("<") and not closing and stripped[1:2] not in ("!", "?") and not stripped.endswith("/>"):
            depth += 1
    return "\n".join(_joined(lines))


def _joined(lines: list[str]) -> list[str]:
    """`<a>` `text` `</a>` on one line."""
    out: list[str] = []
    for line in lines:
        if len(out) > 1 and line.lstrip().startswith("</") and not out[-1].lstrip().startswith("<"):
            start = out[-2].strip()
            if start.startswith("<") and not start.startswith("</"):
                out[-2:] = [out[-2] + out[-1].strip() + line.strip()]
                continue
        out.append(line)
    return out


def form_pairs(data: bytes) -> list[tuple[str, str]]:
    try:
        return parse_qsl(data.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=1000)
    except ValueError:
        return []


def multipart(data: bytes, boundary: bytes) -> list[dict[str, object]]:
    """The parts with name, file name, type, size and, where it is short text, the value."""
    found: list[dict[str, object]] = []
    pieces = (b"\r\n" + data).split(b"\r\n--" + boundary)
    for piece in pieces[1 : PARTS + 1]:
        if piece.startswith(b"--"):
            break
        head, gap, body = piece.lstrip(b" \t").removeprefix(b"\r\n").partition(b"\r\n\r\n")
        if not gap:
            continue
        fields = BytesHeaderParser().parsebytes(head + b"\r\n\r\n")
        text = as_text(body) if len(body) <= 4096 else None
        found.append({
            "name": str(fields.get_param("name", "", "content-disposition")),
            "filename": fields.get_filename() or "",
            "media": fields.get_content_type() if "content-type" in fields else "",
            "size": len(body),
            "value": text,
        })  # fmt: skip
    return found


def hex_rows(data: bytes, start: int = 0) -> list[tuple[str, str, str]]:
    """Offset, sixteen bytes in hex, and what of them is printable ASCII."""
    rows = []
    for offset in range(0, min(len(data), HEX_SHOWN), 16):
        line = data[offset : offset + 16]
        rows.append((f"{start + offset:08x}", line.hex(" "), "".join(chr(b) if 32 <= b < 127 else "." for b in line)))
    return rows


def image(half: Half) -> tuple[str, str] | None:
    """Media type and base64 of an image that a page may show; never SVG, which is a program."""
    media, _ = media_type(half)
    if media not in IMAGES or half.body.kept > IMAGE_CAP or half.body.cut:
        return None
    data, note = decoded(half, IMAGE_CAP)
    return None if note else (media, base64.b64encode(data).decode())
