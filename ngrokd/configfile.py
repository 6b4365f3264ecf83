"""The configuration file of ngrokd: YAML with the flags' names as keys. Texts in, texts out; what they mean is `settings`'.

    domain: example.me
    httpAddr: ":80"
    tlsCrt: /etc/ngrokd/example.me.pem

A value is taken as it was typed (`0123` stays that), so the same words mean the same on the command line and in the file.
Unknown keys and wrong shapes raise ConfigError with file and line.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NoReturn

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from ngrokd.settings import Settings, flags, settings_from
from protocol.errors import ConfigError
from protocol.link.files import read_capped

MAX_FILE: Final = 1 << 20
OWN_KEY: Final = "config"  # the file can't name another file
PATHS: Final = (
    "tls_crt",
    "tls_key",
    "cert_dir",
    "state_dir",
    "registry_cache_file",
    "error_pages",
)  # found beside the file, if relative
_NULL: Final = "tag:yaml.org,2002:null"


def read_settings(given: Mapping[str, Any]) -> Settings:
    """Settings of the command line and environment (`given`, by field), over those of the file that `config` names. Blocks
    for reading it. Raises ConfigError."""
    path = given.get(OWN_KEY)
    if not path:
        return settings_from(given)
    file = read_file(Path(str(path)))
    return settings_from({**file, **given})


def read_file(path: Path) -> dict[str, str]:
    """The texts in the file, by field of Settings. Raises ConfigError."""
    try:
        raw = read_capped(path, MAX_FILE)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "larger than 1 MiB"
        raise ConfigError(f"the configuration can't be read: {reason}", file=str(path)) from error
    if raw is None:
        raise ConfigError("there is no such file", file=str(path), hint="name another with -config")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise ConfigError("this line is not UTF-8", file=str(path), line=line) from None
    found = parse(text, str(path))
    for field in PATHS:
        if found.get(field):
            found[field] = str(path.parent / Path(found[field]).expanduser())
    return found


def parse(text: str, file: str) -> dict[str, str]:
    """The same for the text of a file; `file` is its name in errors."""
    try:
        node = YAML(typ="safe", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise ConfigError(
            f"not YAML: {error.problem or error.context}", file=file, line=mark.line + 1 if mark else 0
        ) from None
    except (YAMLError, ValueError, RecursionError) as error:
        raise ConfigError("not YAML", file=file) from error
    if node is None:
        return {}
    if node.id != "mapping":
        _fail(file, node, "the file is no list of `name: value` lines")
    names = {flag.name: field for field, flag in flags().items() if field != OWN_KEY}
    found: dict[str, str] = {}
    for key, value in node.value:
        field = names.get(str(key.value)) if key.id == "scalar" else None
        if field is None:
            near = difflib.get_close_matches(str(key.value)[:80], names, n=1)
            _fail(file, key, f"unknown key {str(key.value)[:80]!r}", f"did you mean {near[0]}?" if near else "")
        if field in found:
            _fail(file, key, f"{key.value} stands here twice")
        if value.id != "scalar":
            _fail(file, value, f"{key.value}: one word is wanted here")
        if value.tag != _NULL or getattr(value, "style", None):
            found[field] = str(value.value)
    _check(found, file, {names[str(key.value)]: key for key, _ in node.value})
    return found


def _check(found: Mapping[str, str], file: str, places: Mapping[str, Any]) -> None:
    """Each value by itself, so that a wrong one is told with its line."""
    for field, text in found.items():
        if field in ("tls_crt", "tls_key"):
            continue  # a pair; judged with the rest
        try:
            settings_from({field: text})
        except ConfigError as error:
            _fail(file, places[field], error.message.removeprefix("-"))


def _fail(file: str, node: Any, message: str, hint: str = "") -> NoReturn:
    mark = node.start_mark
    raise ConfigError(message, file=file, line=mark.line + 1, column=mark.column + 1, hint=hint)
