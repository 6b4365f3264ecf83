"""Reading YAML as ngrok 1.7 does: from the node tree, where each scalar still has the text that was typed.

Loaded values would turn `0123` into 83, `yes` into True and `1e3` into 1000.0 before anybody asks for a string; 1.7 keeps
the text for a string field. Here the field decides. Everything that is wrong raises ConfigError with file, line, column
and, where one can be guessed, a hint. This module knows YAML and no key of ours.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Any, NoReturn, Protocol

from protocol.errors import ConfigError

MAX_DIGITS = 20  # a 64-bit number with its sign; beyond that int() has limits of its own
MAX_FILE = 1 << 20  # bytes: a configuration is a few KiB; this is somebody's log file
_CORE = "tag:yaml.org,2002:"
_SCALARS = frozenset({"str", "int", "float", "bool", "null", "timestamp", "value"})
_TRUE = frozenset({"y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "true", "True", "TRUE"})
_FALSE = frozenset({"n", "N", "no", "No", "NO", "off", "Off", "OFF", "false", "False", "FALSE"})
_INT = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]+|0|[1-9][0-9]*)\Z")


class Node(Protocol):
    """What we use of ruamel's nodes: `id` is scalar, sequence or mapping; marks count from 0."""

    id: str
    tag: str
    value: Any
    flow_style: bool
    start_mark: Any
    end_mark: Any


