"""The command line as Go's flag package reads it, put into the form that click reads.

Pure, and knows no flag by itself. Go takes one dash or two, `-x v` or `-x=v`, and switches that may carry a value
(`-open=false`). Click wants two dashes and knows no optional values, so each argument is rewritten before it sees it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

ALIASES = {"h": "help"}


def normalise(arguments: Sequence[str], *, switches: Iterable[str], valued: Iterable[str]) -> list[str]:
    """`arguments` (without the program's name) with every flag as `--name=value` or `--name`.

    `switches` and `valued` name the program's own flags, without dashes. Behind the first word that is no flag (a command
    and what belongs to it) only the dashes are doubled; after `--` nothing is touched.
    """
    on_off, with_value = frozenset(switches), frozenset(valued)
    result: list[str] = []
    rest = list(arguments)
    in_command = False
    while rest:
        word = rest.pop(0)
        if word == "--":
            return [*result, word, *rest]
        name, equals, value = _split(word)
        if name is None:
            in_command = True
            result.append(word)
        elif equals or (in_command and name not in with_value):
            result.append(f"--{name}{equals}{value}")
        elif name in on_off:
            result.append(f"--{name}=true")
        elif name in with_value and rest:
            result.append(f"--{name}={rest.pop(0)}")  # whatever follows is the value, a leading dash too
        else:
            result.append(f"--{name}")
    return result


def _split(word: str) -> tuple[str | None, str, str]:
    """(name, "=" or "", value) of a flag; no name for a word that is none: `-`, `-5`, `file`."""
    bare = word.removeprefix("-").removeprefix("-")
    if bare == word or not bare or not (bare[0].isalpha()):
        return None, "", ""
    name, equals, value = bare.partition("=")
    return ALIASES.get(name, name), equals, value
