"""Where a rule is switched off, or any exception is caught, a comment says why; messages suffice.

An installed command has no pages beside it, so that a message that names one helps nobody.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import patchsim

PACKAGE = Path(patchsim.__file__).parent
MARK = re.compile(r"#\s*(?:noqa(?::\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*)?|type:\s*ignore(?:\[[\w-]+\])?)")


def literals():
    """Each string of the package that is no docstring, with its place."""
    for path in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docstrings = {id(one.value) for one in ast.walk(tree) if isinstance(one, ast.Expr)}
        for node in ast.walk(tree):
            is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
            if is_text and id(node) not in docstrings:
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", node.value


def lines():
    """Each line of the package, with its place and the line above."""
    for path in sorted(PACKAGE.rglob("*.py")):
        above = ""
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            yield f"{path.relative_to(PACKAGE)}:{number}", line, above
            above = line


def broad_handlers():
    """Each handler of any exception that does not raise it again, with its place."""
    for path in sorted(PACKAGE.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        for node in ast.walk(ast.parse(source)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            types = "BaseException" if node.type is None else ast.unparse(node.type)
            last = node.body[-1]
            is_passed_on = isinstance(last, ast.Raise) and last.exc is None
            if re.search(r"\b(Base)?Exception\b", types) and not is_passed_on:
                line = source.splitlines()[node.lineno - 1]
                yield f"{path.relative_to(PACKAGE)}:{node.lineno}", line


def test_rules_are_switched_off_for_a_reason():
    marked = [(place, line, above) for place, line, above in lines() if MARK.search(line)]
    assert len(marked) > 30
    assert [
        place
        for place, line, above in marked
        if not line[MARK.search(line).end() :].strip(" -#") and not above.strip().startswith("#")
    ] == []


def test_any_exception_is_caught_for_a_reason():
    handlers = dict(broad_handlers())
    assert len(handlers) > 10
    assert [place for place, line in handlers.items() if "#" not in line] == []


def test_messages_name_no_page():
    texts = dict(literals())
    assert len(texts) > 1000
    assert [place for place, text in texts.items() if re.search(r"\bdocs/|\.md\b", text)] == []
