"""What is printed of a match: chosen columns, templates, digits, and tables of any width."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pty
import re
from dataclasses import replace

import numpy as np
import pytest

from patchsim import choices, match
from patchsim.output import text
from patchsim.output.match_records import MatchRecords
from patchsim.scanning.records import ScanRecords, ScanResult


@pytest.fixture
def pictures(rng, save):
    """A picture with its own part [11, 12] at x=30, y=7, as image.png and part.png."""
    image = rng.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    save("image.png", image)
    save("part.png", image[7:18, 30:42])
    return image


def test_columns_are_printed_in_their_order(pictures, run):
    assert pictures.shape == (40, 60, 3)
    words = ("match", "image.png", "part.png", "--top", "1", "--no-heatmap", "--columns")
    _, out, _ = run(*words, "click_y,x,kernel,score")
    assert out == "click_y\tx\tkernel\tscore\n12\t30\tpart.png\t1.0\n"
    _, out, _ = run(*words, "click_x, Click_Y", "--no-header", "--format", "csv")
    assert out == "36,12\n"
    _, out, _ = run(*words, "y,center_x", "--format", "jsonl")
    assert json.loads(out) == {"y": 7, "center_x": 36.0}
    _, out, _ = run(*words, "y,score", "--format", "table", "--no-header")
    assert out.split() == ["1", "7", "1.000000"]
    corners = ",".join(f"{axis}{number}" for number in range(1, 5) for axis in "xy")
    _, out, _ = run(*words, corners, "--no-header")
    assert list(map(float, out.split("\t"))) == [30, 7, 42, 7, 42, 18, 30, 18]
    _, out, _ = run(*words, f"corners,{corners}", "--no-header", "--angles", "180", "--region",
                    "10,0,50,40")  # fmt: skip
    together, *each = out.rstrip("\n").split("\t")
    assert re.split("[ ,]", together) == each


def test_every_key_can_be_printed(pictures):
    report = match(pictures, pictures[7:18, 30:42], subpixel=True, angles="0,90", top=2)
    keys = list(MatchRecords(report).objects()[0])
    assert set(keys) <= set(choices.COLUMNS)
    (one, _) = MatchRecords(report, choices.COLUMNS).objects()
    assert {key: one[key] for key in keys} == MatchRecords(report).objects()[0]
    for form in ("table", "tsv", "csv", "json", "jsonl"):
        file = io.StringIO()
        text.load(form).write(MatchRecords(report, choices.COLUMNS), file, is_first=True)
        assert "corners" in file.getvalue()


def test_a_template_is_filled_for_each_match(pictures, run):
    assert pictures.shape == (40, 60, 3)
    words = ("match", "image.png", "part.png", "--top", "2", "--no-heatmap", "--print")
    code, out, _ = run(*words, r"{click_x} {click_y}\t{kernel}|{x_subpixel}\\n")
    assert code == 0
    assert out.splitlines()[0] == "36 12\tpart.png|\\n"
    assert len(out.splitlines()) == 2
    assert run(*words, "{x}", "--threshold", "1")[1] == "30\n"
    code, out, err = run(*words, "{z}")
    assert (code, out) == (2, "")
    assert "print {z} has the unknown placeholder {z}; did you mean {y}?" in err
    code, out, err = run(*words, "{}")
    assert (code, out) == (2, "")
    assert "has braces without a name; write a placeholder such as {x}" in err
    for other in (["--columns", "x"], ["--no-header"], ["--format", "tsv"]):
        code, _, err = run(*words, "{x}", *other)
        assert code == 2
        assert f"--print and {other[0]} both say what is printed" in err


def test_a_column_that_is_none_is_named(pictures, run):
    assert pictures.shape == (40, 60, 3)
    code, _, err = run("match", "image.png", "part.png", "--columns", "x,z")
    assert code == 2
    assert "columns 'z' is unknown; there is x, y, width" in err


@pytest.mark.parametrize("form", ["tsv", "csv"])
def test_scores_have_the_digits_that_distinguish_them(form):
    image = np.zeros((30, 90))
    steps = [0, 1e-9, 2e-9, 0.3]
    for place, step in enumerate(steps):
        image[10:15, 20 * place + 5 : 20 * place + 10] = 0.6 + step
    report = match(image, np.full((5, 5), 0.6), top=4, threshold=0.5)
    scores = [1 - step for step in steps]
    assert [m.score for m in report] == pytest.approx(scores, abs=1e-14)
    file = io.StringIO()
    text.load(form).write(MatchRecords(report, ("score",)), file, is_first=False)
    printed = [float(row[0]) for row in csv.reader(io.StringIO(file.getvalue()))]
    assert printed[0] == 1.0
    assert len(set(printed)) == 4
    for one, score in zip(printed, [m.score for m in report], strict=True):
        assert score - 1e-8 < one <= score
    assert max(len(line) for line in file.getvalue().split()) <= len("0.999999999")
    alone = MatchRecords(match(image, np.full((5, 5), 0.1 + 1 / 3), top=1), ("score",))
    ((score,),) = alone.rows()
    assert len(str(score)) <= len("0.123456")


@pytest.mark.parametrize(
    ("width", "left_out"),
    [(200, []), (100, ["corners"]), (80, ["corners", "margin", "height"])],
)
def test_a_table_fits_its_terminal(width, left_out, pictures, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    kernel = pictures[7:27, 30:50]
    report = match(pictures, kernel, angles="0:10", subpixel=True, top=2)
    records = MatchRecords(report)
    shown = write_to_terminal(records)
    names = [name for name in records.columns if not name.startswith("center")]  # of no table
    for name in names:
        assert (name in shown[0].split()) == (name not in left_out)
    if left_out:
        assert f"(no room for {', '.join(left_out)}: see" in shown[-1]
    assert max(map(len, shown)) <= width
    chosen = MatchRecords(report, tuple(names))  # asked for by name
    assert "corners" in " ".join(write_to_terminal(chosen))


@pytest.mark.parametrize(
    "options",
    [
        {"subpixel": True},
        {"worst": 0.1, "max_differing": 0.9, "subpixel": True, "threshold": 0.2},
        {"scales": [1, (0.9, 1.1)], "angles": [0, 10], "invert": True, "subpixel": True},
    ],
)
@pytest.mark.parametrize("has_images", [False, True])
def test_no_table_is_wrapped_in_80_columns(options, has_images, pictures, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    report = match(pictures, pictures[7:27, 30:50], top=2, margin=True, **options)
    names = [replace(one, kernel="toolbar-icons.png") for one in report]
    report = replace(report, matches=tuple(names), image="screens/today.png")
    records = MatchRecords(report)
    if has_images:
        records = ScanRecords([ScanResult(report.image, None, report, None)])
    shown = write_to_terminal(records)
    assert max(map(len, shown)) <= 80
    assert len(shown) <= 1 + len(report) + 2  # a header, and up to two lines of what is left out
    assert {"x", "y", "score", "kernel"} <= set(shown[0].split())


def write_to_terminal(records):
    """Lines of a table as a terminal gets it."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as file:
        text.load("table").write(records, file, is_first=True)
    seen = b""
    with contextlib.suppress(OSError):  # Linux's end of a terminal that nobody writes to
        while part := os.read(ours, 1 << 16):
            seen += part
    os.close(ours)
    return re.sub(r"\x1b\[[0-9;]*m", "", seen.decode()).splitlines()
