"""The grammar of HTTP/1 heads as named pieces (RFC 9110 and 9112), and the pattern that reads a whole head at once.

A head is matched by one regular expression which is also its only validator. Three habits keep it linear for hostile
input and right on every CPython since 3.11.0 (possessive *groups* match wrongly before 3.11.5):

- a possessive quantifier stands behind a single character class only;
- of the alternatives for one field line at most one can match it, so giving up never multiplies;
- what is rare (hop-by-hop fields, names that shadow ours) is not taken apart here: the match only says that it is there.

Knows what bytes may stand where, nothing of what they mean.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from protocol.errors import HttpError

# The caps of the edge. 16 KiB and 64 KiB are what large cookies and signed URLs need at most; common servers stop at 8 KiB
# for a line and at 16 to 64 KiB for a head, so whatever a service takes, we pass. 200 fields: twice what nginx and Go pass
# in practice.
LINE_CAP: Final = 16 * 1024
HEAD_CAP: Final = 64 * 1024
FIELD_CAP: Final = 200

TCHAR: Final = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]"  # RFC 9110, 5.6.2: what names and methods are made of
PLAIN: Final = r"[0-9A-Za-z\-]"  # what field names are made of in practice
ODD: Final = r"[!#$%&'*+.^_`|~]"  # the rest of TCHAR: CGI-like services read these as "-" or "_"
VALUE: Final = r"[\t\x20-\x7e\x80-\xff]*+"  # RFC 9110, 5.5, surrounding white space included
OWS: Final = r"[ \t]*+"
TARGET: Final = r"[!-\"$-~\x80-\xff]++"  # visible ASCII but "#", and raw UTF-8, which is looked at when it is there
HOST_TEXT: Final = r"[0-9A-Za-z._\-]*+"  # a name without its port; anything else goes the slow way

REQUEST_LINE: Final = rf"({TCHAR}++) ({TARGET}) HTTP/1\.([01])\r\n"
# Many servers leave out an empty reason and its space. h11 takes that too.
STATUS_LINE: Final = r"HTTP/1\.([01]) ([1-9][0-9][0-9])(?: ([\t\x20-\x7e\x80-\xff]*+))?\r\n"

FIELD: Final = re.compile(rf"({TCHAR}++):[ \t]*+({VALUE})\r\n".encode())
TOKEN: Final = re.compile(rf"{TCHAR}++".encode())


def head_pattern(
    line: str, *, once: Mapping[str, str], often: Sequence[str] = (), rare: Sequence[str], name: str
) -> re.Pattern[bytes]:
    """The pattern of a whole head: an optional CRLF before it, `line` (with three groups), the fields, the empty line.

    `once`: names that may come once, each with the pattern of its value (two groups). `often`: names whose last value is
    captured, in the second of two groups; the first is set when the name came more than once. `rare`: how the names
    begin that only have to be noticed: the last group is set. `name`: the characters of ordinary names; a name with
    any other character is noticed too. All names in lower case; matching them ignores case.
    Groups: 1-3 of the line, then two for each of `once`, two for each of `often`, and the last.
    """
    known = [f"{special}:" for special in (*once, *often)]
    fields = [rf"{_ordinary_start([*known, *rare], name)}{name}*+:{VALUE}\r\n"]
    group = 4
    for special, value in once.items():
        fields.append(rf"(?i:{special}):(?({group})(?!)){OWS}{value}\r\n")  # (?!) never matches: a second one
        group += 2
    for special in often:
        fields.append(rf"(?i:{special}):(?({group + 1})()){OWS}({VALUE})\r\n")
        group += 2
    fields.append(rf"(?=(?i:{'|'.join(rare)})|{name}*+{ODD})({TCHAR}){TCHAR}*+:{VALUE}\r\n")
    return re.compile(rf"(?:\r\n)?{line}(?:{'|'.join(fields)}){{0,{FIELD_CAP}}}\r\n".encode("latin-1"))


def _ordinary_start(special: Sequence[str], name: str) -> str:
    """The first character of a name which is none of `special` (beginnings of names). One look for most letters."""
    allowed = re.compile(name)
    initials = sorted({start[0] for start in special})
    free = [char for char in map(chr, range(128)) if allowed.fullmatch(char) and char.lower() not in initials]
    branches = [f"[{re.escape(''.join(free))}]"]
    for initial in initials:
        rests = "|".join(start[1:] for start in special if start[0] == initial)
        branches.append(f"[{initial.upper()}{initial}](?!(?i:{rests}))")
    return f"(?:{'|'.join(branches)})"


# What can stand in no head, wherever it was cut: line ends other than CRLF, and NUL.
_HOPELESS: Final = re.compile(rb"(?<!\r)\n|\r[^\n]|\x00")
LENGTH_DIGITS: Final = 18  # below 2**63, whatever a service counts in


def head_end(buf: bytes | bytearray, start: int = 0, seen: int = 0) -> int:
    """The index just behind the head that begins at `start`, its empty line included; -1: not all there yet.

    `seen`: the length of `buf` at the last call for this head, so that no byte is searched twice. Raises HttpError as
    soon as more bytes cannot make a good head of it: 414, 431, or 400 for line ends that aren't CRLF.
    """
    end = buf.find(b"\r\n\r\n", max(start, seen - 3))
    if 0 <= end <= start + HEAD_CAP - 4:
        return end + 4
    size = len(buf) - start
    if size > LINE_CAP + 2 and buf.find(b"\r\n", start + 2, start + LINE_CAP + 4) < 0:
        raise HttpError(414, "uri_too_long", "request line too long")
    if end >= 0 or size >= HEAD_CAP:
        raise HttpError(431, "head_too_large", "head too large")
    if _HOPELESS.search(buf, max(start, seen - 1)):
        raise HttpError(400, "bad_request", "malformed head")
    return -1


def complaint(raw: bytes) -> HttpError:
    """Why a request's head did not match."""
    line, _, rest = raw.removeprefix(b"\r\n").partition(b"\r\n")
    if len(line) > LINE_CAP:
        return HttpError(414, "uri_too_long", "request line too long")
    if len(raw) > HEAD_CAP:
        return HttpError(431, "head_too_large", "head too large")
    if rest.count(b"\r\n") > FIELD_CAP + 1:
        return HttpError(431, "head_too_large", "too many fields")
    return HttpError(400, "bad_request", "malformed head")


def content_length(digits: bytes, rest: bytes) -> int:
    """The number of a Content-Length field: digits only, no padding zeros, and what follows them is white space."""
    if not digits or rest.strip(b" \t") or len(digits) > LENGTH_DIGITS or (digits[0] == 0x30 and len(digits) > 1):
        raise HttpError(400, "bad_request", "malformed Content-Length")
    return int(digits)
