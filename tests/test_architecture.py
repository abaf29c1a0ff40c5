"""docs/architecture.md shows the rooms that there are, and names files that there are."""

from __future__ import annotations

import ast
import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "patchsim"
PAGE = (ROOT / "docs" / "architecture.md").read_text()
PATH = re.compile(r"(?:[\w.-]+/)*[\w.-]+\.(?:py|c|h|toml|txt|md)|(?:[\w.-]+/)+|Makefile")


def layers():
    """Rooms of each floor, from the top one down, as the contract of import-linter has them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contracts = settings["tool"]["importlinter"]["contracts"]
    (contract,) = [each for each in contracts if each["type"] == "layers"]
    return [re.split(r" *[:|] *", layer) for layer in contract["layers"]]


def diagram():
    return re.search(r"```mermaid\n(.*?)```", PAGE, re.DOTALL)[1]


def spans():
    """Texts in backquotes."""
    prose = re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)
    return list(dict.fromkeys(re.findall(r"`([^`\n]+)`", prose)))


def quoted():
    """Texts in backquotes that are paths, with the name behind ``::`` or None."""
    found = {}
    for text in spans():
        path, _, name = text.partition("::")
        if PATH.fullmatch(path):
            found[text] = (path, name or None)
    return found


def located(path):
    return next((base / path for base in (PACKAGE, ROOT) if (base / path).exists()), None)


def test_floors_of_the_diagram_are_those_of_the_contract():
    arrows = [
        [side.split(" & ") for side in line.strip().split(" --> ")]
        for line in diagram().splitlines()
        if " --> " in line
    ]
    floors = layers()
    assert arrows == [list(pair) for pair in pairwise(floors)]


def test_each_room_of_the_diagram_is_labelled_once():
    labels = re.findall(r'^ +(\w+)\["(\w+): \S', diagram(), re.MULTILINE)
    assert [room for room, _ in labels] == [room for floor in layers() for room in floor]
    assert all(room == label for room, label in labels)


def test_rooms_of_the_diagram_are_those_of_the_package():
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"}
    assert {room for floor in layers() for room in floor} == folders | modules


@pytest.mark.parametrize("room", sorted(path.parent.name for path in PACKAGE.glob("*/__init__.py")))
def test_each_room_says_what_it_may_use_and_what_others_use_of_it(room):
    text = ast.get_docstring(ast.parse((PACKAGE / room / "__init__.py").read_text()))
    assert re.search(r"\b(may use|uses?)\b", text)
    assert re.search(r"\b([Oo]thers?|[Oo]ther rooms|Nothing else|the command line)\b", text)


def test_rows_of_tables_fit_a_glance():
    """What takes more stands under a heading of its own."""
    rows = [line for line in PAGE.splitlines() if line.startswith("|")]
    assert len(rows) > 80
    assert [row for row in rows if len(row) > 220] == []


def test_the_page_names_many_files():
    assert len(quoted()) > 80


def is_defined(name, file):
    text = file.read_text()
    return re.search(rf"^(?:(?:def|class) {name}\b|{name}\b.* = )", text, re.MULTILINE)


def test_named_files_and_names_exist():
    places = {text: (located(path), name) for text, (path, name) in quoted().items()}
    assert [text for text, (file, _) in places.items() if file is None] == []
    named = {text: place for text, place in places.items() if place[1] is not None}
    assert len(named) > 100
    assert [text for text, (file, name) in named.items() if not is_defined(name, file)] == []


def test_each_text_that_looks_like_a_path_is_checked_as_one():
    looking = [text for text in spans() if " " not in text and ("/" in text or "::" in text)]
    assert set(looking) <= set(quoted())


def test_bare_names_of_the_page_are_words_of_the_code():
    names = {text for text in spans() if re.fullmatch(r"[A-Za-z_][\w.]*", text)} - set(quoted())
    words = set()
    for file in [*PACKAGE.rglob("*.py"), ROOT / "pyproject.toml"]:
        words.update(re.findall(r"\w+", file.read_text()))
    assert len(names) > 20
    assert {part for name in names for part in name.split(".")} - words == set()


def test_every_room_is_named_by_a_file_of_it():
    named = {path.split("/")[0].removesuffix(".py") for path, _ in quoted().values()}
    apart = {"__main__", "events", "types", "checks"}  # a few lines each
    assert {room for floor in layers() for room in floor} - named <= apart
