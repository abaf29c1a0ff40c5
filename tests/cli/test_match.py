"""The command in this process: formats, files, messages, exit codes."""

from __future__ import annotations

import csv
import errno
import io
import json
import os
import re
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from helpers import load, map_size, said
from PIL import Image

from patchsim import choices
from patchsim.matching import match as match_module

HEADER = "x\ty\twidth\theight\tscore\tkernel\tmargin\tcenter_x\tcenter_y"


@pytest.fixture
def pictures(astronaut, save):
    """A photograph and two patches of it, saved as big.png, face.png and flag.png."""
    save("big.png", astronaut[:160, 100:300])
    save("face.png", astronaut[100:131, 200:241])
    save("flag.png", astronaut[20:45, 120:150])


def files():
    return sorted(p.name for p in Path().iterdir())


@pytest.mark.usefixtures("pictures")
def test_a_pipe_gets_tab_separated_lines_and_stderr_the_rest(run):
    code, out, err = run("match", "big.png", "face.png", "--stride", "2", "--top", "2")
    lines = out.splitlines()
    assert code == 0
    assert lines[0] == HEADER
    assert lines[1].startswith("100\t100\t41\t31\t1.0\tface.png\t0.")
    assert len(lines) == 3
    assert err.startswith("patchsim: heatmap big.heatmap.png: scores 0.")
    assert map_size("big.heatmap.png") == (80, 65)


@pytest.mark.usefixtures("pictures")
def test_a_mask_a_kernel_and_an_image_that_cannot_be_looked_at_exit_2(run):
    long = "a" * 300
    for words in (["big.png", long], [long, "face.png"], ["big.png", "face.png", "--mask", long]):
        code, out, err = run("match", *words)
        assert (code, out) == (2, "")
        says = "cannot be read: File name too long; give another path"
        assert err == f"patchsim: {'a' * 98}...{'a' * 98} {says}\n"


@pytest.mark.parametrize(
    ("file", "says"),
    [
        ("a\nb", "cannot use a\\nb: No space left on device; free some space or write elsewhere"),
        (None, "cannot write the results: No space left on device; free some space"),
    ],
)
def test_a_fault_of_a_file_is_not_told_as_one_of_the_results(run, monkeypatch, file, says):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device", file)

    monkeypatch.setattr(match_module, "match", full)
    code, out, err = run("match", "big.png", "face.png")
    assert (code, out) == (3, "")
    assert err.startswith(f"patchsim: {says}")


@pytest.mark.usefixtures("pictures")
def test_json_has_the_documented_keys(run):
    code, out, _ = run("match", "big.png", "face.png", "--stride", "3x2", "--format", "json",
                       "--map", "m.npy")  # fmt: skip
    found = json.loads(out)
    assert code == 0
    assert list(found) == [
        "image", "width", "height", "metric", "stride", "device", "engine", "tolerance",
        "heatmap", "map", "kernels", "matches", "seconds", "color", "region",
        "padding", "threshold",
    ]  # fmt: skip
    assert found["stride"] == [3, 2]
    assert (found["image"], found["width"], found["height"]) == ("big.png", 200, 160)
    assert (found["metric"], found["device"], found["tolerance"]) == ("sad", "cpu", 0.0)
    assert (found["heatmap"], found["map"]) == ("big.heatmap.png", "m.npy")
    assert found["kernels"] == [
        {"name": "face.png", "width": 41, "height": 31, "engine": found["engine"],
         "tolerance": 0.0, "heatmap": "big.heatmap.png", "map": "m.npy", "origin": [0, 0],
         "threshold": None, "empty_score": found["kernels"][0]["empty_score"]}
    ]  # fmt: skip
    assert 0 < found["kernels"][0]["empty_score"] < 1
    best = found["matches"][0]
    assert list(best) == [
        "x", "y", "width", "height", "center_x", "center_y", "score", "kernel",
        "margin", "click_x", "click_y",
    ]  # fmt: skip
    assert (best["x"] % 3, best["y"] % 2) == (0, 0)
    assert (best["center_x"], best["center_y"]) == (best["x"] + 20.5, best["y"] + 15.5)
    assert found["seconds"] > 0
    assert (found["region"], found["padding"]) == (None, "valid")


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize("metric", ["sad", "ssd", "ncc", "zncc"])
def test_every_metric_finds_the_patch(metric, run):
    code, out, _ = run("match", "big.png", "face.png", "--metric", metric, "--top", "1",
                       "--format", "json")  # fmt: skip
    found = json.loads(out)
    assert (code, found["metric"]) == (0, metric)
    assert [(m["x"], m["y"], m["score"]) for m in found["matches"]] == [(100, 100, 1.0)]


