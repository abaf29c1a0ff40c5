"""Defaults from the environment that contradict what is typed, or say nothing: all options."""

from __future__ import annotations

import os
import shutil
from itertools import product

import numpy as np
import pytest
import typer
from PIL import Image

from patchsim.cli import contradictions, environment
from patchsim.cli.app import app

GROUP = typer.main.get_command(app)
BASES = {
    "match": ("match", "image.png", "kernel.png"),
    "scan": ("scan", "image.png", "-k", "kernel.png"),
    "loss": ("loss", "features.npz"),
}
LOCAL = "local:1"
# Values that contradict something if the option can, the usual one first.
VALUES = {
    "stride": ["2"], "region": ["0,0,45,38"], "frame": ["0", "all"], "level": ["0", "1"],
    "padding": ["edge", "transparent"], "metric": ["zncc", "ncc"],
    "color": ["gray", "edges", "lab"], "top": ["2"], "threshold": ["0.5"], "overlap": ["0.2"],
    "sort": ["reading"], "scales": ["0.9,1"], "angles": ["0,90", "any"], "flips": ["h"],
    "max_poses": ["500"], "tolerance": ["0.01"], "mask": ["mask.png"], "transparent": ["FF00FF"],
    "image_mask": ["image-mask.png"], "ignore": ["0,0,3,3"], "nan": ["ignore"], "worst": ["0.1"],
    "pixel_tolerance": ["5"], "max_differing": ["3"], "min_visible": ["0.6"],
    "channel_weights": ["1,1,1"], "data_range": ["0:255"], "format": ["json", "csv"],
    "columns": ["x,y"], "print": ["{x}"], "heatmap": ["h.png", "-"], "heatmap_size": ["20"],
    "blend": ["b.png", "-"], "map": ["m.npy", "-"], "overlay": ["o.png", "-"], "labels": ["score"],
    "report": ["r.html", "-"], "wait": ["0.1"], "wait_gone": ["0.1"], "interval": ["0.1"],
    "device": ["cpu"], "engine": ["fft", "pruned", "unfold"], "memory": ["500MB"],
    "cluster": [LOCAL], "part": ["1/2"], "part_file": ["p.npz"], "threads": ["1"],
    "max_pixels": ["100000"],
    "resume": ["found.jsonl"],
    "loss": ["contrastive"], "layout": ["B2SC"], "reduction": ["none"],
    "temperature": ["0.5"], "f_key": ["f"], "p_key": ["p"], "key": ["slots"],
    "matches": ["matches.png"], "image": ["0"],
}  # fmt: skip


def options(command):
    context = GROUP.commands[command].make_context(command, [], resilient_parsing=True)
    found = GROUP.commands[command].get_params(context)
    return {
        one.name: one
        for one in found
        if one.param_type_name == "option" and environment.variable(one) is not None
    }


OPTIONS = {command: options(command) for command in BASES}


def typed(command, name, value):
    option = OPTIONS[command][name]
    word = next(word for word in option.opts if word.startswith("--"))
    return (word,) if option.is_flag else (word, value)


def values_of(command, name):
    if (command, name) == ("match", "resume"):  # which is a map, and no list of results
        pytest.importorskip("zarr", reason="zarr is not installed")
        return ["resumed.zarr"]
    return ["1"] if OPTIONS[command][name].is_flag else VALUES[name]


