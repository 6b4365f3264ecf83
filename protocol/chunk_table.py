"""The grammar of what stands around the data of a chunked body, as a table: state x byte -> state (RFC 9112, 7.1).

Narrower than the RFC in one thing: no white space around ";" and "=" in extensions, where parsers disagree.
The states are numbers because the table is read once per byte; ranges of them have a meaning, see the names.
"""

from __future__ import annotations

from typing import Final

REFUSED: Final = 0
START: Final = 1  # a chunk-size must come
SIZE: Final = 2  # within its digits
SIZE_LF: Final = 3  # CR seen behind the size or its extensions
CHUNK: Final = 4  # the line is complete: data, or the trailers if the size was 0
DATA_CR: Final = 5  # behind the data
DATA_LF: Final = 6
DONE: Final = 7

EXTENSION_FIRST: Final = 10
NAME_START: Final = 10  # ";" seen
NAME: Final = 11
VALUE_START: Final = 12  # "=" seen
VALUE: Final = 13
QUOTED: Final = 14
ESCAPED: Final = 15  # backslash seen in a quoted string
QUOTED_END: Final = 16
EXTENSION_LAST: Final = 16

TRAILER_FIRST: Final = 20
TRAILER_START: Final = 20  # at the beginning of a line
TRAILER_NAME: Final = 21
TRAILER_VALUE: Final = 22
TRAILER_LF: Final = 23
END_LF: Final = 24  # CR seen at the beginning of a line

_HEX: Final = b"0123456789abcdefABCDEF"
_ALNUM: Final = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TCHAR: Final = _ALNUM + b"!#$%&'*+-.^_`|~"
_TEXT: Final = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
_QDTEXT: Final = bytes(code for code in _TEXT if code not in b'"\\')

_EDGES: Final[list[tuple[int, bytes, int]]] = [
    (START, _HEX, SIZE),
    (SIZE, _HEX, SIZE),
    (SIZE, b";", NAME_START),
    (SIZE, b"\r", SIZE_LF),
    (NAME_START, _TCHAR, NAME),
    (NAME, _TCHAR, NAME),
    (NAME, b"=", VALUE_START),
    (NAME, b";", NAME_START),
    (NAME, b"\r", SIZE_LF),
    (VALUE_START, _TCHAR, VALUE),
    (VALUE_START, b'"', QUOTED),
    (VALUE, _TCHAR, VALUE),
    (VALUE, b";", NAME_START),
    (VALUE, b"\r", SIZE_LF),
    (QUOTED, _QDTEXT, QUOTED),
    (QUOTED, b"\\", ESCAPED),
    (QUOTED, b'"', QUOTED_END),
    (ESCAPED, _TEXT, QUOTED),
    (QUOTED_END, b";", NAME_START),
    (QUOTED_END, b"\r", SIZE_LF),
    (SIZE_LF, b"\n", CHUNK),
    (DATA_CR, b"\r", DATA_LF),
    (DATA_LF, b"\n", START),
    (TRAILER_START, _TCHAR, TRAILER_NAME),
    (TRAILER_START, b"\r", END_LF),
    (TRAILER_NAME, _TCHAR, TRAILER_NAME),
    (TRAILER_NAME, b":", TRAILER_VALUE),
    (TRAILER_VALUE, _TEXT, TRAILER_VALUE),
    (TRAILER_VALUE, b"\r", TRAILER_LF),
    (TRAILER_LF, b"\n", TRAILER_START),
    (END_LF, b"\n", DONE),
]


def _compile(edges: list[tuple[int, bytes, int]]) -> tuple[bytes, ...]:
    rows = [bytearray(256) for _ in range(END_LF + 1)]
    for state, inputs, following in edges:
        for byte in inputs:
            rows[state][byte] = following
    return tuple(bytes(row) for row in rows)


TABLE: Final = _compile(_EDGES)
