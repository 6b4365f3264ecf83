"""The rules of docs/architecture.md, read from the source: who may import whom, what pure code must not know, how big
things may grow, and that every source file has its test file.

Each rule lists its offenders in full. `EXCUSED` is the one list of exceptions; an entry that is no longer needed fails
too, so the list only shrinks.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("protocol", "ngrokd", "ngrokc", "assets")
MIRRORED = ("protocol", "ngrokd", "ngrokc")

MODULE_LINES = 450
FUNCTION_LINES = 40  # without its docstring
CONSTRUCTOR_ARGUMENTS = 6

# What a pure module must not know: IO, clocks, files, threads, logs, and the library that waits.
IMPURE = frozenset({
    "trio", "socket", "ssl", "select", "selectors", "time", "datetime", "asyncio", "threading", "multiprocessing",
    "subprocess", "os", "pathlib", "tempfile", "shutil", "signal", "logging", "structlog", "sqlite3", "starlette",
    "hypercorn", "rich", "click", "trio_websocket",
})  # fmt: skip
# Beside all of protocol but protocol.link.
PURE = [
    "ngrokd.grants",
    "ngrokd.limits",
    "ngrokd.yielding",
    "ngrokd.registry",
    "ngrokd.session",
    "ngrokd.tunnel",
    "ngrokd.policy",
    "ngrokc.backoff",
]

BELOW_SERVER = ("accept", "edge", "control", "admin", "store", "registry", "policy", "session", "tunnel")

# (importer, imported): the arrows that must never exist, beside the cycles. A name stands for itself and all below it.
FORBIDDEN = [
    ("protocol", "ngrokd"),
    ("protocol", "ngrokc"),
    ("protocol", "assets"),
    ("ngrokd", "ngrokc"),
    ("ngrokc", "ngrokd"),
    *[(package, "tests") for package in PACKAGES],
    *[("assets", package) for package in MIRRORED],
    # ngrokd: cli -> server -> {accept, edge, control, admin, store} -> {registry, policy}
    *[(f"ngrokd.{low}", f"ngrokd.{high}") for low in BELOW_SERVER for high in ("cli", "server")],
    ("ngrokd.server", "ngrokd.cli"),
    *[
        (f"ngrokd.{low}", f"ngrokd.{high}")
        for low in ("registry", "policy", "session", "tunnel")
        for high in ("accept", "edge", "control", "admin", "store")
    ],
    *[("ngrokd.edge", f"ngrokd.{beside}") for beside in ("accept", "control", "admin", "store")],
    # ngrokc: cli -> agent -> session -> proxy; the inspector observes, nothing below the shell knows it
    *[
        (f"ngrokc.{low}", "ngrokc.cli")
        for low in ("agent", "session", "proxy", "config", "backoff", "clock", "events", "term", "inspect")
    ],
    *[(f"ngrokc.{low}", "ngrokc.agent") for low in ("session", "proxy", "config", "backoff", "clock", "events")],
    *[(f"ngrokc.{low}", f"ngrokc.{shown}") for low in ("agent", "session", "proxy") for shown in ("term", "screen")],
]

# rule -> what it does not (yet) apply to. Keep each with a reason; delete it when the test says so.
EXCUSED: dict[str, frozenset[str]] = {
    "imports": frozenset(),
    "pure": frozenset(),
    "cycles": frozenset(),
    "mirror": frozenset(),
    "module size": frozenset(),
    "function size": frozenset(),
    "constructor": frozenset(),
    "words": frozenset(),
}


# -- reading the source
@functools.cache
def sources() -> dict[str, Path]:
    """Every module of the four packages by its dotted name."""
    found: dict[str, Path] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = list(path.relative_to(ROOT).with_suffix("").parts)
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def tree(name: str) -> ast.Module:
    return ast.parse(sources()[name].read_text(encoding="utf-8"))


def below(name: str, top: str) -> bool:
    return name == top or name.startswith(top + ".")


def is_pure(name: str) -> bool:
    return (below(name, "protocol") and not below(name, "protocol.link")) or any(below(name, pure) for pure in PURE)


def for_types_only(node: ast.If) -> bool:
    test = node.test
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def import_nodes(root: ast.AST, *, types_too: bool, nested_too: bool = True) -> Iterator[ast.Import | ast.ImportFrom]:
    for node in ast.iter_child_nodes(root):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        elif isinstance(node, ast.If) and for_types_only(node):
            if types_too:
                yield from import_nodes(node, types_too=True, nested_too=nested_too)
        elif nested_too or not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from import_nodes(node, types_too=types_too, nested_too=nested_too)


def imports(name: str, *, types_too: bool = True, nested_too: bool = True) -> set[str]:
    """Dotted names that module `name` imports, as deep as they name modules of ours."""
    package = name if sources()[name].name == "__init__.py" else name.rpartition(".")[0]
    found: set[str] = set()
    for node in import_nodes(tree(name), types_too=types_too, nested_too=nested_too):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
            continue
        base = node.module or ""
        if node.level:
            above = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*above, base] if base else above)
        for alias in node.names:
            deeper = f"{base}.{alias.name}"
            found.add(deeper if deeper in sources() else base)
    return found


def functions(name: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    def walk(node: ast.AST, path: str) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path}.{child.name}", child
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield from walk(child, f"{path}.{child.name}")
            else:
                yield from walk(child, path)

    yield from walk(tree(name), name)


def check(rule: str, offenders: Iterable[tuple[str, str]]) -> None:
    """Fail for each offender (name, what is wrong) that has no excuse, and for each excuse that is needed no more."""
    found = dict(offenders)
    excused = EXCUSED[rule]
    complaints = [f"{name}: {wrong}" for name, wrong in sorted(found.items()) if name not in excused]
    complaints += [f"{name}: is fine now, take it off EXCUSED[{rule!r}]" for name in sorted(excused - found.keys())]
    if complaints:
        pytest.fail("\n".join([f"{rule}:", *complaints]), pytrace=False)


# -- the rules
def test_arrows_point_down() -> None:
    def offenders() -> Iterator[tuple[str, str]]:
        for name in sources():
            for imported in imports(name):
                for importer, target in FORBIDDEN:
                    if below(name, importer) and below(imported, target):
                        yield f"{name} -> {imported}", f"{importer} must not import {target}"

    check("imports", offenders())


def test_pure_modules_know_no_io() -> None:
    def offenders() -> Iterator[tuple[str, str]]:
        for name in sources():
            if not is_pure(name):
                continue
            for imported in imports(name, types_too=False):
                if imported.partition(".")[0] in IMPURE or below(imported, "protocol.link"):
                    yield f"{name} -> {imported}", "a pure module"

    check("pure", offenders())


def test_no_module_imports_itself_in_a_circle() -> None:
    """At import time: what stands in functions or under TYPE_CHECKING is no part of the circle."""
    edges = {
        name: {target for target in imports(name, types_too=False, nested_too=False) if target in sources()}
        for name in sources()
    }
    done: set[str] = set()
    circles: dict[str, str] = {}

    def visit(name: str, trail: tuple[str, ...]) -> None:
        if name in trail:
            circle = trail[trail.index(name) :]
            circles[min(circle)] = " -> ".join([*circle, name])
            return
        if name in done:
            return
        for target in sorted(edges[name]):
            visit(target, (*trail, name))
        done.add(name)

    for name in sources():
        visit(name, ())
    check("cycles", circles.items())


def test_each_source_file_has_its_test_file() -> None:
    """protocol/link/tls.py: tests/protocol/link/test_tls.py. One without functions (__init__, mostly) needs none."""

    def offenders() -> Iterator[tuple[str, str]]:
        for name, path in sources().items():
            if name.partition(".")[0] not in MIRRORED:
                continue
            where = path.relative_to(ROOT)
            stem = where.stem.strip("_") if where.stem.startswith("__") else where.stem
            if where.stem in ("__init__", "__main__") and not any(True for _ in functions(name)):
                continue
            test = Path("tests") / where.parent / f"test_{stem}.py"
            if not (ROOT / test).exists():
                yield str(where), f"{test} is missing"

    check("mirror", offenders())


def test_modules_stay_readable() -> None:
    check(
        "module size",
        (
            (name, f"{lines} lines, at most {MODULE_LINES}")
            for name, path in sources().items()
            if (lines := len(path.read_text(encoding="utf-8").splitlines())) > MODULE_LINES
        ),
    )


def test_functions_stay_short() -> None:
    def offenders() -> Iterator[tuple[str, str]]:
        for name in sources():
            for path, node in functions(name):
                first = node.body[1] if ast.get_docstring(node) and len(node.body) > 1 else node.body[0]
                lines = (node.end_lineno or 0) - first.lineno + 1
                if lines > FUNCTION_LINES:
                    yield path, f"{lines} lines, at most {FUNCTION_LINES}"

    check("function size", offenders())


def test_constructors_take_few_arguments() -> None:
    def offenders() -> Iterator[tuple[str, str]]:
        for name in sources():
            for path, node in functions(name):
                count = len(node.args.posonlyargs) + len(node.args.args) + len(node.args.kwonlyargs) - 1
                if node.name == "__init__" and count > CONSTRUCTOR_ARGUMENTS:
                    yield path, f"{count} arguments, at most {CONSTRUCTOR_ARGUMENTS}"

    check("constructor", offenders())


def test_no_notes_to_self_and_no_missing_docstrings() -> None:
    def offenders() -> Iterator[tuple[str, str]]:
        for name, path in sources().items():
            if tree(name).body and not ast.get_docstring(tree(name)):
                yield name, "no module docstring"
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
                if "TO" + "DO" in line or "FIX" + "ME" in line:
                    yield f"{name}:{number}", "a note to self"

    check("words", offenders())
