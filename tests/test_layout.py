"""Tests lie by room and share helpers alone."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import patchsim

HERE = Path(__file__).parent
MODULES = sorted(HERE.rglob("test_*.py"))


def imported(path):
    """The names of all modules that a file imports, or imports names of."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or "")
            yield from (alias.name for alias in node.names)


def test_no_test_module_imports_another():
    tests = {path.stem for path in MODULES}
    assert len(tests) > 40
    for path in HERE.rglob("*.py"):
        names = {part for name in imported(path) for part in name.split(".")}
        assert names & tests == set(), path


def test_names_of_test_modules_are_unique():
    assert {n: c for n, c in Counter(path.stem for path in MODULES).items() if c > 1} == {}


def test_folders_are_rooms():
    package = Path(patchsim.__file__).parent
    rooms = {path.parent.name for path in package.glob("*/__init__.py")}
    assert {path.parent.name for path in MODULES if path.parent != HERE} <= rooms
