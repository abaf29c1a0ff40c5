"""Variables of the environment are defaults of options."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import typer

from patchsim.cli import environment
from patchsim.cli.app import app
from patchsim.machine.extensions import VARIANT_SETTING

COMMANDS = typer.main.get_command(app).commands
DOCS = Path(__file__).parents[2] / "docs" / "environment.md"


@pytest.fixture
def words(save, rng):
    image = rng.integers(0, 256, (40, 50), np.uint8)
    save("image.png", image)
    save("kernel.png", image[5:15, 7:17])
    return "match", "image.png", "kernel.png"


def columns(out):
    return out.splitlines()[0].split("\t")


def test_a_variable_is_a_default_and_a_flag_wins(words, run, monkeypatch):
    monkeypatch.setenv("PATCHSIM_TOP", "2")
    assert len(run(*words)[1].splitlines()) == 3
    assert len(run(*words, "--top", "3")[1].splitlines()) == 4
    monkeypatch.setenv("PATCHSIM_TOP", "")
    assert len(run(*words)[1].splitlines()) == 6


def test_a_variable_is_named_by_an_error_about_the_folder_of_its_file(words, run, monkeypatch):
    monkeypatch.setenv("PATCHSIM_REPORT", "/not-there/page.html")
    code, _, err = run(*words)
    assert code == 2
    assert "output folder /not-there does not exist" in err
    assert "PATCHSIM_REPORT=/not-there/page.html is set in the environment" in err


def test_no_heatmap_for_a_loop(words, run, monkeypatch, tmp_path):
    monkeypatch.setenv("PATCHSIM_HEATMAP", "none")
    run(*words)
    assert list(tmp_path.glob("*.heatmap.png")) == []
    run(*words, "--heatmap", "h.png")
    assert (tmp_path / "h.png").exists()
    monkeypatch.setenv("PATCHSIM_HEATMAP", "other.png")
    run(*words, "--no-heatmap")
    assert not (tmp_path / "other.png").exists()
    run(*words)
    assert (tmp_path / "other.png").exists()


@pytest.mark.parametrize(
    ("text", "has_margin"),
    [("1", True), ("yes", True), ("TRUE", True), ("0", False), ("off", False), (" no ", False)],
)
def test_options_without_a_value_take_yes_or_no(text, has_margin, words, run, monkeypatch):
    monkeypatch.setenv("PATCHSIM_MARGIN", text)
    assert ("margin" in columns(run(*words, "--no-heatmap")[1])) == has_margin
    assert "margin" in columns(run(*words, "--no-heatmap", "--margin")[1])
    assert "margin" not in columns(run(*words, "--no-margin")[1])


def test_an_option_that_repeats_takes_values_with_spaces_between(words, run, monkeypatch):
    (best,) = run(*words, "--top", "1", "--no-header", "--columns", "x,y")[1].splitlines()
    assert best == "7\t5"
    monkeypatch.setenv("PATCHSIM_IGNORE", "7,5,10,10 0,0,3,3")
    assert run(*words, "--top", "1", "--no-header", "--columns", "x,y")[1] != "7\t5\n"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("PATCHSIM_TOP", "many", "top 'many' is not possible"),
        ("PATCHSIM_METRIC", "mse", "metric 'mse' is unknown"),
        ("PATCHSIM_DATA_RANGE", "5", "data range '5' is no range"),
        ("PATCHSIM_FORMAT", "xml", "format 'xml' is unknown"),
        ("PATCHSIM_OVERLAY", "o.pdf", "output o.pdf would be written as"),
        ("PATCHSIM_QUIET", "maybe", "PATCHSIM_QUIET is 'maybe', but its option takes no value"),
    ],
)
def test_a_bad_value_names_its_variable(name, value, says, words, run, monkeypatch):
    monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATCHSIM_THREADS", "1")
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert err.startswith(f"patchsim: {says}")
    assert name in err
    assert "PATCHSIM_THREADS" not in err


def test_what_is_typed_takes_the_place_of_what_contradicts_it(words, run, monkeypatch):
    monkeypatch.setenv("PATCHSIM_FORMAT", "json")
    monkeypatch.setenv("PATCHSIM_COLUMNS", "x")
    monkeypatch.setenv("PATCHSIM_CSV_SAFE", "0")
    assert run(*words, "--print", "{x}/{y}", "--top", "1")[1] == "7/5\n"
    monkeypatch.setenv("PATCHSIM_PRINT", "{y}")
    code, _, err = run(*words)
    assert code == 2
    assert "PATCHSIM_PRINT={y}" in err


def test_an_error_of_something_else_names_no_variable(run, monkeypatch):
    monkeypatch.setenv("PATCHSIM_TOP", "3")
    _, _, err = run("match", "no.png", "no.png")
    assert "PATCHSIM" not in err


def test_variables_are_listed_and_differ_from_the_other_ones():
    names = set()
    for name, command in COMMANDS.items():
        context = command.make_context(name, [], resilient_parsing=True)
        options = [one for one in command.get_params(context) if one.param_type_name == "option"]
        names |= {environment.variable(one) for one in options} - {None}
    assert VARIANT_SETTING not in names
    assert len(names) > 60
    listed = set(re.findall(r"`(PATCHSIM_\w+)`", DOCS.read_text(encoding="utf-8")))
    assert listed == names | {VARIANT_SETTING}


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("PATCHSIM_METRICS", "no option reads it; did you mean PATCHSIM_METRIC?"),
        ("PATCHSIM_HEATMAPSIZE", "no option reads it; did you mean PATCHSIM_HEATMAP_SIZE?"),
        ("PATCHSIM_KERNEL", "no option reads it; what it names is typed"),
        ("PATCHSIM_ZZ", "no option reads it; PATCHSIM_TOP would be that of --top, and so on for"),
        ("PATCHSIM_LOSS", None),  # of another command
        (VARIANT_SETTING, None),
        ("PATCHSIM", None),
    ],
)
def test_a_variable_that_no_option_reads_is_told_once(name, says, words, run, monkeypatch):
    monkeypatch.setenv(name, "portable" if name == VARIANT_SETTING else "zncc")
    code, out, err = run(*words)
    assert (code, err.count(name + " is ignored")) == (0, int(says is not None))
    assert says is None or f"{name} is ignored: {says}" in err
    assert run(*words, "--quiet") == (0, out, "")
    monkeypatch.setenv(name, "")
    assert "ignored" not in run(*words)[2]


def test_completion_does_not_mind_a_bad_value(monkeypatch):
    from patchsim.cli import completion

    monkeypatch.setenv("PATCHSIM_QUIET", "maybe")
    assert completion.answers(app, "patchsim match a b --metr") == [
        one for one in completion.answers(app, "patchsim match a b --m") if one.value == "--metric"
    ]
