"""Every exporter has what its contract names; drawing is imported only for pictures."""

from __future__ import annotations

import inspect
import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from patchsim import choices, match
from patchsim.output import contract, exporters, text
from patchsim.output.match_records import MatchRecords

FORMATS = [name for name in choices.FORMATS if name != "auto"]


def modules(package):
    folder = Path(package.__file__).parent
    names = {path.stem for path in folder.glob("*.py")}
    return names - {"__init__"} | {path.parent.name for path in folder.glob("*/__init__.py")}


@pytest.fixture
def records(astronaut):
    return MatchRecords(match(astronaut, astronaut[100:140, 200:250], top=2))


@pytest.mark.parametrize(
    ("table", "package"), [(exporters.NAMES, exporters), (FORMATS, text)], ids=["files", "text"]
)
def test_the_table_lists_all_modules(table, package):
    assert sorted(table) == sorted(modules(package))


@pytest.mark.parametrize(
    ("exporter", "protocol"),
    [(exporters.load(name), contract.FileExporter) for name in exporters.NAMES]
    + [(text.load(name), contract.TextExporter) for name in FORMATS],
)
def test_an_exporter_has_the_names_and_parameters_of_its_contract(exporter, protocol):
    for name, kind in protocol.__annotations__.items():
        assert type(getattr(exporter, name)).__name__ == kind.partition("[")[0]
    for name, method in vars(protocol).items():
        if inspect.isfunction(method) and not name.startswith("_"):
            _, *parameters = inspect.signature(method).parameters
            assert list(inspect.signature(getattr(exporter, name)).parameters) == parameters


@pytest.mark.parametrize("name", [name for name in FORMATS if text.load(name).CAN_APPEND])
def test_appended_results_have_no_header_of_their_own(name, records):
    whole, appended = io.StringIO(), io.StringIO()
    text.load(name).write(records, whole, is_first=True)
    text.load(name).write(records, appended, is_first=False)
    assert whole.getvalue().endswith(appended.getvalue())
    assert appended.getvalue().count("\n") == 2


def test_json_has_all_of_the_report(records):
    file = io.StringIO()
    text.load("json").write(records, file, is_first=True)
    document = json.loads(file.getvalue())
    assert document["matches"] == list(records.objects())
    assert document["image"] == records.report.image


@pytest.mark.parametrize(
    ("options", "is_drawn"), [("map='m.npy'", False), ("overlay='o.png'", True)]
)
def test_a_search_without_pictures_imports_no_drawing(options, is_drawn, tmp_path):
    code = (
        "import sys, numpy as np, patchsim\n"
        "image = np.arange(400, dtype=np.uint8).reshape(20, 20)\n"
        f"assert patchsim.match(image, image[3:7, 5:9], {options})\n"
        "print('PIL.ImageDraw' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout == f"{is_drawn}\n"
    assert [path.name for path in tmp_path.iterdir()] == [options.split("'")[1]]
