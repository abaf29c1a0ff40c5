"""Public docstrings are complete in numpydoc's form."""

from __future__ import annotations

import dataclasses
import inspect
import re

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
