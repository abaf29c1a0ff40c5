"""The preview of matches in a terminal, and that there is none elsewhere."""

from __future__ import annotations

import importlib.util
import os
import re
import struct
import subprocess
import sys

import numpy as np
import pytest
from helpers import ENVIRONMENT
from helpers.terminal_pictures import of_kitty, of_sixels
from PIL import Image
from rich.console import Console

import patchsim
from patchsim import Match
from patchsim.cli import preview
from patchsim.output.half_blocks import HalfBlocks

pty = pytest.importorskip("pty", reason="pseudo-terminals are of POSIX systems")
fcntl = pytest.importorskip("fcntl")
termios = pytest.importorskip("termios")

SIXEL_ANSWERS = ((b"\x1b[c", b"\x1b[?62;4c"), (b"\x1b[16t", b"\x1b[6;20;10t"))
BLOCK = "\N{UPPER HALF BLOCK}"


@pytest.fixture
def pictures(save, rng, tmp_path, monkeypatch):
    image = np.full((40, 80, 3), (20, 60, 120), np.uint8)
    image[10:20, 30:50] = rng.integers(0, 256, (10, 20, 3))
    save("image.png", image)
    save("kernel.png", image[10:20, 30:50])
    monkeypatch.chdir(tmp_path)


def shown(*words, answers=(), **environment):
    """What a terminal of 80x24 gets from the command; it answers questions."""
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("4H", 24, 80, 800, 480))
    command = [sys.executable, "-m", "patchsim", "match", "image.png", "kernel.png", "--no-heatmap",
               "--top", "1", *words]  # fmt: skip
    quiet = {name: "" for name in ("TERM_PROGRAM", "TMUX") if name in os.environ}
    process = subprocess.Popen(
        command, stdin=other, stdout=other, stderr=subprocess.DEVNULL,
        env={**ENVIRONMENT, **quiet, "TERM": "xterm", "COLUMNS": "80", "LINES": "24",
             "COLORTERM": "truecolor", **environment},
    )  # fmt: skip
    os.close(other)
    found, waiting = b"", list(answers)
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # the end, as Linux tells it
            break
        if not part:
            break
        found += part
        for question, answer in waiting[:]:
            # Pictures begin like questions; an answer to one would be echoed into it.
            if question in part:
                os.write(main, answer)
                waiting.remove((question, answer))
    assert process.wait(60) == 0
    os.close(main)
    return found.decode()


@pytest.mark.usefixtures("pictures")
def test_half_blocks_when_asked_and_then_the_table():
    text = shown("--preview")
    plain = re.sub(r"\x1b\[[\d;]*m", "", text).replace("\r", "")
    rows = [line for line in plain.splitlines() if BLOCK in line]
    # 64x32 pixels would be taller than half of the 24 lines.
    assert [len(row) for row in rows] == [48] * 12
    assert plain.index(BLOCK) < plain.index("score")
    assert "\x1b[38;2;20;60;120;48;2;20;60;120m" in text


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize("words", [(), ("--no-preview",)])
def test_no_preview_without_being_asked(words):
    assert BLOCK not in shown(*words)
    assert "score" in shown(*words)


@pytest.mark.usefixtures("pictures")
def test_never_in_a_pipe(run):
    code, out, err = run("match", "image.png", "kernel.png", "--no-heatmap", "--preview")
    assert code == 0
    assert BLOCK not in out + err
    assert out.startswith("x\ty\t")


@pytest.mark.usefixtures("pictures")
def test_an_error_of_the_preview_is_told(monkeypatch, capfd):
    def broken(*_):
        raise ZeroDivisionError("a terminal without columns")

    monkeypatch.setattr(preview, "_picture", broken)
    report = patchsim.match("image.png", "kernel.png", top=1)
    preview.draw(report)
    told = "patchsim: no preview: ZeroDivisionError: a terminal without columns\n"
    assert capfd.readouterr().err == told


@pytest.mark.usefixtures("pictures")
def test_half_blocks_are_nothing_without_colours():
    assert BLOCK not in shown("--preview", NO_COLOR="1")


