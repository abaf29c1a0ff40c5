"""`patchsim loss`: what it prints for each loss, format and layout; blocks; messages."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from helpers import load
from safetensors.torch import save_file

from patchsim import slots
from patchsim.output import text
from patchsim.slots import affinity, cosines, records

B, S, C = 5, 4, 6


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(1)
    f = torch.randn(2 * B, S, C, generator=generator)
    return {"f": f, "p": f + 0.5 * torch.randn(2 * B, S, C, generator=generator)}


@pytest.fixture
def feats(tensors, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    save_file(tensors, "a.safetensors")
    torch.save(tensors, "a.pt")
    np.savez("a.npz", **{key: value.numpy() for key, value in tensors.items()})
    np.save("f.npy", tensors["f"].numpy())
    np.save("p.npy", tensors["p"].numpy())
    return tensors


def table(out):
    return list(csv.DictReader(io.StringIO(out), delimiter="\t"))


def test_all_formats_of_features_give_the_functions_value(feats, run):
    expected = slots.matching_similarity_loss_per_img(feats["f"], feats["p"]).item()
    code, out, err = run("loss", "a.safetensors", "a.pt", "a.npz")
    assert (code, err) == (0, "")
    found = table(out)
    assert [row["file"] for row in found] == ["a.safetensors", "a.pt", "a.npz"]
    for row in found:
        assert float(row["loss"]) == pytest.approx(expected, abs=1e-6)
        assert (row["B"], row["S"], row["C"]) == (str(B), str(S), str(C))
        assert (row["collapsed"], row["share"]) == ("", "")
    code, out, _ = run("loss", "--f", "f.npy", "--p", "p.npy")
    assert code == 0
    assert table(out)[0]["loss"] == found[0]["loss"]


@pytest.mark.parametrize("loss", ["contrastive", "contrastive-per-img"])
def test_contrastive_losses_stand_beside_their_references(loss, feats, run):
    function = {
        "contrastive": slots.matching_contrastive_loss,
        "contrastive-per-img": slots.matching_contrastive_loss_per_img,
    }[loss]
    negatives = 2 * S * (B if loss == "contrastive" else 1) - 2
    code, out, _ = run("loss", "a.pt", "--loss", loss, "--temperature", "0.3", "--format", "json")
    found = json.loads(out)
    assert code == 0
    assert found["loss"] == pytest.approx(function(feats["p"], 0.3).item(), abs=1e-6)
    assert found["references"] == {
        "collapsed": pytest.approx(np.log(negatives + 1)),
        "orthogonal": pytest.approx(np.log(np.exp(1 / 0.3) + negatives) - 1 / 0.3),
    }
    assert list(found)[:6] == ["file", "loss", "reduction", "B", "S", "C"]
    _, out, _ = run("loss", "a.pt", "--loss", loss, "--key", "f", "--reduction", "sum")
    expected = function(feats["f"], 1.0, "sum").item()
    assert float(table(out)[0]["loss"]) == pytest.approx(expected, rel=1e-6)


def test_small_to_large(run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    generator = torch.Generator().manual_seed(0)
    large = torch.randn(3, 2, 5, 4, generator=generator)
    small = torch.randn(3, 4, 3, 4, generator=generator)
    torch.save({"f_large": large, "p_small": small}, "a.pt")
    loss, share = slots.matching_similarity_loss_small_to_large(large, small)
    code, out, _ = run("loss", "a.pt", "--loss", "small-to-large", "--memory", "20kB")
    row = table(out)[0]
    assert code == 0
    assert float(row["loss"]) == pytest.approx(loss.item(), abs=1e-6)
    assert float(row["share"]) == pytest.approx(share.item(), abs=1e-6)
    _, out, _ = run("loss", "a.pt", "--loss", "small-to-large", "--reduction", "none")
    each, _ = slots.matching_similarity_loss_small_to_large(large, small, "none")
    rows = table(out)
    assert len(rows) == 3 * 4 * 2
    assert [float(r["loss"]) for r in rows] == pytest.approx(each.flatten().tolist(), abs=1e-6)
    assert (rows[3]["image"], rows[3]["small"], rows[3]["large"]) == ("0", "1", "1")


def test_reduction_none_prints_a_line_a_slot(feats, run):
    losses = slots.matching_similarity_loss_per_img(feats["f"], feats["p"], "none")
    matches = slots.match_slots(feats["f"])
    code, out, _ = run("loss", "a.pt", "--reduction", "none")
    rows = table(out)
    assert code == 0
    assert list(rows[0]) == ["file", "view", "image", "slot", "matched_slot", "loss"]
    assert [float(row["loss"]) for row in rows] == pytest.approx(losses.tolist(), abs=1e-6)
    places = [(int(r["view"]), int(r["image"]), int(r["slot"])) for r in rows]
    assert places == [(v, i, s) for v in range(2) for i in range(B) for s in range(S)]
    for row, (view, image, slot) in zip(rows, places, strict=True):
        partner = int(row["matched_slot"])
        pair = (slot, partner) if view == 0 else (partner, slot)
        assert matches[image, pair[0]] == pair[1]


def test_matched_cosine_is_the_mean_over_pairs(feats, run):
    unit = torch.nn.functional.normalize(feats["f"].double(), dim=-1)
    matches = slots.match_slots(feats["f"])
    cosines = [(unit[i, s] @ unit[i + B, matches[i, s]]).item() for i in range(B) for s in range(S)]
    _, out, _ = run("loss", "a.pt")
    assert float(table(out)[0]["matched_cosine"]) == pytest.approx(np.mean(cosines), abs=1e-6)


def test_layouts(feats, run):
    pairs = {key: value.view(2, B, S, C).transpose(0, 1) for key, value in feats.items()}
    save_file({key: value.contiguous() for key, value in pairs.items()}, "pairs.safetensors")
    plain = table(run("loss", "a.pt")[1])[0]["loss"]
    assert table(run("loss", "pairs.safetensors", "--layout", "b2sc")[1])[0]["loss"] == plain
    code, _, err = run("loss", "pairs.safetensors")
    assert code == 2
    assert "for [B, 2, S, C] give --layout B2SC" in err


@pytest.mark.parametrize("loss", ["similarity", "contrastive-per-img"])
@pytest.mark.parametrize("name", ["a.pt", "a.safetensors"])
def test_blocks_of_images_give_the_same(loss, name, feats, run, monkeypatch):
    assert feats
    sizes = []
    matches = cosines.best_matches
    monkeypatch.setattr(cosines, "best_matches", lambda f: sizes.append(len(f)) or matches(f))
    whole = table(run("loss", name, "--loss", loss)[1])[0]
    blocks = table(run("loss", name, "--loss", loss, "--memory", "30kB")[1])[0]
    assert sizes[0] == 2 * B
    assert max(sizes[1:]) < 2 * B
    assert sum(sizes[1:]) == 2 * B
    assert float(blocks["loss"]) == pytest.approx(float(whole["loss"]), abs=1e-7)
    assert float(blocks["matched_cosine"]) == pytest.approx(float(whole["matched_cosine"]))


def test_formats_say_the_same(feats, run):
    assert feats
    row = table(run("loss", "a.pt")[1])[0]
    assert list(csv.DictReader(io.StringIO(run("loss", "a.pt", "--format", "csv")[1]))) == [row]
    line = json.loads(run("loss", "a.pt", "--format", "jsonl")[1])
    assert {k: "" if v is None else str(v) for k, v in line.items()} == row
    several = json.loads(run("loss", "a.pt", "a.npz", "--format", "json")[1])
    assert [one["file"] for one in several] == ["a.pt", "a.npz"]
    shown = run("loss", "a.pt", "--format", "table")[1].split()
    assert shown[-1] == "a.pt"
    assert f"{float(row['loss']):.6f}" in shown


def test_damage_in_a_member_is_the_files_fault_and_does_not_stop_the_others(feats, run):
    large = {key: value.repeat(2000, 1, 1).numpy() for key, value in feats.items()}
    np.savez("large.npz", **large)
    content = bytearray(Path("large.npz").read_bytes())
    content[len(content) // 4] ^= 1
    Path("large.npz").write_bytes(content)
    code, out, err = run("loss", "large.npz", "a.npz", "--format", "json")
    assert code == 2
    assert [one["file"] for one in json.loads(out)] == ["a.npz"]
    assert err.startswith("patchsim: large.npz is damaged or cut short: ")


def test_a_bad_file_does_not_stop_the_others(feats, run):
    assert feats
    code, out, err = run("loss", "a.pt", "no.pt", "a.npz")
    assert code == 2
    assert [row["file"] for row in table(out)] == ["a.pt", "a.npz"]
    assert err == "patchsim: no.pt does not exist; check the path\n"


def matrix_of(path):
    """The part of a picture that shows the matrix."""
    picture = load(path)
    left, top, width, height = map(int, picture.text["matrix"].split(","))
    return np.asarray(picture)[top : top + height, left : left + width]


def test_matches_of_an_image_and_of_the_batch(feats, run):
    matches = slots.match_slots(feats["f"])
    code, _, err = run("loss", "a.pt", "--matches", "m.png", "--image", "2")
    assert code == 0
    assert "4x4 slots of image 2" in err
    picture = matrix_of("m.png")
    cell = picture.shape[0] // S
    for slot in range(S):
        for other in range(S):
            framed = (picture[slot * cell, other * cell] == 0).all()
            assert framed == (matches[2, slot] == other)
    assert run("loss", "a.pt", "--matches", "all.png", "-q")[0] == 0
    picture = matrix_of("all.png")
    cell = picture.shape[0] // (2 * B * S)
    assert picture.shape[0] == picture.shape[1] == cell * 2 * B * S
    corners = (picture[::cell, ::cell] == 0).all(axis=2)
    for image in range(B):
        for slot in range(S):
            here, there = image * S + slot, (B + image) * S + int(matches[image, slot])
            assert corners[here, there]
            assert corners[there, here]
    assert corners.sum() == 2 * B * S


BAD = [
    ((), "there are no features"),
    (("a.pt", "--f", "f.npy"), "--f and --p go together"),
    (("a.pt", "--f", "f.npy", "--p", "p.npy"), "take the place of FEATURES"),
    (("a.pt", "--loss", "other"), "loss 'other' is unknown"),
    (("a.pt", "--layout", "BS"), "layout 'BS' is unknown"),
    (("a.pt", "--temperature", "2"), "--temperature says nothing to --loss similarity"),
    (("a.pt", "--key", "f"), "--key says nothing to --loss similarity"),
    (("a.pt", "--f-key", "f", "--loss", "contrastive"), "--f-key says nothing"),
    (("a.pt", "--layout", "B2SC", "--loss", "small-to-large"), "--layout says nothing"),
    (("f.npy",), "f.npy holds one array, the loss takes two; give --f and --p"),
    (("a.npz", "--memory", "1500"), "a.npz takes 2.0 kB read whole"),
    (("a.pt", "--loss", "contrastive", "--temperature", "1e-39"), "temperature 1e-39"),
    (
        ("a.pt", "--matches", "m.png", "--image", "-1"),
        "image -1 is not possible; give a whole number from 0",
    ),
    (("a.pt", "--reduction", "max"), "reduction 'max' is unknown"),
    (("a.pt", "--loss", "contrastive", "--temperature", "0"), "temperature 0 is not possible"),
    (
        ("a.pt", "--loss", "contrastive", "--temperature", "hot"),
        "temperature 'hot' is not a number",
    ),
    (("a.pt", "--image", "1.5"), "image 1.5 is not possible; give a whole number from 0"),
    (("a.pt", "--image", "one"), "image 'one' is not possible; give a whole number from 0"),
    (("a.pt", "--layout", "bs"), "layout 'bs' is unknown"),
    (("a.pt", "--matches", "-"), "standard output carries the results"),
    (("a.pt", "--matches", "m"), "end its name in .png"),
    (("a.pt", "--matches", "{file}.png"), "the unknown placeholder {file}; take it out"),
    (("a.pt", "--device", "mps"), "give --device cpu"),
    (("a.pt", "--format", "xml"), "format 'xml' is unknown"),
    (("a.pt", "--device", "tpu"), "device 'tpu' is unknown"),
    (("a.pt", "--memory", "100"), "allow more with --memory"),
    (("a.pt", "--loss", "contrastive", "--memory", "30kB"), "for 5 of its images at a time"),
    (("a.pt", "--f-key", "g"), "a.pt has no 'g'; it has 'f', 'p'"),
    (("a.pt", "--key", "g", "--loss", "contrastive"), "a.pt has no 'g'"),
    (("a.pt", "--loss", "small-to-large"), "a.pt has no 'f_large'"),
    (("odd.pt",), "odd.pt: f is [3, 2, 2]; give [2B, S, C]"),
    (("odd.pt", "--layout", "B2SC"), "B2SC is [B, 2, S, C]"),
    (("shapes.pt",), "f [2, 2, 2] and p [2, 3, 2] differ"),
    (("nan.pt",), "nan.pt: p is nan at [3, 1, 0]"),
    (("inf.pt",), "inf.pt: f is -inf at [0, 0, 1]"),
    (("integers.pt",), "is torch.int64, not floating point"),
    (("a.pt", "--image", "1"), "give --matches too"),
    (("a.pt", "--matches", "m.png", "--image", "5"), "has images 0 to 4"),
    (("a.pt", "--matches", "m.gif"), "would be written as .png"),
    (("a.pt", "a.npz", "--matches", "m.png"), "--matches draws one file, not 2"),
]


@pytest.mark.parametrize(("words", "says"), BAD, ids=[" ".join(w)[:50] for w, _ in BAD])
def test_bad_input_is_named_and_exits_2(words, says, feats, run):
    broken = {key: value.clone() for key, value in feats.items()}
    broken["p"][3, 1, 0] = torch.nan
    torch.save(broken, "nan.pt")
    broken["f"][0, 0, 1] = -torch.inf
    torch.save(broken, "inf.pt")
    torch.save({"f": torch.ones(3, 2, 2), "p": torch.ones(3, 2, 2)}, "odd.pt")
    torch.save({"f": torch.ones(2, 2, 2), "p": torch.ones(2, 3, 2)}, "shapes.pt")
    torch.save({"f": torch.ones(2, 2, 2).long(), "p": torch.ones(2, 2, 2)}, "integers.pt")
    before = sorted(Path().iterdir())
    code, out, err = run("loss", *words)
    assert code == 2
    assert says in err
    assert err.startswith("patchsim: ")
    assert 1 <= err.count("\n") <= 2
    assert out == ""
    assert sorted(Path().iterdir()) == before


def test_a_whole_batch_too_large_for_a_picture_is_refused(feats, run, monkeypatch):
    assert feats
    monkeypatch.setattr(affinity, "_LARGEST_MATRIX", 2 * B * S - 1)
    code, _, err = run("loss", "a.pt", "--matches", "m.png")
    assert code == 2
    assert "too many for one picture; choose an image with --image" in err


def test_a_table_leaves_out_columns_rather_than_wrap(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    class Records:
        columns = ("file", *records._FILE_COLUMNS)
        request = None

        def rows(self):
            yield ("run/checkpoints/step-100000.npz", 4, 6, 16, 0.374, 0.2477, 0.5, 1.5, 0.25)

    monkeypatch.setenv("COLUMNS", "80")
    shown = Terminal()
    found = records.LossRecords.table(Records())
    text.load("table").write(SimpleNamespace(table=lambda: found), shown, is_first=True)
    lines = re.sub(r"\x1b\[\d*m", "", shown.getvalue()).splitlines()
    assert max(map(len, lines)) <= 80
    assert {"loss", "matched_cosine", "file"} <= set(lines[0].split())
    assert "share" in lines[-1]


@pytest.mark.parametrize(
    ("loss", "names"),
    [
        ("similarity", "B S C loss matched_cosine file"),
        ("contrastive", "B S C loss matched_cosine collapsed orthogonal file"),
    ],
)
@pytest.mark.usefixtures("feats")
def test_a_table_has_the_columns_of_its_loss(loss, names, run):
    words = "loss", "a.pt", "a.npz", "--loss", loss, "--format"
    shown = [line.split() for line in run(*words, "table")[1].splitlines()]
    assert (shown[0], {len(row) for row in shown}) == (names.split(), {len(names.split())})
    piped = table(run(*words, "tsv")[1])
    assert {name for name, value in piped[0].items() if value} == set(names.split())