@pytest.fixture
def answer(rng, run, monkeypatch, tmp_path, request):
    image = rng.integers(0, 256, (40, 50, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    Image.fromarray(image[5:15, 7:17]).save(tmp_path / "kernel.png")
    Image.fromarray(np.full((10, 10), 255, np.uint8)).save(tmp_path / "mask.png")
    Image.fromarray(np.full((40, 50), 255, np.uint8)).save(tmp_path / "image-mask.png")
    features = {key: rng.random((4, 3, 8), np.float32) for key in ("slots", "f", "p")}
    features |= {"f_large": features["f"], "p_small": features["p"]}
    np.savez(tmp_path / "features.npz", **features)
    for name in list(os.environ):
        if name.startswith("PATCHSIM_"):
            monkeypatch.delenv(name)

    def ask(words, **variables):
        if LOCAL in words:  # typed again and again; those workers start once
            address = request.getfixturevalue("scheduler")
            words = [address if word == LOCAL else word for word in words]
        (tmp_path / "found.jsonl").unlink(missing_ok=True)
        shutil.rmtree(tmp_path / "resumed.zarr", ignore_errors=True)
        with monkeypatch.context() as patched:
            for name, value in variables.items():
                patched.setenv(f"PATCHSIM_{name.upper()}", value)
            return run(*words)

    return ask


@pytest.mark.parametrize(
    ("command", "name"), [(command, name) for command in BASES for name in OPTIONS[command]]
)
def test_a_variable_alone_lets_the_command_run_or_is_named(command, name, answer, request):
    for value in values_of(command, name):
        if value == LOCAL:
            value = request.getfixturevalue("scheduler")
        code, _, err = answer(BASES[command], **{name: value})
        assert code in (0, 1) or f"PATCHSIM_{name.upper()}={value} is set in the environment" in err
        assert "Traceback" not in err or name == "debug"


# With --resume a scan goes on with a list of results, and `match` with a map.
GO_WITH_RESUME = {
    "match": {"print", "no_header", "format", "report"},
    "scan": {"scales", "angles", "flips", "invert", "frame", "engine"},
    "loss": set(),
}
CASES = [
    (command, rule, one, other)
    for command in BASES
    for rule in contradictions.CONTRADICTIONS
    for one, other in product(rule.ones, rule.others)
    if one in OPTIONS[command] and other in OPTIONS[command]
    if command == "match" or not {one, other} <= {"report", "frame"}  # a scan's page has frames
    if command == "match" or "cluster" not in (one, other)  # whose workers search whole pictures
    if "resume" not in (one, other) or not {one, other} & GO_WITH_RESUME[command]
]


def base_of(command, *names):
    words = BASES[command]
    if {"wait", "wait_gone", "unmatched"} & set(names):
        words += ("--threshold", "0.5")
    if command == "match" and "engine" in names and not {"map", "heatmap", "blend"} & set(names):
        words += ("--no-heatmap",)
    return words


def all_values(command, words):
    context = GROUP.commands[command].make_context(command, list(words[1:]))
    return context.params


@pytest.mark.parametrize(
    ("command", "rule", "one", "other"),
    CASES,
    ids=[f"{command}-{one}-{other}" for command, _, one, other in CASES],
)
def test_what_is_typed_takes_the_place_of_what_contradicts_it(command, rule, one, other, answer):
    base = base_of(command, one, other)
    value, opposite, both = next(
        (value, opposite, words)
        for value, opposite in product(values_of(command, one), values_of(command, other))
        for words in [(*base, *typed(command, one, value), *typed(command, other, opposite))]
        if rule.holds(all_values(command, words))
    )
    assert answer(both)[0] == 2  # or it is no contradiction
    pairs = [((one, value), (other, opposite))]
    pairs += [pairs[0][::-1]] if rule.is_mutual else []
    for (winner, text), (loser, lost) in pairs:
        words = (*base, *typed(command, winner, text))
        alone = answer(words)
        assert alone[0] in (0, 1) or winner != "cluster", alone
        code, out, err = answer(words, **{loser: lost})
        assert code == alone[0], err
        assert err.count(f"PATCHSIM_{loser.upper()}={lost} is ignored") == rule.is_told
        if winner not in ("format", "report"):  # which tell the time that the search took
            assert out == alone[1]


# A scan draws no heatmap, so that any engine will do; the others write files without --report.
ALWAYS_MET = {("scan", "engine"), ("match", "force"), ("loss", "force")}
NEEDS = [
    (command, need)
    for command in BASES
    for need in contradictions.NEEDS
    if need.option in OPTIONS[command]
]


@pytest.mark.parametrize(
    ("command", "need"), NEEDS, ids=[f"{command}-{need.option}" for command, need in NEEDS]
)
def test_a_variable_that_says_nothing_is_ignored_with_one_notice(command, need, answer):
    is_met = False
    for value in values_of(command, need.option):
        words = (*BASES[command], *typed(command, need.option, value))
        others = ["--loss", "contrastive"] if need.option in ("f_key", "p_key") else []
        others = ["--loss", "small-to-large"] if need.option in ("layout", "matches") else others
        if need.is_met(all_values(command, [*words, *others])):
            continue
        is_met = True
        assert answer((*words, *others))[0] == 2  # what is typed is refused
        variable = {need.option: value}
        alone = answer((*BASES[command], *others))
        code, _, err = answer((*BASES[command], *others), **variable)
        assert code == alone[0]
        assert err.count(f"PATCHSIM_{need.option.upper()}={value} is ignored: --") == 1
        if "quiet" in OPTIONS[command]:
            assert "ignored" not in answer((*BASES[command], *others, "--quiet"), **variable)[2]
    assert is_met or (command, need.option) in ALWAYS_MET


def test_two_variables_that_contradict_each_other_are_refused(answer):
    code, _, err = answer(BASES["match"], print="{x}", format="json")
    assert code == 2
    assert err == (
        "patchsim: PATCHSIM_PRINT={x} and PATCHSIM_FORMAT=json contradict each other; unset one\n"
    )


def test_a_variable_that_turns_something_off_contradicts_nothing(answer):
    for name in ("invert", "csv_safe", "no_heatmap", "same_scale", "exhaustive"):
        _, _, err = answer((*BASES["match"], "--map", "m.npy"), **{name: "0"})
        assert "ignored" not in err


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        (("--format", "csv", "--csv-safe"), {}),
        (("--csv-safe",), {"format": "csv"}),
        (("--map", "m.npy"), {"invert": "1"}),
        (("--map", "m.npy"), {"invert": "1", "heatmap": "none"}),
        (("--heatmap", "h.png"), {"engine": "pruned"}),
        (("--overlay", "-"), {"heatmap": "-", "blend": "-"}),
        (("--color", "gray"), {"channel_weights": "1,2,3"}),
    ],
)
def test_what_goes_together(words, variables, answer):
    assert answer((*BASES["match"], *words), **variables)[0] == 0


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        (("--scales", "0.9:1"), {"heatmap": "none"}),
        (("--frame", "all"), {"heatmap": "none"}),
        (("--heatmap", "none"), {"frame": "all"}),
        (("--stride", "2"), {"scales": "1"}),
        (("--scales", "1"), {"stride": "2"}),
        (("--scales", "1"), {"engine": "unfold"}),
        (("--scales", "1", "--no-heatmap"), {"part": "1/2"}),
        (("--map", "m.npy", "--angles", "90"), {"scales": "1"}),
    ],
)
def test_what_goes_together_is_not_ignored(words, variables, answer):
    code, out, err = answer((*BASES["match"], *words), **variables)
    assert code == 0
    assert "ignored" not in err
    both = [word for name, value in variables.items() for word in typed("match", name, value)]
    assert out == answer((*BASES["match"], *words, *both))[1]


