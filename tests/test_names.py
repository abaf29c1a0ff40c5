"""Names that say what they name: predicates ask a question, variables mean one thing."""

from __future__ import annotations

import ast
from pathlib import Path

import patchsim

PACKAGE = Path(patchsim.__file__).parent

# Functions that do something and return whether it was done, or return a value that is checked.
ACTIONS = {
    "true_or_false", "_truth", "_fill", "_link", "claim", "shrink", "_work_here", "refine",
    "_refine_to", "decide", "_compare", "invest",
}  # fmt: skip
# Names that Python's files, or users of patchsim, ask for.
ASKED_FOR = {"readable", "writable", "seekable", "posed"}
BEGINNINGS = ("is_", "has_", "can_")
# Words that were variables of several meanings each, with the modules in which one has a meaning.
VAGUE = {
    "found": (),
    "least": (),
    "whole": (),
    "shown": (),
    "own": (),
    "each": (),
    "part": ("cli/part.py", "cluster/part_files.py", "cluster/parts.py", "pictures/exr.py"),
}


def predicates():
    """The functions and properties that return a bool, with their files and lines."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            is_function = isinstance(node, ast.FunctionDef) and node.returns is not None
            if is_function and ast.unparse(node.returns) == "bool" and node.name[:2] != "__":
                yield node.name, f"{path.relative_to(PACKAGE)}:{node.lineno}"


def test_predicates_begin_with_is_has_or_can():
    names = dict(predicates())
    assert len(names) > 100
    others = {
        name: place
        for name, place in names.items()
        if not name.lstrip("_").startswith(BEGINNINGS) and name not in ACTIONS | ASKED_FOR
    }
    assert others == {}
    assert names.keys() >= ACTIONS | ASKED_FOR  # no exception stays when its function is gone


def functions():
    """Each function and lambda of the package, with its module."""
    for path in sorted(PACKAGE.rglob("*.py")):
        module = path.relative_to(PACKAGE).as_posix()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.Lambda):
                yield module, node


def variables(function):
    """The nodes that name the parameters and variables of a function."""
    for node in ast.walk(function):
        if isinstance(node, ast.arg):
            yield node.arg, node
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node


def test_variables_have_no_vague_names():
    names = {
        (name, f"{module}:{node.lineno}", module)
        for module, function in functions()
        for name, node in variables(function)
    }
    assert len(names) > 5000
    vague = [(n, place) for n, place, module in names if n in VAGUE and module not in VAGUE[n]]
    assert sorted(vague) == []


def test_scores_are_values_and_what_computes_them_is_a_scorer():
    calls = {
        f"{module}:{call.lineno}"
        for module, function in functions()
        for names in [{"score", "scores"} & {name for name, _ in variables(function)}]
        for call in ast.walk(function)
        if names and isinstance(call, ast.Call) and ast.unparse(call.func) in names
    }
    assert calls == set()