@pytest.mark.usefixtures("pictures")
def test_the_drawn_map_may_be_off_the_written_one_not(run):
    words = ("match", "big.png", "face.png", "--format", "json", "--engine")
    code, out, err = run(*words, "fft", "--explain")
    fast = json.loads(out)
    assert code == 0
    assert 0 < fast["tolerance"] <= 0.02
    assert "scored exactly for face.png: " in err
    code, out, _ = run(*words, "simd", "--map", "m.npy")
    exact = json.loads(out)
    assert (code, exact["tolerance"]) == (0, 0.0)
    assert exact["matches"] == fast["matches"]
    code, _, err = run(*words, "fft", "--map", "m.npy")
    assert code == 2
    assert "its sad may be off by 0.006, more than the tolerance 0" in err
    code, out, _ = run(*words, "fft", "--map", "m.npy", "--tolerance", "0.01")
    assert (code, 0 < json.loads(out)["tolerance"] <= 0.01) == (0, True)


@pytest.mark.usefixtures("pictures")
def test_several_kernels_have_files_of_their_own(run, save, astronaut):
    Path("other").mkdir()
    save("other/face.png", astronaut[50:60, 150:160])
    code, out, _ = run("match", "big.png", "face.png", "flag.png", "other/face.png", "--format",
                       "json", "--threshold", "0.999", "--map", "maps.{kernel}.npy")  # fmt: skip
    found = json.loads(out)
    assert code == 0
    assert [found[key] for key in ("engine", "tolerance", "heatmap", "map")] == [None] * 4
    assert [k["heatmap"] for k in found["kernels"]] == [
        "big.face.heatmap.png", "big.flag.heatmap.png", "big.face-2.heatmap.png",
    ]  # fmt: skip
    assert [k["map"] for k in found["kernels"]] == [
        "maps.face.npy", "maps.flag.npy", "maps.face-2.npy",
    ]  # fmt: skip
    assert {(m["x"], m["y"], m["kernel"]) for m in found["matches"]} == {
        (100, 100, "face.png"), (20, 20, "flag.png"), (50, 50, "other/face.png"),
    }  # fmt: skip
    for kernel in found["kernels"]:
        assert np.load(kernel["map"]).shape[::-1] == map_size(kernel["heatmap"])


@pytest.mark.usefixtures("pictures")
def test_csv_and_jsonl_say_the_same_as_tsv(run):
    def outputs(form):
        return run("match", "big.png", "face.png", "--no-heatmap", "--format", form)[1]

    tsv = [line.split("\t") for line in outputs("tsv").splitlines()]
    assert list(csv.reader(io.StringIO(outputs("csv")))) == tsv
    objects = [json.loads(line) for line in outputs("jsonl").splitlines()]
    texts = [
        [f"{o[c]:.6f}".rstrip("0") if c == "margin" else str(o[c]) for c in tsv[0]] for o in objects
    ]
    for row, line in zip(texts, tsv[1:], strict=True):
        score = tsv[0].index("score")
        assert 0 <= float(row.pop(score)) - float(line.pop(score)) < 1e-6  # rounded down
        assert row == line


@pytest.mark.usefixtures("pictures")
def test_table_is_not_cut_in_a_pipe(run):
    name = "a" * 180 + ".png"
    os.link("face.png", name)
    code, out, _ = run("match", "big.png", name, "--no-heatmap", "--format", "table")
    assert code == 0
    assert name in out
    assert "1.000000" in out
    assert out.splitlines()[1].split()[:5] == ["1", "100", "100", "41", "31"]


@pytest.mark.usefixtures("pictures")
def test_names_are_escaped_and_paths_may_have_spaces(run):
    os.link("big.png", "b i\tg.png")
    os.link("face.png", "f\\a\nc\te.png")
    code, out, _ = run("match", "b i\tg.png", "f\\a\nc\te.png", "--top", "1")
    assert code == 0
    assert out.splitlines()[1].split("\t")[5] == "f\\\\a\\nc\\te.png"
    assert Path("b i\tg.heatmap.png").exists()


