"""How messages stand on stderr."""

from __future__ import annotations

import os
import sys

import pytest

from patchsim.cli import console

TEXT = (
    "b.npy has a value nan at x=40, y=30; similarity needs finite values; give --nan ignore"
    " (nan='ignore'), or replace it"
)


@pytest.fixture
def told(monkeypatch):
    """A function that says a text on a terminal so many characters wide, and returns the lines."""
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")

    def say(text, width):
        terminal, stderr = pty.openpty()
        termios.tcsetwinsize(stderr, (24, width))
        with monkeypatch.context() as patched, os.fdopen(stderr, "w") as stream:
            patched.setattr(sys, "stderr", stream)
            console.say(text)
            console.say("|")  # the end of what there is to read
            shown = b""
            while not shown.endswith(b"|\r\n"):
                shown += os.read(terminal, 1 << 16)
        os.close(terminal)
        *lines, _ = shown.decode().splitlines()
        return lines

    return say


def test_a_terminal_has_lines_that_break_between_words(told):
    for width in (45, 80, len(TEXT) + 9):
        lines = told(TEXT, width)
        assert len(lines) > 1
        assert max(map(len, lines)) <= width
        assert all(line.startswith("patchsim: ") for line in lines)
        assert all(line.startswith("patchsim:   ") for line in lines[1:])
        assert " ".join(line.removeprefix("patchsim: ").strip() for line in lines) == TEXT
    assert told(TEXT, len(TEXT) + 10) == [f"patchsim: {TEXT}"]


def test_words_stay_whole_and_columns_apart(told):
    path = "/a-folder/with-a-long-name" * 4
    assert told(f"map {path}: float32", 80) == [
        "patchsim: map",
        f"patchsim:   {path}:",
        "patchsim:   float32",
    ]
    row = "  simd    cpu     4.6 ms  4.5 times as long"
    assert told(f"plan:\n{row}{' more' * 9}", 80) == [
        "patchsim: plan:",
        f"patchsim: {row}{' more' * 5}",
        f"patchsim:    {' more' * 4}",
    ]


@pytest.mark.parametrize("width", [0, 30])
def test_a_terminal_of_no_width_to_speak_of_breaks_lines_itself(width, told):
    assert told(TEXT, width) == [f"patchsim: {TEXT}"]


def test_elsewhere_a_message_is_one_line(capsys):
    console.say(TEXT)
    assert capsys.readouterr().err == f"patchsim: {TEXT}\n"
