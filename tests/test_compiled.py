"""What mypyc asks of the modules that setup.py lists; `make test-compiled` tries what comes of it."""

from __future__ import annotations

import ast
import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("protocol", "ngrokd", "ngrokc", "assets")
COMPILED: tuple[str, ...] = runpy.run_path(str(ROOT / "setup.py"), run_name="listing")["COMPILED"]


def classes(path: Path) -> Iterator[ast.ClassDef]:
    return (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ClassDef))


def bases(node: ast.ClassDef) -> set[str]:
    """The last words of their names, without type parameters."""
    plain = (base.value if isinstance(base, ast.Subscript) else base for base in node.bases)
    return {base.attr if isinstance(base, ast.Attribute) else getattr(base, "id", "") for base in plain}


@pytest.mark.parametrize("name", COMPILED)
def test_the_list_names_modules_that_are_there(name: str) -> None:
    assert (ROOT / name).is_file()


def test_no_interpreted_class_inherits_from_a_compiled_one() -> None:
    native = {node.name for name in COMPILED for node in classes(ROOT / name)}
    others = [path for package in PACKAGES for path in (ROOT / package).rglob("*.py")]
    heirs = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in others
        if str(path.relative_to(ROOT)) not in COMPILED
        for node in classes(path)
        if bases(node) & native
    ]
    assert not heirs, "add these modules to setup.py, or take their bases out"


def test_nobody_asks_a_compiled_module_for_the_cause_of_its_errors() -> None:
    """`raise ... from` keeps none there: what somebody needs to know is an attribute of the error."""
    asking = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*.py")
        if "__cause__" in path.read_text()
    }
    # trio's error for several addresses; the error of a dial, which is interpreted
    assert asking == {"protocol/link/dial.py", "ngrokc/inspect/replay.py"}