@pytest.mark.usefixtures("pictures")
def test_map_and_heatmap_agree(run):
    run("match", "big.png", "face.png", "--map", "m.npy", "--heatmap", "h.png")
    scores, heatmap = np.load("m.npy"), load("h.png")
    assert scores.dtype == np.float32
    assert map_size("h.png") == scores.shape[::-1] == (160, 130)
    assert float(heatmap.text["score_max"]) == scores.max() == 1.0
    assert float(heatmap.text["score_min"]) == scores.min()
    # Brighter where the score is higher, but for the rings of the five matches.
    shades = np.asarray(heatmap)[:130, :160]
    is_map = shades < 252
    assert is_map.mean() > 0.9
    order = np.argsort(scores[is_map])
    assert (np.diff(shades[is_map][order].astype(int)) >= 0).all()
    assert shades[scores == 1].tolist() == [251]


@pytest.mark.usefixtures("pictures")
def test_nothing_above_the_threshold_exits_1(run):
    code, out, err = run("match", "flag.png", "flag.png", "--threshold", "1", "--quiet")
    assert (code, out.count("\n"), err) == (0, 2, "")
    code, out, err = run("match", "face.png", "flag.png", "--threshold", "0.99", "--quiet")
    assert (code, out, err) == (1, HEADER + "\n", "")


@pytest.mark.usefixtures("pictures")
def test_threshold_without_top_prints_all(run):
    code, out, _ = run("match", "big.png", "flag.png", "--threshold", "0.1", "--no-heatmap")
    assert code == 0
    assert out.count("\n") > 20
    code, out, _ = run("match", "big.png", "flag.png", "--threshold", "0.1", "--top", "3")
    assert out.count("\n") == 4


@pytest.mark.usefixtures("pictures")
def test_explain_prints_the_plan_on_stderr(run):
    code, out, err = run("match", "big.png", "face.png", "--explain", "--quiet", "--memory", "9MB",
                         "--engine", "unfold", "--device", "cpu")  # fmt: skip
    assert code == 0
    assert out.startswith(HEADER)
    assert len(said(err).splitlines()) > 3
    assert "plan for face.png: unfold on cpu" in err
    assert re.search(r"^patchsim:   engine  device  time +why$", err, re.MULTILINE)
    assert re.search(r"unfold  cpu     [\d.]+ m?s +chosen: it is the only one$", err, re.MULTILINE)
    assert "20,800 windows of 41x31x3 uint8" in err
    assert "of 9.0 MB" in err


@pytest.mark.usefixtures("pictures")
def test_overlay_is_the_picture_with_boxes(run):
    code, _, err = run("match", "big.png", "face.png", "--overlay", "o.png", "--top", "1")
    assert code == 0
    drawn, image = np.asarray(load("o.png")), np.asarray(load("big.png"))
    assert drawn.shape == image.shape
    np.testing.assert_array_equal(drawn[100:131, 100:141], image[100:131, 100:141])
    assert (drawn[95:136, 95:146] == (255, 255, 0)).all(axis=2).sum() > 100
    assert "overlay o.png: 1 box" in err


@pytest.mark.usefixtures("pictures")
def test_files_are_replaced_and_nothing_else_is_left(run):
    Path("big.heatmap.png").write_text("old")
    before = files()
    assert run("match", "big.png", "face.png")[0] == 0
    assert files() == before
    assert map_size("big.heatmap.png") == (160, 130)


@pytest.mark.usefixtures("pictures")
def test_alpha_notice_is_one_line_and_quiet_silences_it(run, astronaut):
    picture = Image.fromarray(astronaut[100:131, 200:241])
    picture.putalpha(128)
    picture.save("clear.png")
    for files in (["clear.png"] * 2, ["big.png", "clear.png"]):
        words = ("match", *files, "--no-heatmap", "--ignore-alpha")
        assert run(*words)[2] == "patchsim: clear.png has transparent pixels; alpha is ignored\n"
        assert run(*words, "-q")[2] == ""
        assert run("match", *files, "--no-heatmap")[2] == ""


