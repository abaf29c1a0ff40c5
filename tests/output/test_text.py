"""Names in printed results: no text of others drives a terminal, a spreadsheet or a parser."""

from __future__ import annotations

import csv
import io
import json
import os
import re

import pytest

from patchsim.output import names, text
from patchsim.output.contract import Table

HARM = "\x1b]0;a\x07 \u202egnp.exe\x9b\x7f\u2066"
ESCAPED = r"\x1b]0;a\x07 \u202egnp.exe\x9b\x7f\u2066"


class Names:
    """Results that are a name and a number."""

    columns = ("name", "score")

    def __init__(self, *names):
        self._names = names

    def rows(self):
        return [(name, -0.5) for name in self._names]

    def objects(self):
        return [dict(zip(self.columns, row, strict=True)) for row in self.rows()]

    def document(self):
        return {"image": self._names[0], "kernels": [{"name": name} for name in self._names]}

    def table(self):
        return Table(self.columns, [(name, "-0.5") for name in self._names], texts=("name",))


def written(form, *given, is_safe=False):
    file, records = io.StringIO(), Names(*given)
    if is_safe:
        records = names.WithoutFormulas(records)
    text.load(form).write(records, file, is_first=True)
    return file.getvalue()


@pytest.mark.parametrize("form", ["tsv", "csv", "table"])
def test_control_and_bidirectional_characters_are_escaped(form):
    out = written(form, HARM)
    assert ESCAPED in out
    assert re.sub(r"[\t\n]", "", out).isprintable()


@pytest.mark.parametrize("name", [HARM, "a\tb\nc\\x1b\r\u2028.png", "日本\u3000語.png", "a\u200db"])
def test_names_can_be_read_back_from_tsv(name):
    cell = written("tsv", name).splitlines()[1].split("\t")[0]
    read = cell.encode("latin-1", "backslashreplace").decode("unicode_escape")
    assert read == name
    assert json.loads(written("jsonl", name))["name"] == name


def test_csv_keeps_what_quotes_hold():
    name = "a\tb\nc\\d.png"
    assert list(csv.reader(io.StringIO(written("csv", name), newline="")))[1][0] == name


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(1)", "\t=1"])
def test_csv_for_spreadsheets_has_no_formulas(name):
    assert written("csv", name, is_safe=True) == written("csv", name).replace(name, f"'{name}")
    assert written("csv", "a=1", is_safe=True).splitlines()[1] == "a=1,-0.5"  # numbers stay numbers


def test_json_of_names_that_are_no_utf_8():
    name = os.fsdecode(b"caf\xe9.png")
    line = written("jsonl", name)
    assert "\\ud" not in line
    assert json.loads(line) == {
        "name": "caf\\xe9.png", "name_bytes": "636166e92e706e67", "score": -0.5
    }  # fmt: skip
    document = json.loads(written("json", name, "\U0001f600.png"))
    assert document["image_bytes"] == "636166e92e706e67"
    assert bytes.fromhex(document["kernels"][0]["name_bytes"]) == os.fsencode(name)
    assert document["kernels"][1] == {"name": "\U0001f600.png"}
