"""Waiting for a kernel: any callable, files that are rewritten, and what is read while they are."""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import patchsim
from patchsim import InputError, wait

NUMBERS = np.random.default_rng(9)
BLANK = np.full((40, 60, 3), 70, np.uint8)
GLYPH = NUMBERS.integers(0, 256, (9, 11, 3), dtype=np.uint8)
SHOWN = BLANK.copy()
SHOWN[12:21, 30:41] = GLYPH
LONG = 60  # seconds, which no test waits


@pytest.fixture
def clock(monkeypatch):
    """A clock that only sleeping moves, and what was slept; `clock.then` runs at each sleep."""

    class Clock:
        now = 0.0

        def __init__(self):
            self.slept, self.then = [], lambda: None

        def sleep(self, seconds):
            self.slept.append(seconds)
            self.now += max(seconds, 1e-6)
            self.then()

    made = Clock()
    monkeypatch.setattr(time, "monotonic", lambda: made.now)
    monkeypatch.setattr(time, "sleep", made.sleep)
    return made


def write(path, pixels):
    """Write a picture whole, as programs should; never with the stamp that it had."""
    before = path.stat().st_mtime_ns if path.exists() else 0
    Image.fromarray(pixels).save(path.with_suffix(".new"), "PNG")
    path.with_suffix(".new").replace(path)
    os.utime(path, ns=(before + 10**9, before + 10**9))


def test_any_callable_is_asked_until_the_kernel_is_there(clock):
    screens = iter([BLANK, None, Image.fromarray(BLANK), SHOWN, "never.png"])
    report = wait(lambda: next(screens), GLYPH, 9, threshold=0.99, interval=0.5)
    assert [(m.x, m.y, m.score) for m in report] == [(30, 12, 1.0)]
    assert clock.slept == [0.5, 0.5, 0.5]
    screens = iter([SHOWN, SHOWN, BLANK, "never.png"])
    assert not wait(lambda: next(screens), GLYPH, 9, threshold=0.99, gone=True)
    assert clock.slept[3:] == [0.1, 0.1]
    hidden = np.where(SHOWN[..., 0] == 70, 255, 0).astype(np.uint8)
    assert not wait(lambda: SHOWN, GLYPH, 0, threshold=0.99, image_mask=hidden)


@pytest.mark.parametrize("gone", [False, True])
def test_after_the_time_the_last_report_is_returned(gone, clock):
    looks = []
    report = wait(
        lambda: looks.append(clock.now) or (SHOWN if gone else BLANK), GLYPH, 1, gone=gone,
        threshold=0.99, interval=0.4,
    )  # fmt: skip
    assert bool(report) == gone
    assert looks == pytest.approx([0, 0.4, 0.8, 1.0])
    assert (report.best_below is None) == gone
    looks.clear()
    assert bool(wait(lambda: looks.append(1) or SHOWN, GLYPH, 0, threshold=0.99))
    assert not wait(lambda: looks.append(1) or BLANK, GLYPH, 0, threshold=0.99)
    assert looks == [1, 1]


def test_only_the_last_look_is_told(clock):
    class Collecting(patchsim.Observer):
        def __init__(self):
            self.texts = []

        def notice(self, text):
            self.texts.append(text)

    told = Collecting()
    screens = iter([BLANK, BLANK, SHOWN])
    wait(lambda: next(screens), GLYPH, 9, threshold=0.99, observer=told)
    assert told.texts == []
    wait(lambda: BLANK, GLYPH, 1, threshold=0.99, observer=told)
    assert sum(text.startswith("no match") for text in told.texts) == 1
    assert clock.now > 1


def test_a_file_is_read_when_its_stamp_changes(clock, tmp_path, monkeypatch):
    path = tmp_path / "screen.png"
    opened = []
    read = patchsim.Matcher._opened
    monkeypatch.setattr(
        patchsim.Matcher, "_opened", lambda self, path: opened.append(1) or read(self, path)
    )
    steps = iter([None, BLANK, None, None, BLANK, None, SHOWN])

    def step():
        pixels = next(steps)
        if pixels is not None:
            write(path, pixels)

    clock.then = step
    report = wait(path, GLYPH, LONG, threshold=0.99)
    assert (report.best.x, report.best.y, report.image) == (30, 12, str(path))
    assert len(opened) == 2 + 3  # twice there was no file