@pytest.mark.usefixtures("pictures")
def test_csv_quotes_names_with_line_ends_and_quotes(run):
    for name in ("a\nb.png", "a\rb.png", 'a"b,c.png'):
        os.link("face.png", name)
        out = run("match", "big.png", name, "--no-heatmap", "--format", "csv", "--top", "1")[1]
        assert list(csv.reader(io.StringIO(out, newline="")))[1][5] == name


@pytest.mark.usefixtures("pictures")
def test_names_cannot_drive_the_terminal(run):
    name = "\x1b[31mred\x1b]0;title\x07\n.png"
    _, _, err = run("match", "big.png", name)
    assert err == "patchsim: \\x1b[31mred\\x1b]0;title\\x07\\n.png does not exist; check the path\n"
    os.link("face.png", name)
    for form in ("table", "tsv"):
        _, out, err = run("match", "big.png", name, "--format", form, "--heatmap", name)
        assert "\x1b" not in err + (out if form == "table" else "")


@pytest.mark.usefixtures("pictures")
def test_without_arguments_the_help_comes(run):
    code, out, err = run()
    assert (code, err) == (0, "")
    assert "match" in out
    code, out, err = run("match")
    assert code == 2
    says = "IMAGE is missing; give patchsim match IMAGE KERNEL\nsee patchsim match --help"
    assert said(err) == says


def test_version_and_help(run):
    code, out, _ = run("--version")
    assert code == 0
    assert out == "patchsim 0.1.0\n"
    for words in (("--help",), ("match", "--help"), ("match", "-h")):
        code, out, _ = run(*words)
        assert code == 0
        assert "IMAGE" in out or "match" in out


