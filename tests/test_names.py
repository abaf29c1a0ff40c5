"""Names that say what they name: predicates ask a question."""

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