@pytest.mark.usefixtures("pictures")
def test_lines_for_a_program_have_none():
    assert BLOCK not in shown("--preview", "--print", "{x}")


def test_a_search_without_one_imports_none_of_it():
    code = (
        "import sys; from patchsim.cli import console; from patchsim.cli.app import app\n"
        "console.run(app, ['match', 'no.png', 'no.png'])\n"
        "print([m for m in ('textual_image', 'patchsim.output.half_blocks') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True,
                          env=ENVIRONMENT, check=True)  # fmt: skip
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("environment", "shows"),
    [
        ({"TERM": "xterm-kitty"}, True),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, True),
        ({"TERM_PROGRAM": "iTerm.app", "TERM": "xterm-256color"}, True),
        ({"TERM": "foot"}, True),
        ({"TERM": "xterm-256color"}, False),
        ({"TERM": "screen", "KITTY_WINDOW_ID": "1"}, False),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux"}, False),
        ({}, False),
    ],
)
def test_which_terminals_show_pictures(environment, shows):
    assert preview.can_show_pictures(environment) == shows


@pytest.mark.usefixtures("pictures")
@pytest.mark.skipif(
    importlib.util.find_spec("textual_image") is None, reason="textual-image is not installed"
)
@pytest.mark.parametrize(
    ("environment", "answers", "mark", "decode"),
    [
        ({"TERM": "foot"}, SIXEL_ANSWERS, "\x1bP", of_sixels),
        ({"TERM_PROGRAM": "iTerm.app"}, SIXEL_ANSWERS, "\x1bP", of_sixels),
        (
            {"TERM": "xterm-kitty"},
            (
                (b"\x1b[c", b"\x1b[?62c"),
                (b"\x1b_Gi=", b"\x1b_Gi=31;OK\x1b\\"),
                (b"\x1b[16t", b"\x1b[6;20;10t"),
            ),
            "\x1b_G",
            of_kitty,
        ),
    ],
)
def test_pictures_where_the_terminal_shows_them(environment, answers, mark, decode):
    text = shown(answers=answers, **environment)
    assert text.index(mark) < text.index("score")
    picture = decode(text)
    report = patchsim.match("image.png", "kernel.png", top=1)
    expected = report.display.preview(report).resize(picture.shape[1::-1])
    assert picture.shape == (240, 480, 3)  # of 24 lines of 20 pixels the half
    # Sixels have few colours, and both are enlarged.
    assert np.abs(picture.astype(int) - np.asarray(expected)).mean() < 4
    assert mark not in shown("--no-preview", answers=answers, **environment)


def blocks(size, matches, columns, rows, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 200, (*size[::-1], 3), np.uint8)
    return HalfBlocks(Image.fromarray(pixels), matches, size, columns, rows)


@pytest.mark.parametrize(
    ("size", "columns", "rows", "shape"),
    [((80, 40), 64, 40, (32, 64)), ((80, 40), 64, 5, (10, 20)), ((10, 900), 64, 12, (24, 1)),
     ((900, 10), 64, 12, (2, 64)), ((3, 3), 30, 9, (18, 18))],
)  # fmt: skip
def test_half_blocks_keep_the_ratio_and_fit(size, columns, rows, shape):
    made = blocks(size, [], columns, rows)
    assert made.pixels.shape == (*shape, 3)
    console = Console(width=100, color_system="truecolor", force_terminal=True)
    with console.capture() as capture:
        console.print(made)
    lines = re.sub(r"\x1b\[[\d;]*m", "", capture.get()).splitlines()
    assert [len(line) for line in lines] == [shape[1]] * (shape[0] // 2)


def test_boxes_cover_the_outermost_pixels_of_a_match():
    made = blocks((64, 64), [Match(16, 8, 24, 12, 1.0, "k")], 64, 32)
    yellow = (made.pixels == (255, 255, 0)).all(axis=2)
    rows, cols = np.nonzero(yellow)
    assert (rows.min(), rows.max(), cols.min(), cols.max()) == (8, 19, 16, 39)
    assert yellow.sum() == 2 * 24 + 2 * 10
