"""Modules, functions and classes are short enough to be read at once; CONTRIBUTING.md says how."""

from __future__ import annotations

import ast
from pathlib import Path

import patchsim

PACKAGE = Path(patchsim.__file__).parent
LINES_OF_A_MODULE = 350
LINES_OF_A_FUNCTION = 60
ATTRIBUTES = 13
ARGUMENTS_BY_PLACE = 8
# Records with more: what users see flat, as the arguments of a command, the options of a search or
# the fields of a result, and what engines are told of one kernel and one image.
FIELDS = {
    "cli/flags.py MatchFlags": 70,
    "cli/loss_flags.py LossFlags": 19,
    "cli/merge.py MergeFlags": 16,
    "engines/problem.py Problem": 26,
    "options/keywords.py Given": 41,
    "options/table.py Options": 38,
    "output/report.py Report": 29,
    "output/report_parts.py Match": 19,
    "scene/build.py Scene": 16,
}


def trees():
    """Each module of the package, by its path, with its source."""
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        yield str(path.relative_to(PACKAGE)), source, ast.parse(source)


def function_lines(function):
    """The lines of a function from ``def`` on, without its docstring."""
    lines = function.end_lineno - function.lineno + 1
    if ast.get_docstring(function) is not None:
        lines -= function.body[0].end_lineno - function.body[0].lineno + 1
    return lines


def is_record(cls):
    """Whether a class only names values: a frozen dataclass, a named tuple, a dictionary's keys."""
    decorators = [ast.unparse(one) for one in cls.decorator_list]
    bases = [ast.unparse(one) for one in cls.bases]
    is_frozen = any(one.startswith("dataclass(") and "frozen=True" in one for one in decorators)
    return is_frozen or not {"TypedDict", "NamedTuple"}.isdisjoint(bases)


def attributes(cls):
    """The names of the attributes that a class declares or assigns."""
    declared = {one.target.id for one in cls.body if isinstance(one, ast.AnnAssign)}
    return declared | {
        node.attr
        for node in ast.walk(cls)
        if isinstance(node, ast.Attribute)
        and isinstance(node.ctx, ast.Store)
        and ast.unparse(node.value) == "self"
    }


def test_modules_are_short():
    lengths = {path: len(source.splitlines()) for path, source, _ in trees()}
    assert len(lengths) > 300
    assert {p: count for p, count in lengths.items() if count > LINES_OF_A_MODULE} == {}


def test_functions_are_short():
    lengths = {
        f"{path}:{node.lineno} {node.name}": function_lines(node)
        for path, _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
    }
    assert max(lengths.values()) > LINES_OF_A_FUNCTION - 10  # they are counted
    assert {name: count for name, count in lengths.items() if count > LINES_OF_A_FUNCTION} == {}


def test_classes_have_few_attributes():
    counts = {
        f"{path}:{node.lineno} {node.name}": len(attributes(node))
        for path, _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and not is_record(node)
    }
    assert max(counts.values()) > ATTRIBUTES - 5  # they are counted
    assert {name: count for name, count in counts.items() if count > ATTRIBUTES} == {}


def test_records_with_many_fields_are_named_and_do_not_grow():
    counts = {
        f"{path} {node.name}": len(attributes(node))
        for path, _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef) and is_record(node)
    }
    assert len(counts) > 50
    assert {name: count for name, count in counts.items() if count > ATTRIBUTES} == FIELDS


def test_calls_give_many_arguments_by_name():
    """The C, Triton and Python functions that take many are called by keyword."""
    counts = {
        f"{path}:{node.lineno} {ast.unparse(node.func)}": len(node.args)
        for path, _, tree in trees()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) != "struct.pack"
    }
    assert max(counts.values()) > ARGUMENTS_BY_PLACE - 2  # they are counted
    assert {call: count for call, count in counts.items() if count > ARGUMENTS_BY_PLACE} == {}