BAD = [
    (["match", "no.png", "face.png"], "no.png does not exist"),
    (["match", "big.png", "no.png"], "no.png does not exist"),
    (["match", ".", "face.png"], ". is a folder"),
    (["match", "text.png", "face.png"], "text.png is plain text; give the picture itself"),
    (["match", "empty.png", "face.png"], r"empty.png is empty (0 bytes)"),
    (["match", "cut.png", "face.png"], "cut.png is a PNG that is damaged or cut short"),
    (["match", "face.png", "big.png"], "kernel big.png is 200x160 pixels, larger than the image"),
    (["match", "big.png", "face.png", "--stride", "0"], "stride '0' is no stride"),
    (["match", "big.png", "face.png", "--stride", "-2"], "stride '-2' is no stride"),
    (["match", "big.png", "face.png", "--stride", "2x"], "stride '2x' is no stride"),
    (["match", "big.png", "face.png", "--stride", "1x2x3"], "stride '1x2x3' is no stride"),
    (["match", "big.png", "face.png", "--device", "gpu"], "device 'gpu' is unknown"),
    (["match", "big.png", "face.png", "--device", "cuda:77"], "device 'cuda:77' is not here"),
    (["match", "big.png", "face.png", "--engine", "warp"], "engine 'warp' is unknown"),
    (
        ["match", "big.bmp", "face.png", "--memory", "100kB"],
        "of the memory of 100.0 kB are left;\nallow at least",
    ),
    (
        ["match", "big.bmp", "face.png", "flag.png", "--padding", "edge", "--memory", "640kB"],
        "is the least for these",
    ),
    (["match", "big.png", "face.png", "--memory", "lots"], "memory 'lots' is not a size"),
    (["match", "big.png", "face.png", "--top", "0"], "top 0 is not possible"),
    *(
        (
            ["match", "big.png", "face.png", f"--{option}", value, *more],
            f"{option} {shown} is not possible; give a whole number from 1",
        )
        for option, *more in (
            ("top",),
            ("threads",),
            ("max-pixels",),
            ("max-poses", "--angles", "1"),
        )
        for value, shown in (("all", "'all'"), ("1.5", "1.5"), ("1e6", "1e6"), ("", "''"))
    ),
    *(
        (
            ["match", "big.png", "face.png", f"--{option}", value],
            f"{option} {value!r} is not a number; give {accepted}",
        )
        for option, accepted in (
            ("overlap", "one from 0 to 1"),
            ("tolerance", "one from 0 to 1"),
            ("min-visible", "a share above 0, up to 1"),
            ("threshold", "one from -1 to 1, or auto"),
        )
        for value in ("30%", "a", "0,5")
    ),
    (["match", "big.png", "face.png", "--threshold", "95"], "threshold 95 cannot be a score"),
    (["match", "big.png", "face.png", "--min-visible", "1.50"], "min-visible 1.50 is not"),
    (["match", "big.png", "face.png", "--tolerance", "2e0"], "tolerance 2e0 is not possible"),
    (["match", "big.png", "face.png", "--scales", "1,1000.0"], "scales 1000.0 is not possible"),
    (["match", "big.png", "face.png", "--angles", "0:9e9:1"], "angles 9e9 is not possible"),
    (["match", "big.png", "face.png", "--channel-weights", "1.0,-1"], "weights 1.0,-1 are not"),
    (["match", "big.png", "face.png", "--data-range", "5.0:1"], "data range 5.0:1 is empty"),
    (["match", "big.png", "face.png", "--device", "mps"], "give --device cpu"),
    (["match", "-", "face.png", "--mask", "-"], "give paths for the others"),
    (["match", "big.png", "face.png", "--threshold", "nan"], "threshold nan cannot be a score"),
    (["match", "big.png", "face.png", "--overlap", "2"], "overlap 2 is not a share"),
    (
        ["match", "big.png", "face.png", "--ignore-alpha", "--min-visible", "0.5"],
        "min-visible 0.5 has no meaning where alpha is ignored",
    ),
    (["match", "big.png", "face.png", "--data-range", "5"], "data range '5' is no range"),
    (["match", "big.png", "face.png", "--data-range", "5:5"], "data range 5:5 is empty"),
    (["match", "big.png", "face.png", "--data-range", "9:99"], "outside 9 to 99"),
    (["match", "big.png", "face.png", "--format", "xml"], "format 'xml' is unknown"),
    (["match", "big.png", "face.png", "--map", "no/m.npy"], "does not exist"),
    *(
        (["match", "big.png", "face.png", f"--{kind}", name], f"{says} {suffix}")
        for kind, suffix in (
            ("heatmap", ".png"),
            ("overlay", ".png or .jpg"),
            ("blend", ".png or"),
            ("map", ".npy"),
        )
        for name, says in (("m", "end its name in"),)
    ),
    (
        ["match", "big.png", "face.png", "--heatmap", "-", "--overlay", "-"],
        "heatmap and overlay are both '-', but standard output takes one file",
    ),
    (["match", "big.png", "face.png", "--labels", "score"], "--labels is about the overlay"),
    (
        ["match", "big.png", "face.png", "--overlay", "o.png", "--labels", "size"],
        "labels 'size' is unknown; there is none, number, score, kernel",
    ),
    (["match", "big.png", "face.png", "--heatmap", "{foo}.png"], "there is {kernel}"),
    (["match", "big.png", "face.png", "--map", "{kernel}-{}.npy"], "has braces without a name;"),
    (["match", "big.png", "face.png", "--map", "{kernel name}.npy"], "placeholder {kernel name};"),
    (["match", "big.png", "face.png", "--overlay", "{foo}.png"], "placeholder {foo}; take it out"),
    (["match", "big.png", "face.png", "--map", "m.csv"], "would be written as .npy"),
    (["match", "big.png", "face.png", "--heatmap", "big.png"], "would overwrite the input big.png"),
    (["match", "big.png", "face.png", "--overlay", "./face.png"], "would overwrite the input"),
    (["match", "big.png", "face.png", "--heatmap", "a.png", "--overlay", "a.png"], "are one file"),
    (["match", "big.png", "face.png", "--heatmap", "a.png", "--no-heatmap"], "contradict"),
    (["match", "big.png", "face.png", "flag.png", "--map", "m.npy"], "put {kernel} into its name"),
    (["match", "-", "-"], "asked for 2 pictures"),
    (["match", "big.bmp", "face.png", "--max-pixels", "2000"], "--max-pixels 32000"),
    (
        [
            "match",
            "int.tif",
            "int.tif",
            "--data-range",
            "0:9",
            "--engine",
            "simd",
            "--metric",
            "ssd",
            "--stride",
            "2",
        ],
        "a stride of 1",
    ),
    (["match", "nan.tif", "face.png"], "nan at x=3, y=2"),
    (["match", "range.tif", "face.png"], "--data-range LO:HI"),
    (
        ["match", "big.png"],
        "KERNEL is missing; give patchsim match IMAGE KERNEL\nsee",
    ),
    (["match", "big.png", "face.png", "--top"], "--top lacks its value; give --top N"),
    (
        ["match", "big.png", "face.png", "--quiet", "--map"],
        "--map lacks its value; give --map PATH",
    ),
    (["match", "big.png", "face.png", "--quiet=1"], "--quiet takes no value; give --quiet alone"),
    (
        ["match", "big.png", "face.png", "--strid", "2"],
        "there is no option --strid; did you mean --stride?\nsee",
    ),
    (
        ["match", "big.png", "--kernel", "face.png"],
        "--kernel; give KERNEL alone: patchsim match IMAGE KERNEL\nsee",
    ),
    (
        ["match", "--haystack", "big.png", "--needle=face.png"],
        "--haystack; give IMAGE alone: patchsim match IMAGE KERNEL\nsee",
    ),
    (["scan", "big.png", "--template", "face.png"], "--template; did you mean --kernel?\nsee"),
    (["match", "big.png", "face.png", "-o", "o.png"], "-o; did you mean --overlay?\nsee"),
    (["match", "big.png", "face.png", "--verbose"], "--verbose; did you mean --explain?\nsee"),
    (["-V"], "there is no option -V; did you mean --version?\nsee patchsim --help"),
    (["match", "big.png", "face.png", "-z"], "there is no option -z; leave it out\nsee"),
    (["match", "big.png", "face.png", "--json"], "--json; did you mean --format json?\nsee"),
    (["scan", "big.png", "-k", "face.png", "--csv"], "--csv; did you mean --format csv?\nsee"),
    (["match", "big.png", "face.png", "--columns", "scor"], "is unknown; did you mean score?"),
    (["match", "big.png", "face.png", "--print", "{widht}"], "{widht}; did you mean {width}?"),
    (["match", "big.png", "face.png", "--print", "{x"], "print {x has a brace without its other"),
    (
        ["match", "nan.tif", "face.png"],
        "needs finite values; give --nan ignore (nan='ignore'), or replace it",
    ),
    (
        ["match", "inf.tif", "face.png"],
        "needs finite values; replace it, or put NaN there and give --nan ignore (nan='ignore')",
    ),
    (
        ["match", "big.png", "face.png", "--columns", "foo"],
        "unknown; there is x, y, width,",
    ),
    (["doctor", "x"], "patchsim doctor takes no further words, but 'x' follows; leave that out"),
    (
        ["foo"],
        "'foo' is no command; there is match, scan, merge, loss, doctor\nsee patchsim --help",
    ),
    (["--foo"], "there is no option --foo; leave it out\nsee patchsim --help"),
    (["mach"], "there is match, scan, merge, loss, doctor\ndid you mean: patchsim match"),
    (["match", "face.png/x.png", "face.png"], "cannot be read: Not a directory"),
    (["match", "", "face.png"], "name of a picture is empty"),
    (["match", "big.png", "face.png", "--overlay", "o.{kernel}.png"], "shows all kernels"),
]


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize("name", ["-dash.png", "--two.png"])
def test_a_file_that_is_named_like_an_option_is_hinted_at(name, run):
    Path("face.png").rename(name)
    code, out, err = run("match", "big.png", name)
    says = f"{name} begins like an option; write ./{name} for the file\nsee patchsim match --help"
    assert (code, out, said(err)) == (2, "", says)
    assert run("match", "big.png", f"./{name}", "--top", "1")[0] == 0


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize(("words", "says"), BAD, ids=[" ".join(w)[:60] for w, _ in BAD])
def test_bad_input_is_named_in_two_lines_and_leaves_no_file(words, says, run, save):
    Path("text.png").write_text("hello")
    Path("empty.png").write_bytes(b"")
    Path("cut.png").write_bytes(Path("big.png").read_bytes()[:3000])
    values = np.full((40, 50), 0.5, np.float32)
    save("range.tif", values * 300)
    save("int.tif", np.full((4, 5), 7, np.int32))
    values[2, 3] = np.nan
    save("nan.tif", values)
    values[2, 3] = -np.inf
    save("inf.tif", values)
    save("big.bmp", load("big.png"))  # no reader of it reads windows
    before = {p: p.read_bytes() for p in Path().iterdir()}
    code, out, err = run(*words)
    assert code == 2
    assert out == ""
    assert says in said(err)
    assert 1 <= err.count("\n") <= 2
    assert "Traceback" not in err
    assert {p: p.read_bytes() for p in Path().iterdir()} == before


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize(
    ("kernel", "says"),
    [
        ("big.png", "all scores are 1.000000"),
        ("face.png", "scores 0.##### (dark) to 1.000000 (bright)"),
    ],
)
def test_the_scores_of_a_heatmap_and_a_blend_are_told(kernel, says, run):
    code, _, err = run("match", "big.png", kernel, "--heatmap", "h.png", "--blend", "b.png")
    assert code == 0
    heatmap, blend = re.sub(r"\b0\.\d{6}", "0.#####", err).splitlines()
    assert says in heatmap
    assert blend.endswith(says)
    assert ("the best hundredth" in heatmap) == (kernel == "face.png")


