"""Two answers side by side: what changed, line by line. Pure; runs in a worker thread on capped text."""

from __future__ import annotations

import difflib
from typing import Final

from ngrokc.inspect.content import view
from ngrokc.inspect.mask import mask_fields
from ngrokc.inspect.model import Exchange, Half

LINES: Final = 4000  # of each side: the comparing grows with their product
CONTEXT: Final = 3
VARYING: Final = frozenset({b"date"})

Row = tuple[str, str]  # "=", "-", "+" or "@", and the line


def diff(old: Exchange, new: Exchange, *, reveal: bool) -> dict[str, object]:
    """Status, times, head and body. Blocks on the disk for spooled bodies."""
    head = _rows(_head(old.answer, reveal), _head(new.answer, reveal))
    before, after = _body(old.answer), _body(new.answer)
    return {
        "old": {"id": old.id, "status": old.status, "seconds": _seconds(old)},
        "new": {"id": new.id, "status": new.status, "seconds": _seconds(new)},
        "head": head,
        "body": _rows(before, after),
        "same": old.status == new.status and before == after,
    }


def _seconds(exchange: Exchange) -> float | None:
    return None if exchange.ended_at is None else exchange.ended_at - exchange.started_at


def _head(half: Half | None, reveal: bool) -> list[str]:
    if half is None:
        return ["(no answer)"]
    fields = half.fields if reveal else mask_fields(half.fields)
    line = b" ".join(half.start).decode("utf-8", "replace")
    shown = [(name + b": " + value).decode("utf-8", "replace") for name, value in fields if name.lower() not in VARYING]
    return [line, *shown]


def _body(half: Half | None) -> list[str]:
    if half is None:
        return []
    seen = view(half)
    if seen.kind in ("binary", "image"):
        return half.body.read(0, 64 * 1024).hex(" ", 1).upper().split(" 0A ")[:LINES]
    if seen.kind == "multipart":
        return [str(part) for part in seen.parts]
    return seen.text.splitlines()[:LINES]


def _rows(old: list[str], new: list[str]) -> list[Row]:
    matcher = difflib.SequenceMatcher(None, old, new, autojunk=True)
    rows: list[Row] = []
    for group in matcher.get_grouped_opcodes(CONTEXT):
        if rows:
            rows.append(("@", ""))
        for tag, a, b, c, d in group:
            if tag == "equal":
                rows += [("=", line) for line in old[a:b]]
                continue
            rows += [("-", line) for line in old[a:b]]
            rows += [("+", line) for line in new[c:d]]
    if not rows and old == new:
        rows = [("=", line) for line in old[:200]]
    return rows
