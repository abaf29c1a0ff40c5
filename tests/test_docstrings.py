"""Public docstrings are complete in numpydoc's form; all docstrings name what they mean."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import re
from pathlib import Path

import pytest
from numpydoc.docscrape import NumpyDocString
from numpydoc.validate import validate

import patchsim

# The sections See Also, Examples and the extended summary may be left out.
OPTIONAL = {"SA01", "EX01", "ES01"}


def load(name):
    value = patchsim
    for part in name.split("."):
        value = getattr(value, part)
    return value


def members(cls):
    """The names of the public methods and properties of a class, and of its bases in patchsim."""
    for base in cls.__mro__:
        if base.__module__.partition(".")[0] == "patchsim":
            for name, value in vars(base).items():
                kinds = (property, classmethod, staticmethod)
                if not name.startswith("_") and (inspect.isroutine(value) or type(value) in kinds):
                    yield name


def names():
    for name in patchsim.__all__:
        yield name
        if inspect.isclass(load(name)):
            yield from (f"{name}.{member}" for member in sorted(set(members(load(name)))))


NAMES = list(names())
DATACLASSES = [name for name in patchsim.__all__ if dataclasses.is_dataclass(load(name))]


def test_methods_and_properties_are_among_the_names():
    assert {"match", "Match.center", "Observer.progress", "Report.to_coco"} <= set(NAMES)
    assert set(DATACLASSES) == {"Match", "Report", "ScanResult"}


@pytest.mark.parametrize("name", NAMES)
def test_docstring_is_valid(name):
    # The fields of dataclasses are attributes; the next test reads these.
    ignored = OPTIONAL | ({"PR01"} if name in DATACLASSES else set())
    errors = validate(f"patchsim.{name}")["errors"]
    assert [error for error in errors if error[0] not in ignored] == []
    # numpydoc strips the first entry of a section, so that it overlooks its indentation.
    assert re.findall(r"^---+\n\s.*", inspect.getdoc(load(name)), re.MULTILINE) == []


@pytest.mark.parametrize("name", DATACLASSES)
def test_attributes_are_the_fields(name):
    entries = NumpyDocString(inspect.getdoc(load(name)))["Attributes"]
    documented = [field for entry in entries for field in entry.name.split(", ")]
    assert sorted(documented) == sorted(field.name for field in dataclasses.fields(load(name)))
    assert [entry.name for entry in entries if not (entry.type and entry.desc)] == []


def test_no_docstring_and_no_comment_points_at_what_it_means():
    """CONTRIBUTING.md says so, with examples: name the thing, with the term of the field."""
    pointing = re.compile(r"(Of|What|Whose|The same)\b")
    found = []
    for path in sorted(Path(patchsim.__file__).parent.rglob("*.py")):
        source = path.read_text(encoding="utf-8")
        kinds = ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef
        nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, kinds)]
        texts = [ast.get_docstring(node) or "" for node in nodes]
        lines = source.splitlines()
        for before, line in zip(["", *lines], lines, strict=False):
            if line.lstrip().startswith("# ") and not before.lstrip().startswith("#"):
                texts.append(line.lstrip().removeprefix("# "))
        found += [f"{path.name}: {text.splitlines()[0]}" for text in texts if pointing.match(text)]
    assert found == []