def test_no_heatmap_is_no_map(answer):
    """What is typed contradicts itself; the variable asks for nothing that does."""
    words = (*BASES["match"], "--scales", "0.9,1", "--map", "m.npy")
    assert answer(words, heatmap="none") == answer(words)
    code, _, err = answer(BASES["match"], heatmap="none", map="m.npy", scales="0.9,1")
    assert code == 2
    assert "PATCHSIM_MAP=m.npy and PATCHSIM_SCALES=0.9,1 contradict each other" in err


def test_of_several_variables_that_alone_is_ignored_which_contradicts_what_is_typed(answer):
    words = (*BASES["match"], "--map", "m.npy")
    code, out, err = answer(words, scales="1", angles="0,90")
    assert code == 0
    assert "PATCHSIM_ANGLES=0,90 is ignored" in err
    assert "PATCHSIM_SCALES" not in err
    assert out == answer(words, scales="1")[1]


@pytest.mark.parametrize(("option", "value"), [("scales", "1"), ("angles", "90"), ("flips", "h")])
def test_a_map_that_is_resumed_has_no_poses(option, value, answer):
    (resumed,) = values_of("match", "resume")
    words = (*BASES["match"], "--resume", resumed)
    assert answer((*words, *typed("match", option, value)))[0] == 2
    code, _, err = answer(words, **{option: value})
    assert (code, err.count(f"PATCHSIM_{option.upper()}={value} is ignored")) == (0, 1)
    code, _, err = answer((*BASES["match"], *typed("match", option, value)), resume=resumed)
    assert (code, err.count("PATCHSIM_RESUME=resumed.zarr is ignored")) == (0, 1)


def test_a_map_that_no_engine_can_make_names_its_variable(answer):
    code, _, err = answer((*BASES["match"], "--engine", "fft"), map="m.npy")
    assert code == 2
    assert "PATCHSIM_MAP=m.npy is set in the environment" in err


def test_what_is_typed_and_refused_names_a_variable_behind_it(answer):
    code, _, err = answer((*BASES["match"], "--csv-safe"), format="json")
    assert code == 2
    assert "PATCHSIM_FORMAT=json is set in the environment" in err


def test_a_scan_names_a_variable_once(answer):
    code, _, err = answer((*BASES["scan"], "image.png", "image.png"), level="1")
    assert code == 2
    assert err.count("there is no level 1") == 3
    assert err.count("PATCHSIM_LEVEL=1 is set in the environment") == 1
