"""patchsim scan: lists in, lines out, whatever the pictures are."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import random
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import patchsim

from patchsim import MachineError, Matcher
from patchsim.cli import scan_progress, watcher
from patchsim.scanning import listing
from patchsim.search import fitted_windows, pose_seconds

COUNT = 12


@pytest.fixture
def drawn(rng, save, tmp_path):
    """A kernel and pictures in a folder; those with odd numbers hold the kernel at (number, 3)."""
    (tmp_path / "in").mkdir()
    kernel = rng.integers(0, 256, (8, 9, 3), dtype=np.uint8)
    save("k.png", kernel)
    for number in range(COUNT):
        picture = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
        if number % 2:
            picture[3:11, number : number + 9] = kernel
        save(f"in/{number:02}.png", picture)
    return tmp_path


ASK = ("--kernel", "k.png", "--threshold", "0.99")
FOUND = [f"in/{number:02}.png" for number in range(1, COUNT, 2)]


def objects(out):
    return [json.loads(line) for line in out.splitlines()]


@pytest.mark.usefixtures("drawn")
def test_rows_begin_with_the_picture(run):
    code, out, err = run("scan", "in", *ASK)
    assert (code, err) == (0, "")
    head, *rows = [line.split("\t") for line in out.splitlines()]
    assert head[:3] == ["image", "x", "y"]
    assert [(row[0], int(row[1]), int(row[2])) for row in rows] == [
        (name, 1 + 2 * number, 3) for number, name in enumerate(FOUND)
    ]


@pytest.mark.usefixtures("drawn")
def test_each_form_has_the_matches_of_match(run):
    _, alone, _ = run("match", "in/03.png", "k.png", "--no-heatmap", "--format", "jsonl")
    asked = ("scan", "in/03.png", "--kernel", "k.png")
    _, out, _ = run(*asked, "--format", "jsonl")
    assert [json.dumps(one) for one in objects(out)[0]["matches"]] == alone.splitlines()
    _, out, _ = run(*asked, "--format", "json")
    assert json.loads(out)[0]["matches"] == objects(alone)
    _, out, _ = run(*asked, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert (rows[0]["image"], rows[0]["x"]) == ("in/03.png", "3")
    _, out, _ = run(*asked, "--print", "{image}:{click_x}", "--top", "1")
    assert out == "in/03.png:7\n"
    _, out, _ = run(*asked, "--columns", "y,image", "--no-header", "--top", "1")
    assert out == "3\tin/03.png\n"
    _, out, _ = run(*asked, "--format", "table", "--top", "1")
    assert out.splitlines()[1].split()[:3] == ["in/03.png", "3", "3"]


@pytest.mark.usefixtures("drawn")
def test_several_kernels_and_the_kernel_itself(run):
    code, out, _ = run(
        "scan", "k.png", "in/01.png", *ASK, "-k", "in/02.png", "--columns", "image,x"
    )
    assert code == 0
    assert out == "image\tx\nk.png\t0\nin/01.png\t1\n"


@pytest.mark.usefixtures("drawn")
def test_json_is_one_list_of_pictures(run):
    code, out, _ = run("scan", "in", "nothing.png", *ASK, "--format", "json")
    found = json.loads(out)
    assert code == 0
    assert len(found) == COUNT + 1
    assert "does not exist" in found[-1]["error"]
    _, out, _ = run("scan", "in/00.png", *ASK, "--format", "json", "--unmatched")
    assert [one["image"] for one in json.loads(out)] == ["in/00.png"]
    _, out, _ = run("scan", "in/01.png", *ASK, "--format", "json", "--unmatched")
    assert json.loads(out) == []


@pytest.mark.parametrize("name", ["a.png", "two\nlines.png", "no utf-8 \udcff.png", "{.png"])
def test_json_lines_are_the_list_of_another_scan(name, run, drawn):
    (drawn / name).write_bytes((drawn / "in/01.png").read_bytes())
    (drawn / "cut.png").write_bytes(b"")
    (drawn / "0").write_bytes(b"\0".join([os.fsencode(f"./{name}"), b"in/00.png", b"cut.png"]))
    _, first, _ = run("scan", "-0", "--list", "0", *ASK, "--format", "jsonl")
    assert len(json.loads(first.splitlines()[0])["matches"]) == 1
    part = {"image": "in/01.png", "region": [20, 0, 20, 20]}  # without the match
    (drawn / "1").write_text(first + json.dumps(part) + "\n")
    code, second, _ = run("scan", "--list", "1", *ASK, "--format", "jsonl")
    assert code == 0
    assert second.startswith(first)
    (drawn / "2").write_text(second)
    assert run("scan", "--list", "2", *ASK, "--format", "jsonl")[1] == second
    _, third, _ = run("scan", "--list", "2", *ASK, "--format", "jsonl", "--unmatched")
    assert third.splitlines() == second.splitlines()[1:]
    (drawn / "3").write_text(third)
    assert run("scan", "--list", "3", *ASK, "--format", "jsonl")[:2] == (1, third)


@pytest.mark.usefixtures("drawn")
def test_unmatched(run):
    code, out, _ = run("scan", "in", *ASK, "--unmatched")
    assert code == 0
    assert out.split() == ["image", *(f"in/{n:02}.png" for n in range(0, COUNT, 2))]
    assert run("scan", "in/01.png", *ASK, "--unmatched")[:2] == (0, "image\n")
    assert run("scan", "in/01.png", *ASK, "--unmatched", "--no-header")[:2] == (0, "")
    assert run("scan", "in/01.png", *ASK, "--unmatched", "--format", "jsonl")[:2] == (0, "")
    code, _, err = run("scan", "in", "--kernel", "k.png", "--unmatched")
    assert code == 2
    assert "needs --threshold" in err


@pytest.mark.usefixtures("drawn")
def test_exit_codes(run):
    assert run("scan", "in/00.png", *ASK)[0] == 1
    code, out, err = run("scan", "in/00.png", "no.png", *ASK)
    assert code == 1
    assert len(out.splitlines()) == 1  # the header
    assert err == "patchsim: no.png does not exist; check the path\n"
    assert run("scan", "in/01.png", "no.png", *ASK, "--strict")[0] == 2
    code, out, _ = run("scan", "no.png", "k*.bmp", *ASK, "--format", "jsonl")
    assert code == 2
    assert [one["image"] for one in objects(out)] == ["no.png", "k*.bmp"]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--kernel", "k.png"), "there are no pictures"),
        (("-", "--list", "-", "--kernel", "k.png"), "two lists"),
        (("-", "--kernel", "-"), "'-' is the list"),
        (("in", "--kernel", "k.png", "-0"), "--null is about a list"),
        (("--list", "no.txt", "--kernel", "k.png"), "no.txt does not exist"),
        (("in", "--kernel", "no.png"), "no.png does not exist"),
        (("in", "--kernel", "k.png", "--resume", "r", "--print", "{x}"), "--resume writes"),
        (("in", "--kernel", "k.png", "--resume", "r", "--format", "csv"), "--resume writes"),
        (("in", "--kernel", "k.png", "--resume", "k.png"), "line 1 of k.png is none of a scan"),
    ],
)
@pytest.mark.usefixtures("drawn")
def test_usage(words, says, run):
    code, out, err = run("scan", *words)
    assert (code, out) == (2, "")
    assert says in err


def test_a_damaged_picture_is_one_line(drawn, run):
    whole = (drawn / "in/01.png").read_bytes()
    (drawn / "in/01.png").write_bytes(whole[: len(whole) // 2])
    (drawn / "in/05.png").write_bytes(b"")
    code, out, err = run("scan", "in", *ASK)
    assert code == 0
    assert len(out.splitlines()) == 1 + len(FOUND) - 2
    assert [line.split()[1] for line in err.splitlines()] == ["in/01.png", "in/05.png"]


def test_names_are_escaped(drawn, run):
    odd = "in/a\tb\n\\.png"
    (drawn / "in/01.png").rename(drawn / odd)
    _, out, _ = run("scan", "in", *ASK)
    assert "in/a\\tb\\n\\\\.png\t1\t3" in out
    _, out, _ = run("scan", "in", *ASK, "--format", "jsonl")
    assert odd in [one["image"] for one in objects(out)]


def test_lists_of_files(drawn, run):
    (drawn / "list").write_text(
        'in/01.png\n\n{"image": "in/03.png", "region": [0, 0, 20, 20]}\n{\n'
    )
    code, out, _ = run("scan", "--list", "list", *ASK, "--format", "jsonl")
    assert code == 0
    one, two, three = objects(out)
    assert list(two) == ["image", "region", "width", "height", "threshold", "matches"]
    assert [len(one["matches"]), len(two["matches"])] == [1, 1]
    assert "is no JSON" in three["error"]
    (drawn / "null").write_bytes(b"in/01.png\0in/01.png\0")
    _, out, _ = run("scan", "--list", "null", "-0", *ASK, "--columns", "image")
    assert out.split() == ["image", "in/01.png", "in/01.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such pipes")
def test_a_pipe_with_a_name_as_list(drawn, run):
    os.mkfifo(drawn / "pipe")
    writer = threading.Thread(target=(drawn / "pipe").write_text, args=("in/01.png\n",))
    writer.start()
    code, out, _ = run("scan", "--list", "pipe", *ASK, "--columns", "image")
    writer.join()
    assert (code, out) == (0, "image\nin/01.png\n")


def test_an_empty_list(drawn, run):
    (drawn / "list").touch()
    code, _, err = run("scan", "--list", "list", *ASK)
    assert (code, err) == (1, "patchsim: the list has no picture\n")


@pytest.mark.usefixtures("drawn")
def test_notices_are_told_once(run, save):
    save("flat.png", np.full((8, 9, 3), 7, np.uint8))
    _, _, err = run("scan", "in", *ASK, "-k", "flat.png")
    assert err.count("flat.png") == 1


@pytest.mark.usefixtures("drawn")
def test_a_low_threshold_is_told_once_for_pictures_of_several_types(run, save, rng):
    save("deep.png", rng.integers(0, 65536, (30, 40), dtype=np.uint16))
    for pictures in (("in", "deep.png"), ("deep.png", "in")):
        _, _, err = run("scan", *pictures, "-k", "k.png", "--threshold", "0.2")
        assert err.count("does not exceed what an empty area") == 1


@pytest.mark.usefixtures("drawn")
def test_an_error_of_a_picture_is_a_line_that_names_it(run):
    content = Path("in/01.png").read_bytes()
    for name in ("in/torn.png", "in/torn-2.png"):
        Path(name).write_bytes(content[: len(content) // 2])
    _, _, err = run("scan", "in", *ASK)
    lines = err.splitlines()
    assert ["in/torn-2.png" in line for line in lines] == [True, False]
    assert ["in/torn.png" in line for line in lines] == [False, True]
    assert all(line.endswith("; download or save it again") for line in lines)


@pytest.mark.parametrize("form", ["tsv", "json", "jsonl"])
def test_each_line_of_a_notice_names_what_it_is_about(run, save, rng, form):
    """`grep` finds all of a message about a picture, whatever else is told around it."""
    labels = rng.integers(0, 3, (40, 40), dtype=np.uint16)
    save("labels.png", labels)
    np.save("near.npy", rng.random((40, 40), dtype=np.float32) * 1e-13)
    save("bytes.png", rng.integers(0, 256, (40, 40), dtype=np.uint8))
    for kernel, words, says, remedy in (
        ("labels.png", (), "has values up to 2", "give --data-range 0:255"),
        ("labels.png", ("--data-range", "0:65535"), "has 8 bits", "use --metric zncc"),
        ("near.npy", ("--data-range", "0:1"), "next to nothing", "name their own range"),
    ):
        code, _, err = run(
            "scan", "labels.png", "near.npy", "bytes.png", "-k", kernel, "--format", form, *words
        )
        (line,) = [line for line in err.splitlines() if says in line]
        assert remedy in line
        assert any(name in line for name in ("labels.png", "near.npy", "bytes.png")), line
        assert not [other for other in err.splitlines() if other.startswith(f"patchsim: {remedy}")]
        assert code in (0, 2)


def test_an_error_and_the_variable_behind_it_are_one_line(run, save, rng, monkeypatch):
    monkeypatch.setenv("PATCHSIM_REGION", "90,90,5,5")
    save("a.png", rng.integers(0, 256, (40, 40), dtype=np.uint8))
    _, _, err = run("scan", "a.png", "-k", "a.png")
    (line,) = err.splitlines()
    assert "none of it in the image a.png" in line
    assert line.endswith("; PATCHSIM_REGION=90,90,5,5 is set in the environment")


def test_what_poses_cost_is_told_once_for_pictures_of_several_sizes(run, save, rng, monkeypatch):
    for side in (20, 30, 40):
        save(f"{side}.png", rng.integers(0, 256, (side, side), dtype=np.uint8))
    save("k.png", rng.integers(0, 256, (8, 8), dtype=np.uint8))
    seconds = itertools.count(31)
    monkeypatch.setattr(pose_seconds.PoseSeconds, "total", property(lambda _: next(seconds)))
    poses = ("--angles", "0,10,20", "--exhaustive", "--top", "1")
    _, _, err = run("scan", "20.png", "30.png", "40.png", "-k", "k.png", *poses)
    assert err.count("poses are searched, which takes about") == 1
    assert re.match(r"patchsim: [234]0\.png: 3 poses are searched, which takes about", err)


def test_a_picture_that_takes_longer_than_expected_is_named(run, save, rng, monkeypatch):
    save("a.png", rng.integers(0, 256, (60, 60), dtype=np.uint8))
    save("k.png", rng.integers(0, 256, (16, 16), dtype=np.uint8))
    clock = itertools.count(0, 2)
    monkeypatch.setattr(fitted_windows.time, "perf_counter", lambda: float(next(clock)))
    poses = ("--angles", "0:330:30", "--exhaustive", "--top", "1")
    _, _, err = run("scan", "a.png", "-k", "k.png", *poses)
    assert err.count("poses are searched, which takes about") == 1
    assert "patchsim: a.png: 12 poses are searched, which takes about" in err


@pytest.mark.parametrize("words", [(), ("--cluster", "local:1")])
def test_pictures_that_leave_threshold_auto_undecided_are_named(words, run, save, rng):
    """Sizes tell it of small.png before the search, and scores of tiled.png behind it."""
    if words:
        pytest.importorskip("distributed")
    tile = rng.integers(0, 256, (20, 20, 3), dtype=np.uint8)
    save("tiled.png", np.tile(tile, (10, 10, 1)))
    save("small.png", np.tile(tile, (2, 2, 1)))
    save("kernel.png", tile)
    save("other.png", rng.integers(0, 256, (150, 150, 3), dtype=np.uint8))
    pictures = ("tiled.png", "small.png", "other.png")
    code, _, err = run("scan", *pictures, "-k", "kernel.png", "--threshold", "auto", *words)
    assert code == 1
    told = {line.split(": ")[1] for line in err.splitlines()}
    assert told == {"tiled.png", "small.png"}
    assert err.count("threshold auto compares places") == err.count("give a number") == 2


def test_a_coprocess_answers_each_line_before_the_next(drawn):
    words = ("scan", "-", *ASK, "--format", "jsonl")
    with patchsim(*words, cwd=drawn, stdin=subprocess.PIPE) as process:
        for line, count in (
            ("in/01.png", 1),
            ("in/00.png", 0),
            ('{"image": "in/03.png", "region": [4, 0, 30, 30]}', 0),
            ("in/01.png", 1),
        ):
            process.stdin.write(f"{line}\n")
            process.stdin.flush()
            assert len(json.loads(process.stdout.readline())["matches"]) == count
        process.stdin.write("no.png\n")
        process.stdin.flush()
        assert "does not exist" in json.loads(process.stdout.readline())["error"]
        process.stdin.close()
        assert process.wait() == 0


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
def test_an_interrupted_scan_keeps_what_was_printed(drawn):
    words = ("scan", "-", *ASK, "--format", "json")
    with patchsim(*words, cwd=drawn, stdin=subprocess.PIPE) as process:
        process.stdin.write("in/01.png\n")
        process.stdin.flush()
        begun = "".join(process.stdout.readline() for _ in range(3))
        time.sleep(0.3)  # until it waits for the next line
        process.send_signal(signal.SIGINT)
        out, err = process.stdout.read(), process.stderr.read()
        assert (process.wait(), err) == (130, "")
    assert [one["image"] for one in json.loads(begun + out)] == ["in/01.png"]


@pytest.mark.skipif(os.name == "nt", reason="Windows has other pipes")
def test_a_closed_pipe_ends_the_scan(drawn):
    words = ("scan", "-", *ASK)
    with patchsim(*words, cwd=drawn, stdin=subprocess.PIPE) as process:
        process.stdin.write("in/01.png\n")
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        process.stdin.write("in/01.png\n" * 3)
        process.stdin.flush()  # and stays open: nothing else ends the list
        assert process.wait(60) == 0
        assert process.stderr.read() == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk(drawn):
    with (
        Path("/dev/full").open("w") as full,
        patchsim("scan", "in", *ASK, cwd=drawn, stdout=full) as end,
    ):
        assert end.wait() == 3
        assert "cannot write the results" in end.stderr.read()


def resumed(run, **changes):
    words = {"--kernel": "k.png", "--threshold": "0.99", "--resume": "out.jsonl", **changes}
    return run("scan", "in", *(word for pair in words.items() for word in pair))


def test_resume_leaves_out_what_is_there_and_cuts_half_a_line(drawn, run):
    code, out, err = resumed(run)
    assert (code, out) == (0, "")
    assert f"0 results were there, {COUNT} were added" in err
    path = drawn / "out.jsonl"
    whole = path.read_bytes()
    head, *lines = whole.splitlines(keepends=True)
    assert "scan" in json.loads(head)
    _, printed, _ = run("scan", "in", *ASK, "--format", "jsonl")
    assert b"".join(lines).decode() == printed
    for size in (0, 5, len(head) - 1, len(head), len(head) + 20, len(whole) - 1, len(whole)):
        path.write_bytes(whole[:size])
        assert resumed(run)[0] == 0
        assert path.read_bytes() == whole
    (drawn / "in/00.png").rename(drawn / "in/99.png")
    _, _, err = resumed(run)
    assert "were there, 1 were added" in err


def test_resume_tries_again_what_the_machine_could_not_do(drawn, run, monkeypatch):
    whole = Matcher.match

    def match(self, image, **options):
        if str(image).endswith("01.png"):
            raise MachineError("out of memory")
        return whole(self, image, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Matcher, "match", match)
        _, _, err = resumed(run)
    assert "patchsim: in/01.png: out of memory" in err
    assert f"0 results were there, {COUNT - 1} were added" in err
    assert f"{COUNT - 1} results were there, 1 were added" in resumed(run)[2]
    lines = (drawn / "out.jsonl").read_text().splitlines()
    names = [json.loads(line).get("image") for line in lines]
    assert names[-1].endswith("01.png")
    assert len({*names}) == COUNT + 1


def test_resume_says_how_many_of_its_results_are_errors(drawn, run):
    (drawn / "in/05.png").write_bytes(b"")
    assert "errors" not in resumed(run)[2]
    assert resumed(run)[2].endswith("0 were added; 1 of those that were there are errors\n")


def test_resume_tries_pictures_again_that_were_mended(drawn, run):
    torn = drawn / "in" / "01.png"
    content = torn.read_bytes()
    torn.write_bytes(content[:100])
    assert "01.png" in resumed(run)[2]
    _, _, err = resumed(run)
    assert err.endswith(
        f"{COUNT} results were there, 0 were added; 1 of those that were there are errors\n"
    )
    torn.write_bytes(content)
    _, _, err = resumed(run)
    assert err == f"patchsim: out.jsonl: {COUNT - 1} results were there, 1 were added\n"
    _, _, err = resumed(run)
    assert err == f"patchsim: out.jsonl: {COUNT} results were there, 0 were added\n"
    # The file is still the list of another scan.
    _, out, _ = run("scan", "--list", "out.jsonl", *ASK, "--columns", "image", "--no-header")
    assert out.split().count("in/01.png") == 2


@pytest.mark.usefixtures("drawn")
@pytest.mark.parametrize("option", ["--list", "--resume"])
def test_a_folder_is_no_list_and_no_journal(option, run):
    pictures = [] if option == "--list" else ["in"]
    code, out, err = run("scan", *pictures, *ASK, option, "in")
    assert (code, out) == (2, "")
    assert err.startswith("patchsim: in is a folder; give ")


def test_resume_counts_equal_requests(drawn, run):
    (drawn / "list").write_text("in/01.png\n" * 3)
    words = ("scan", "--list", "list", *ASK, "--resume", "out.jsonl")
    run(*words)
    path = drawn / "out.jsonl"
    whole = path.read_bytes()
    assert whole.count(b"\n") == 4
    path.write_bytes(whole[: -len(whole.splitlines()[-1]) - 1])
    assert "2 results were there, 1 were added" in run(*words)[2]
    assert path.read_bytes() == whole


def test_resume_refuses_other_kernels_options_and_files(drawn, run):
    code, _, err = resumed(run, **{"--resume": "none/out.jsonl"})
    assert code == 2
    assert "output folder none does not exist; create it or choose another" in err
    resumed(run)
    path = drawn / "out.jsonl"
    whole = path.read_bytes()
    code, _, err = resumed(run, **{"--threshold": "0.5"})
    assert code == 2
    assert "another threshold: 0.99 then, 0.5 now" in err
    code, _, err = resumed(run, **{"--kernel": "in/00.png"})
    assert code == 2
    assert "another kernel 1" in err
    code, _, err = resumed(run, **{"--columns": "x"})
    assert code == 2
    assert "another columns: usual then, x now" in err
    assert resumed(run, **{"--threads": "1", "--engine": "simd"})[0] == 0
    assert path.read_bytes() == whole
    first = whole.splitlines(keepends=True)[0]
    for line in (b'{"image": "a", "region": 5, "matches": []}\n', b"[" * 100_000 + b"\n"):
        path.write_bytes(first + line)
        code, _, err = resumed(run)
        assert code == 2
        assert "line 2 of out.jsonl is none of a scan" in err
    path.write_bytes(whole.replace(b'"matches"', b'"other"', 1))
    code, _, err = resumed(run)
    assert code == 2
    assert "line 2 of out.jsonl is none of a scan" in err


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")
def test_two_scans_do_not_share_a_file(drawn, run):
    words = ("scan", "-", *ASK, "--resume", "out.jsonl")
    with patchsim(*words, cwd=drawn, stdin=subprocess.PIPE) as first:
        first.stdin.write("in/01.png\n")
        first.stdin.flush()
        path = drawn / "out.jsonl"
        while not path.exists() or path.read_bytes().count(b"\n") < 2:
            time.sleep(0.01)
        code, _, err = resumed(run)
        assert code == 2
        assert "being written by another scan" in err
        first.stdin.close()
        assert first.wait() == 0


def killed(drawn, seed, kills):
    """Kill a resumed scan at random times, and return what its file has at the end."""
    chance = random.Random(seed)
    path = drawn / "out.jsonl"
    words = ("scan", "in", *ASK, "--resume", "out.jsonl")
    done = 0
    while done < kills:
        before = path.stat().st_size if path.exists() else 0
        with patchsim(*words, cwd=drawn) as process:
            while process.poll() is None and path.exists() and path.stat().st_size == before:
                time.sleep(0.001)
            time.sleep(chance.random() * 0.02)
            process.kill()
        done += process.returncode == -signal.SIGKILL
        if process.returncode == 0:  # it was too fast: some results are lost again
            whole = path.read_bytes()
            path.write_bytes(whole[: chance.randrange(len(whole))])
    with patchsim(*words, cwd=drawn) as process:
        assert process.wait() == 0
    return path.read_text().splitlines()


@pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
@pytest.mark.parametrize("kills", [4, pytest.param(50, marks=pytest.mark.slow)])
def test_nothing_is_lost_or_doubled_by_kills(kills, drawn, run):
    _, printed, _ = run("scan", "in", *ASK, "--format", "jsonl")
    assert killed(drawn, 7, kills)[1:] == printed.splitlines()


def test_progress():
    assert scan_progress.described(30, 120, 10) == "30 of 120 pictures, 3 a second, 0:30 left"
    assert scan_progress.described(1500, 0, 100) == "1,500 pictures, 15 a second"
    assert scan_progress.described(1, 8000, 1).endswith("2 h 13 left")


def test_progress_behind_an_earlier_run():
    text = scan_progress.described(30, 140, 10, before=20)
    assert text == "50 of 140 pictures, 3 a second, 0:30 left"


@pytest.mark.usefixtures("drawn")
def test_a_terminal_is_told_the_total_of_folders_that_are_listed_once(run, monkeypatch):
    listed, calls = listing.listed, []
    totals = []
    monkeypatch.setattr(watcher, "is_watched", lambda *, quiet: not quiet)
    monkeypatch.setattr(scan_progress, "_EVERY_SECONDS", 0.0)
    monkeypatch.setattr(listing, "listed", lambda *a, **k: calls.append(a) or listed(*a, **k))
    plain = scan_progress.described
    monkeypatch.setattr(
        scan_progress,
        "described",
        lambda new, total, *others, **more: (
            totals.append(total) or plain(new, total, *others, **more)
        ),
    )
    found = run("scan", "in", *ASK, "--format", "jsonl")
    assert len(calls) == 1
    assert totals[-1] == len(found[1].splitlines())
    monkeypatch.setattr(watcher, "is_watched", lambda *, quiet: False)  # noqa: ARG005
    assert run("scan", "in", *ASK, "--format", "jsonl")[:2] == found[:2]


@pytest.mark.usefixtures("drawn")
def test_plans_are_explained(run):
    code, _, err = run("scan", "in", *ASK, "--explain")
    assert code == 0
    assert err.count("plan for k.png: ") == 1


@pytest.mark.usefixtures("drawn")
def test_a_search_of_poses_is_explained_once(run):
    code, _, err = run("scan", "in", *ASK, "--explain", "--scales", "0.9,1.1")
    assert code in (0, 1)
    assert err.count("plan: poses coarse to fine: ") == 1


@pytest.mark.usefixtures("drawn")
@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_in_a_folder_is_passed_over(run):
    _, before, _ = run("scan", "in", *ASK)
    os.mkfifo("in/pipe.png")
    assert run("scan", "in", *ASK)[1] == before


@pytest.mark.usefixtures("drawn")
def test_a_page_does_not_mix_with_the_results(run):
    code, out, err = run("scan", "in", *ASK, "--report", "-")
    assert (code, out) == (2, "")
    assert "standard output carries the results" in err
