"""Keeping the token in the configuration file without touching anything else in it.

1.7 re-marshals the whole file: comments, order and unknown keys are lost. Here the one scalar is replaced in the text, at
the place where the YAML parser found it, or one line is added. The result is parsed again before it is written.
"""

from __future__ import annotations

import re
from pathlib import Path

from ngrokc.yaml_nodes import MAX_FILE, Table, parse
from protocol.errors import ConfigError
from protocol.link.files import read_capped, write_atomic
from protocol.secret import Secret

KEY = "auth_token"
OLD_FORMAT = re.compile(r"[A-Za-z0-9_!-]+\Z")  # 1.7: a file that is nothing but such a word is the token


def old_format_token(text: str) -> str | None:
    """The token of a file in the oldest format, which holds nothing else. A bare `---` is an empty document."""
    word = text.strip()
    return word if OLD_FORMAT.match(word) and word.strip("-") else None


def with_token(text: str, token: str) -> str:
    """`text` with the token in it; unchanged when it is there already. Raises ConfigError when the file can't be read as
    a configuration."""
    if not re.fullmatch(r"[A-Za-z0-9_!.~+/=-]+", token):
        raise ConfigError("the token has characters that no token has")
    line = f"{KEY}: {_scalar(token)}\n"
    if old_format_token(text) is not None:
        return line
    table = parse(text, "")
    if isinstance(table, str):
        raise ConfigError("the file holds one word and no keys")
    changed = _edit(text, table, token, line)
    again = parse(changed, "")
    if isinstance(again, str) or {*again} != {*table, KEY} or again.value(KEY, KEY).text() != token:
        raise ConfigError("the file can't be changed without changing its meaning")
    return changed


def save_token(path: Path, token: Secret) -> bool:
    """Write the token into the file at `path` (made if it is missing), atomically and readable by its owner alone. False
    when it was there already. Blocks; raises OSError or ConfigError, then the file is as it was."""
    raw = read_capped(path, MAX_FILE)
    text = raw.decode() if raw is not None else ""
    changed = with_token(text, token.reveal())
    if changed == text:
        return False
    write_atomic(path, changed.encode())
    return True


def _edit(text: str, table: Table, token: str, line: str) -> str:
    if KEY in table:
        value = table.value(KEY, KEY)
        if not value.null and value.text() == token:
            return text
        start: int = value.node.start_mark.index
        end: int = value.node.end_mark.index
        if value.null:  # its mark may stand lines below; the place is behind the key's colon
            key_end = table.key(KEY).node.end_mark.index
            start = text.index(":", key_end) + 1
            end = max(start, end) if text[start:end].strip() else start
        gap = "" if start and text[start - 1] in " \t" else " "
        return text[:start] + gap + _scalar(token) + text[end:]
    if table.node is None:  # nothing but comments
        return f"{text}{'' if not text or text.endswith(chr(10)) else chr(10)}{line}"
    first: int = table.node.start_mark.index
    if table.node.flow_style:
        return f"{text[: first + 1]}{KEY}: {_scalar(token)}{', ' if len(table) else ''}{text[first + 1 :]}"
    return text[:first] + line + " " * int(table.node.start_mark.column) + text[first:]


def _scalar(token: str) -> str:
    """Plain where YAML reads it as the same text everywhere, quoted where it might take it for a number or a null."""
    return token if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{7,}", token) else f'"{token}"'