def fail(file: str, node: Node | None, message: str, hint: str = "") -> NoReturn:
    """Raise ConfigError at the node's place (line and column count from 1; 0 when the place is not known)."""
    mark = node.start_mark if node is not None else None
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
    raise ConfigError(message, hint=hint, file=file, line=line, column=column)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The hint for a misspelt word; empty when nothing is near."""
    choices = sorted(known)
    near = difflib.get_close_matches(word, choices, n=1, cutoff=0.6)
    squeezed = {choice.replace("_", "").replace("-", "").lower(): choice for choice in choices}
    same = squeezed.get(word.replace("_", "").replace("-", "").lower())
    guess = same or (near[0] if near else "")
    return f"did you mean {guess!r}?" if guess else ""


class Item:
    """One value with its place. The asker says what it must be."""

    __slots__ = ("file", "node", "what")

    def __init__(self, file: str, node: Node, what: str) -> None:
        """`what` names the value in errors, for example `remote_port of tunnel "ssh"`."""
        self.file = file
        self.node = node
        self.what = what

    def fail(self, message: str, hint: str = "") -> NoReturn:
        fail(self.file, self.node, f"{self.what}: {message}", hint)

    @property
    def null(self) -> bool:
        """Nothing was typed (or `~`, or `null`): as in 1.7 the same as if the key were not there."""
        return self.node.tag == _CORE + "null" and not self.quoted

    @property
    def quoted(self) -> bool:
        return getattr(self.node, "style", None) in ("'", '"', "|", ">")

    @property
    def is_table(self) -> bool:
        return self.node.id == "mapping"

    def _scalar(self, wanted: str) -> str:
        if self.node.id != "scalar":
            self.fail(f"must be {wanted}, not a {'list' if self.node.id == 'sequence' else 'table'}")
        if self.node.tag.removeprefix(_CORE) not in _SCALARS:
            self.fail("has a tag that means nothing here", "write the plain value")
        return str(self.node.value)

    def text(self) -> str:
        """The scalar as it was typed, without quotes; empty for null."""
        value = self._scalar("text")
        return "" if self.null else value

    def boolean(self) -> bool:
        value = self._scalar("true or false")
        if not self.quoted and value in _TRUE:
            return True
        if not self.quoted and value in _FALSE:
            return False
        bare = value in _TRUE or value in _FALSE
        return self.fail("must be true or false", "take the quotes away" if bare else "")

    def integer(self, low: int, high: int) -> int:
        """A whole number from `low` to `high`; hexadecimal, octal and underscores as 1.7 reads them."""
        value = self._scalar("a number")
        digits = value.replace("_", "")
        if self.quoted or len(digits) > MAX_DIGITS or not _INT.match(digits):
            bare = self.quoted and _INT.match(digits)
            self.fail("must be a number", "take the quotes away" if bare else "")
        number = _go_int(digits)
        if not low <= number <= high:
            self.fail(f"must be from {low} to {high}, not {number}")
        return number

    def choice(self, known: Iterable[str]) -> str:
        options = list(known)
        value = self.text()
        if value not in options:
            self.fail(f"must be one of {', '.join(options)}", did_you_mean(value, options))
        return value

    def items(self) -> list[Item]:
        """The members of a list; a single scalar is a list of one; null is empty."""
        if self.node.id == "sequence":
            return [Item(self.file, node, self.what) for node in self.node.value]
        if self.node.id == "mapping":
            self.fail("must be a list, not a table")
        return [] if self.null else [self]

    def table(self) -> Table:
        """The mapping; null is an empty one."""
        if self.null:
            return Table(self.file, None, self.what)
        if self.node.id != "mapping":
            self.fail("must be a table (key: value), not " + ("a list" if self.node.id == "sequence" else "a value"))
        return Table(self.file, self.node, self.what)


class Table:
    """A mapping whose keys are known to be texts and to differ. Merge keys (`<<`) are resolved."""

    __slots__ = ("_entries", "file", "node", "what")

    def __init__(self, file: str, node: Node | None, what: str) -> None:
        """`node` is the mapping, None stands for an empty one. Raises ConfigError for keys that can't be."""
        self.file = file
        self.node = node
        self.what = what
        self._entries = {} if node is None else _entries(file, node, frozenset())

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def only(self, known: Iterable[str], *, hints: dict[str, str] | None = None) -> None:
        """Raise ConfigError for the first key that is not in `known`; `hints` has answers to the well-known mistakes."""
        names = list(known)
        for key, (node, _value) in self._entries.items():
            if key not in names:
                hint = (hints or {}).get(key) or did_you_mean(key, names)
                fail(self.file, node, f"unknown key {key!r} in {self.what}", hint)

    def get(self, key: str) -> Item | None:
        """The value, or None when the key is missing or its value is null."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        item = Item(self.file, entry[1], f"{key} of {self.what}" if self.what != "the file" else key)
        return None if item.null else item

    def value(self, key: str, what: str) -> Item:
        """The value of a key that exists, null too, under another name for errors."""
        return Item(self.file, self._entries[key][1], what)

    def key(self, key: str) -> Item:
        """The key itself, for errors about it."""
        return Item(self.file, self._entries[key][0], repr(key))


def parse(text: str, file: str) -> Table | str:
    """The top table of a document. A document that is one bare scalar comes back as its text. Raises ConfigError."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    if len(text) > MAX_FILE:
        raise ConfigError(f"larger than {MAX_FILE >> 20} MiB", hint="is this the configuration?", file=file)
    try:
        node: Node | None = YAML(typ="rt", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (0, 0)
        hint = "YAML indents with spaces, not tabs" if "\\t" in str(error.problem) else ""
        raise ConfigError(f"not YAML: {error.problem}", hint=hint, file=file, line=line, column=column) from error
    except (YAMLError, RecursionError, ValueError) as error:
        raise ConfigError("not YAML: a character or nesting that no YAML has", file=file) from error
    if node is None:
        return Table(file, None, "the file")
    item = Item(file, node, "the file")
    if node.id == "scalar" and not item.null:
        return item.text()
    return item.table()


def _entries(file: str, node: Node, above: frozenset[int]) -> dict[str, tuple[Node, Node]]:
    """Keys and values of a mapping node. What a merge key brings yields to what stands in the mapping itself."""
    own: dict[str, tuple[Node, Node]] = {}
    merged: dict[str, tuple[Node, Node]] = {}
    for key, value in node.value:
        if key.id != "scalar":
            fail(file, key, "a key must be a plain word")
        if key.tag == _CORE + "merge":
            for source in value.value if value.id == "sequence" else [value]:
                if source.id != "mapping" or id(source) in above or source is node:
                    fail(file, key, "'<<' must name another table")
                found = _entries(file, source, above | {id(node)})
                merged = {**found, **merged}
            continue
        name = str(key.value)
        if name in own:
            first = own[name][0].start_mark
            fail(file, key, f"{name!r} stands here twice", f"it was first in line {first.line + 1}" if first else "")
        own[name] = (key, value)
    return {**merged, **own}


def _go_int(digits: str) -> int:
    """Base prefixes as Go's base 0: a leading zero means octal."""
    sign = -1 if digits.startswith("-") else 1
    digits = digits.lstrip("+-").lower()
    if digits.startswith(("0x", "0b", "0o")):
        return sign * int(digits, 0)
    if digits.startswith("0"):
        return sign * int(digits, 8)
    return sign * int(digits)
