"""Strict JSON for frames: what Go's encoding/json takes, and nothing that could hurt the reader.

One object in, a plain dict out; every failure is a WireError. Knows nothing of messages and their fields.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from json.encoder import encode_basestring
from typing import NoReturn

from protocol.errors import WireError

MAX_DEPTH = 32  # our messages need three levels; the rest is room for options
MAX_CONTAINERS = 4096  # objects and lists in one frame: building a megabyte of them holds up the loop for long
_SQUARE = bytes.maketrans(b"{}", b"[]")
_NO_BRACKET = bytes(code for code in range(256) if code not in b"[]{}")
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"

quote: Callable[[str], str] = encode_basestring
"""One string as a JSON literal, quotes included; what is not ASCII stays as it is."""


def _refuse_constant(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


def _plain(value: object) -> dict[object, object]:
    if isinstance(value, Mapping):  # a frozen view of a dict, say
        return dict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


# Frozen after import; one instance, because building one costs more than a short message.
_DECODE = json.JSONDecoder(parse_constant=_refuse_constant).decode
_ENCODE = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain).encode


def parse_object(body: bytes) -> dict[str, object]:
    """The one JSON object that `body` is (white space around it allowed), with Go's leniency and no more:

    the last of duplicate keys wins; bytes that are not UTF-8 inside strings, and lone surrogates, become U+FFFD.
    A byte order mark, NaN, Infinity, anything after the object, control characters in strings, numbers of thousands of
    digits, more than MAX_DEPTH levels and more than MAX_CONTAINERS objects and lists raise WireError.
    """
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        _check_nesting(body)  # the count is an upper bound, so short messages never pay for the exact one
    text = body.decode("utf-8", "replace")
    try:
        value = _DECODE(text)
    except (ValueError, RecursionError, MemoryError):  # the parser's own words would repeat what the peer sent
        raise WireError("bad_json", "the frame is not one JSON object") from None
    if type(value) is not dict:
        raise WireError("bad_json", "the frame is not one JSON object")
    if "\\u" in text:
        value = _without_surrogates(value)
        assert isinstance(value, dict)
    return value


def _check_nesting(body: bytes) -> None:
    """Raise WireError for brackets outside strings that nest too deep or are too many (or do not match: no JSON either).

    A megabyte of brackets must not hold up the loop, so all the work is done by bytes methods: what remains of the text is
    brackets of one kind, and each round takes away the innermost pairs, one level.
    """
    unescaped = body.replace(b"\\\\", b"").replace(b'\\"', b"")
    outside = b"".join(unescaped.split(b'"')[::2])
    brackets = outside.translate(_SQUARE, _NO_BRACKET)
    if len(brackets) > 2 * MAX_CONTAINERS:
        raise WireError("bad_json", "the frame has too many objects and lists")
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"[]", b"")
    if brackets:
        raise WireError("bad_json", "the frame nests too deep")


def _without_surrogates(value: object) -> object:
    """The value with lone surrogates replaced, keys included. Recursion is bounded by MAX_DEPTH."""
    if type(value) is str:
        return clean_text(value)
    if type(value) is list:
        return [_without_surrogates(item) for item in value]
    if type(value) is dict:
        return {clean_text(key): _without_surrogates(item) for key, item in value.items()}
    return value


def clean_text(text: str) -> str:
    """The text with each lone surrogate replaced by U+FFFD, so that it can always be encoded."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(_REPLACEMENT if "\ud800" <= letter <= "\udfff" else letter for letter in text)
    return text


def dump(value: object) -> str:
    """Compact JSON. Raises ValueError or TypeError for what JSON cannot say: that is our own mistake, not a peer's."""
    return _ENCODE(value)


def as_go_writes(text: str) -> bytes:
    """The bytes of a JSON text as Go's encoder would leave them: `<`, `>`, `&`, U+2028 and U+2029 escaped.

    All five can only stand inside strings, so replacing them in the whole text is safe.
    """
    if "<" in text or ">" in text or "&" in text:
        text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    if not text.isascii():
        text = clean_text(text).replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    return text.encode()