def test_a_file_that_is_being_written_is_not_searched(clock, tmp_path):
    path = tmp_path / "screen.png"
    write(path, SHOWN)
    whole = path.read_bytes()
    for length in (0, 20, len(whole) // 2, len(whole) - 20):
        path.write_bytes(whole[:length])
        clock.then = lambda: path.write_bytes(whole)
        assert wait(path, GLYPH, LONG, threshold=0.99)
    path.write_bytes(whole[:-60])
    clock.then = lambda: None
    with pytest.raises(InputError, match="is damaged"):
        wait(path, GLYPH, 1, threshold=0.99)
    with pytest.raises(InputError, match="does not exist"):
        wait(tmp_path / "none.png", GLYPH, 1, threshold=0.99)
    with pytest.raises(InputError, match="there was no picture within 1 s"):
        wait(lambda: None, GLYPH, 1, threshold=0.99)


def test_a_file_that_stays_unreadable_is_an_error(clock, tmp_path):
    path = tmp_path / "screen.png"
    path.write_text("this is no picture")
    with pytest.raises(InputError, match="is plain text"):
        wait(path, GLYPH, LONG, threshold=0.99)
    assert 5 < clock.now < 6
    clock.then = lambda: write(path, SHOWN if clock.now > 12 else BLANK)
    assert wait(path, GLYPH, LONG, threshold=0.99)[0].x == 30


def test_a_file_that_changes_while_it_is_read_is_read_again(clock, tmp_path, monkeypatch):
    path = tmp_path / "screen.png"
    write(path, SHOWN)
    read, count = patchsim.Matcher._opened, []

    def changing(self, path):
        picture = read(self, path)
        count.append(1)
        if len(count) < 3:
            write(path, SHOWN)
        return picture

    monkeypatch.setattr(patchsim.Matcher, "_opened", changing)
    assert wait(path, GLYPH, LONG, threshold=0.99)
    assert (len(count), len(clock.slept)) == (3, 2)


def test_what_is_refused():
    for given, says in (
        ({"threshold": None}, "wait needs a threshold"),
        ({"timeout": -1}, "wait -1 is not possible; give a number of seconds"),
        ({"timeout": "soon"}, "wait 'soon' is not a number"),
        ({"timeout": float("inf")}, "wait inf is not possible"),
        ({"interval": float("nan")}, "interval nan is not possible"),
    ):
        options = {"timeout": 1, "threshold": 0.9, **given}
        with pytest.raises(InputError, match=says):
            wait(lambda: BLANK, GLYPH, **options)
    with pytest.raises(InputError, match="standard input is read once"):
        wait("-", GLYPH, 1, threshold=0.9)
    with pytest.raises(InputError, match="pictures of one frame"):
        wait("a.gif", GLYPH, 1, threshold=0.9, frame=1)
    with pytest.raises(TypeError, match="did you mean 'interval'"):
        wait(lambda: BLANK, GLYPH, 1, threshold=0.9, intervall=1)


def test_the_command_waits(run, tmp_path):
    path = tmp_path / "screen.png"
    write(path, BLANK)
    Image.fromarray(GLYPH).save("glyph.png")
    words = ("match", path, "glyph.png", "--threshold", "0.99", "--interval", "0.01")
    later = threading.Timer(0.3, write, (path, SHOWN))
    later.start()
    code, out, err = run(*words, "--wait", str(LONG), "--format", "json", "--overlay", "found.png")
    later.join()
    found = json.loads(out)["matches"]
    assert (code, [(one["x"], one["y"]) for one in found]) == (0, [(30, 12)])
    assert "no match" not in err
    assert Path("found.png").exists()
    assert not Path("screen.heatmap.png").exists()
    assert run(*words, "--wait-gone", "0.05")[0] == 1
    later = threading.Timer(0.3, write, (path, BLANK))
    later.start()
    code, out, _ = run(*words, "--wait-gone", str(LONG))
    later.join()
    assert (code, out.count("\n")) == (0, 1)
    code, out, err = run(*words, "--wait", "0.05")
    assert (code, out.count("\n")) == (1, 1)
    assert err.count("no match: nothing reached the threshold of 0.99") == 1
    for other, says in (
        (["--wait", "1", "--wait-gone", "1"], "contradict each other"),
        ([], "--interval is about waiting"),
        (["--wait", "soon"], "wait 'soon' is not a number"),
    ):
        code, _, err = run(*words, *other)
        assert (code, says in err) == (2, True)


def test_the_first_look_is_explained(run, tmp_path):
    write(tmp_path / "screen.png", SHOWN)
    Image.fromarray(GLYPH).save(tmp_path / "glyph.png")
    words = ("match", "screen.png", "glyph.png", "--threshold", "0.99", "--wait", "5")
    code, out, err = run(*words, "--explain")
    assert code == 0
    assert err.count("plan for glyph.png: ") == 1
    assert (out, "") == run(*words)[1:]
    _, _, err = run(*words[:5], "--wait-gone", "0.05", "--interval", "0.01", "--explain")
    assert err.count("plan for glyph.png: ") == 1


@pytest.mark.parametrize(("screens", "searches"), [([BLANK], 1), ([BLANK, SHOWN], 3)])
def test_the_picture_of_the_end_is_searched_once_with_its_outputs(
    screens, searches, clock, tmp_path, monkeypatch
):
    from patchsim.matching.waiting import look_until

    searched, match = [], patchsim.Matcher.match
    monkeypatch.setattr(
        patchsim.Matcher, "match", lambda *a, **k: searched.append(a) or match(*a, **k)
    )
    matcher, path = patchsim.Matcher(GLYPH, threshold=0.99), tmp_path / "found.png"
    shown, seconds = iter(screens), len(screens) - 1
    report = look_until(
        matcher, lambda: next(shown), 9 * seconds, gone=False, interval=1, overlay=path
    )
    assert (len(searched), bool(report)) == (searches, len(screens) == 2)
    assert path.exists()
    assert clock.now == seconds