@pytest.mark.usefixtures("pictures")
def test_braces_in_the_name_of_the_image_are_no_placeholder(run):
    os.link("big.png", "{day}.png")
    assert run("match", "{day}.png", "face.png")[0] == 0
    assert map_size("{day}.heatmap.png") == (160, 130)


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["big.png", "face.png"], "match big.png face.png"),
        (["a b.png"], "match 'a b.png'"),
        (["big", "face", "flag", "other", "--top", "1"], "match big face flag ..."),
        (["matc", "big.png", "face.png"], "match big.png face.png"),
        (["run/step.safetensors", "other.pt"], "loss run/step.safetensors other.pt"),
    ],
)
def test_a_forgotten_command_is_named(words, meant, run):
    code, out, err = run(*words)
    assert (code, out) == (2, "")
    assert said(err) == (
        f"{words[0]!r} is no command; there is match, scan, merge, loss, doctor\n"
        f"did you mean: patchsim {meant}"
    )


def test_the_help_of_all_commands_says_what_each_is_in_a_whole_sentence(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    _, out, _ = run("--help")
    listed = out.partition("Commands:\n")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^  ([a-z]+) +([A-Z].*)$", listed, re.MULTILINE))
    assert list(rows) == list(choices.COMMANDS)
    assert all(re.fullmatch(r"[^.]+\.", row) for row in rows.values())  # without an ellipsis


@pytest.mark.parametrize("words", [[], ["match"], ["scan"], ["merge"], ["loss"], ["doctor"]])
def test_help_fits_a_terminal_and_tells_all_exit_codes(words, run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    code, out, _ = run(*words, "--help")
    assert code == 0
    assert [line for line in out.splitlines() if len(line) > 79] == []
    assert "list[" not in out
    assert "<str>" not in out
    if words:
        codes = [line.split()[0] for line in out.splitlines() if re.match(r"  \d+ +\w", line)]
        assert codes == [
            "0",
            *(["1"] if words[0] in ("match", "scan", "merge") else []),
            "2",
            "3",
            "129",
            "130",
            "143",
        ]


@pytest.mark.usefixtures("pictures")
def test_memory_that_does_not_suffice_is_told_with_what_would(run):
    load("big.png").save("big.bmp")  # no reader of it reads windows
    code, _, err = run("match", "big.bmp", "face.png", "--memory", "120kB")
    assert code == 2
    assert "kB of the memory of 120.0 kB are left" in err
    least = re.search(r"allow at least ([\d.]+ kB) with --memory", err)[1]
    assert run("match", "big.bmp", "face.png", "--memory", least.replace(" ", ""))[0] == 0
    np.save("big.npy", np.asarray(load("big.png")))  # takes little to decode
    words = ("match", "big.npy", "face.png", "--memory", "110kB")
    code, _, err = run(*words)
    says = " is the least for these pictures and outputs;\nallow more with --memory (memory=)"
    assert code == 2
    assert said(err).endswith(says)
    _, _, err = run(*words, "face.png")
    assert said(err).endswith(f"{says}, or search for fewer kernels at a time")


@pytest.mark.usefixtures("pictures")
def test_the_plan_does_not_contradict_the_engine_that_was_asked_for(run):
    words = ("match", "big.png", "flag.png", "--threshold", "auto", "--explain")
    _, _, err = run(*words, "--engine", "pruned")
    assert "--threshold auto asks for a map unless --engine pruned is given" in err
    _, _, err = run(*words, "--engine", "pruned", "--no-heatmap")
    assert "plan for flag.png: pruned on cpu" in err
    assert "it draws no map" not in err


@pytest.mark.usefixtures("pictures")
def test_a_read_only_folder_is_told_before_the_search(run, monkeypatch):
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    code, out, err = run("match", "big.png", "face.png")
    assert (code, out) == (2, "")
    assert "is not writable" in err


@pytest.mark.usefixtures("pictures")
def test_a_full_disk_exits_3_and_keeps_the_matches(run):
    code, out, err = run("match", "big.png", "face.png", "--map", "/dev/full", "--no-heatmap")
    assert code == 3
    assert out.splitlines()[1].startswith("100\t100\t")
    assert err == (
        "patchsim: cannot write /dev/full: No space left on device;"
        " free some space or write elsewhere\n"
    )
    assert run("match", "big.png", "face.png", "--heatmap", "/dev/null")[0] == 0
    for device in ("/dev/full", "/dev/null"):
        assert stat.S_ISCHR(Path(device).stat().st_mode)


@pytest.mark.usefixtures("pictures")
def test_a_full_disk_keeps_the_report_of_a_search_that_found_nothing(run, save, astronaut):
    save("negative.png", 255 - astronaut[:40, :40])
    words = ("--map", "/dev/full", "--no-heatmap", "--threshold", "0.999", "--format", "json")
    code, out, err = run("match", "big.png", "negative.png", *words)
    assert code == 3
    assert json.loads(out)["matches"] == []
    assert "cannot write /dev/full" in err


@pytest.mark.usefixtures("pictures")
def test_debug_shows_the_traceback_and_only_then(run):
    assert said(run("match", "big.png", "no.png", "--debug")[2]).startswith("Traceback")
    assert "Traceback" not in run("match", "big.png", "no.png")[2]


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize(
    ("raised", "says"),
    [
        (MemoryError(), "out of memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "out of memory"),
        (KeyError("odd"), "a fault in patchsim: KeyError: 'odd'"),
    ],
)
def test_faults_exit_3(raised, says, run, monkeypatch):
    from patchsim.execution import runner

    def fail(*_):
        raise raised

    monkeypatch.setattr(runner, "run_together", fail)
    code, out, err = run("match", "big.png", "face.png")
    assert (code, out) == (3, "")
    assert says in err
    assert not Path("big.heatmap.png").exists()


@pytest.mark.usefixtures("pictures")
def test_csv_for_spreadsheets_is_asked_for(run):
    os.link("face.png", "=1+1.png")
    words = ("match", "big.png", "=1+1.png", "--no-heatmap", "--top", "1", "--format")
    plain, safe = run(*words, "csv")[1], run(*words, "csv", "--csv-safe")[1]
    assert ",=1+1.png,120.5,115.5\n" in plain
    assert safe == plain.replace("=1+1", "'=1+1")
    code, _, err = run(*words, "tsv", "--csv-safe")
    assert code == 2
    assert "--csv-safe says nothing to --format tsv" in err


def test_no_text_of_an_error_drives_the_terminal(run, monkeypatch):
    monkeypatch.setenv("PATCHSIM_SIMD", "\x1b[31m" + "x" * 1_000)
    np.save("a.npy", np.zeros((8, 8), np.uint8))
    code, _, err = run("match", "a.npy", "a.npy", "--no-heatmap", "--engine", "simd")
    assert code == 2
    assert "\\x1b[31mx" in err
    assert err.rstrip("\n").isprintable()
    assert len(err) < 400


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
@pytest.mark.usefixtures("pictures")
def test_a_pipe_gets_a_map_as_npy_whatever_its_name(run, tmp_path):
    os.mkfifo(tmp_path / "m.tif")
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit((tmp_path / "m.tif").read_bytes)
        code, _, err = run("match", "big.png", "face.png", "--no-heatmap", "--map", "m.tif")
    assert code == 0, err
    found = np.load(io.BytesIO(read.result()))
    assert (found.dtype, found.max()) == (np.float32, 1)
