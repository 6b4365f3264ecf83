"""Secrets in heads, hidden until asked for: what may be shown, exported and copied by default. Pure.

Names stay, values go: of cookies the names remain, of Authorization the scheme. Bodies are not searched: nobody can tell
a token from a word in them.
"""

from __future__ import annotations

import re

from ngrokc.inspect.heads import Fields

MASK = b"********"

_SECRET = re.compile(
    rb"authorization|(?:.*[-_])?(?:token|secret|password|passwd|api[-_]?key|apikey|session[-_]?id|csrf|signature)"
    rb"|(?:.*[-_])?(?:auth|jwt|credential|credentials)\Z",
    re.IGNORECASE,
)
_QUERY = re.compile(
    r"(?<=[?&;])([^=&#;]*(?:token|secret|password|passwd|api[-_]?key|apikey|signature|(?<![a-z])(?:sig|auth|key|jwt|code))=)[^&#;]*",
    re.IGNORECASE,
)
_COOKIE_PAIR = re.compile(rb"([^=;\s]+)=([^;]*)")


def is_secret(name: bytes) -> bool:
    """Whether a field of that name is masked as a whole."""
    low = name.lower()
    return low in (b"cookie", b"set-cookie", b"proxy-authorization") or _SECRET.fullmatch(low) is not None


def mask_value(name: bytes, value: bytes) -> bytes:
    """The value as it may be shown."""
    low = name.lower()
    if not is_secret(low):
        return mask_target(value) if low in (b"referer", b"location") else value
    if low == b"cookie":
        return _COOKIE_PAIR.sub(rb"\1=" + MASK, value)
    if low == b"set-cookie":
        first, semicolon, rest = value.partition(b";")
        return _COOKIE_PAIR.sub(rb"\1=" + MASK, first) + semicolon + rest
    scheme, space, _ = value.partition(b" ")
    if low.endswith(b"authorization") and space and scheme.isalpha():
        return scheme + b" " + MASK
    return MASK


def mask_fields(fields: Fields) -> Fields:
    return [(name, mask_value(name, value)) for name, value in fields]


def mask_target(target: bytes) -> bytes:
    """A request target, path and all, without the secrets of its query."""
    if b"?" not in target and b";" not in target:
        return target
    return mask_text_target(target.decode("latin-1")).encode("latin-1")


def mask_text_target(target: str) -> str:
    return _QUERY.sub(r"\1" + MASK.decode(), target)


def mask_head(raw: bytes) -> bytes:
    """A head as received, each line judged by itself; a folded line of a secret field goes too."""
    lines = raw.split(b"\n")
    words = lines[0].split(b" ")
    if len(words) > 2:
        lines[0] = b" ".join([words[0], mask_target(words[1]), *words[2:]])
    hidden = False
    for number, line in enumerate(lines[1:], 1):
        if line[:1] in (b" ", b"\t"):
            lines[number] = b" " + MASK + b"\r" if hidden else line
            continue
        name, colon, value = line.partition(b":")
        hidden = bool(colon) and is_secret(name)
        if colon:
            clean = value.strip()
            masked = mask_value(name, clean)
            if masked != clean:
                end = b"\r" if line.endswith(b"\r") else b""
                lines[number] = name + b": " + masked + end
    return b"\n".join(lines)
