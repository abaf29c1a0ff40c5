"""Tab in bash, zsh and fish: what the command answers to each, and a real bash."""

from __future__ import annotations

import os
import pty
import select
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from helpers import ENVIRONMENT, patchsim

from patchsim import choices
from patchsim.cli import console

BIN = Path(sys.executable).parent
SHELL = {**ENVIRONMENT, "PATH": f"{BIN}{os.pathsep}{ENVIRONMENT['PATH']}"}


def answered(shell, line, **more):
    """What the command prints for the line typed so far, and its exit code."""
    asked = {"_PATCHSIM_COMPLETE": f"complete_{shell}", "_TYPER_COMPLETE_ARGS": line}
    asked |= {"COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1), **more}
    process = patchsim(env={**ENVIRONMENT, **asked})
    out, err = process.communicate(timeout=60)
    assert err == ""
    return out, process.returncode


MATCH = [
    ("--metric", choices.METRICS),
    ("--color", choices.COLORS),
    ("--padding", choices.PADDINGS),
    ("--engine", ("auto", *choices.ENGINES)),
    ("--device", choices.DEVICES),
    ("--format", choices.FORMATS),
    ("--flips", choices.FLIPS),
]
LOSS = [
    ("--loss", choices.LOSSES),
    ("--layout", choices.LAYOUTS),
    ("--reduction", choices.REDUCTIONS),
    ("--format", choices.FORMATS),
    ("--device", choices.DEVICES),
]
ALL = [("match", *case) for case in MATCH] + [("loss", *case) for case in LOSS]


@pytest.mark.parametrize(("command", "option", "words"), ALL)
def test_bash_completes_the_values_of_an_option(command, option, words):
    out, code = answered("bash", f"patchsim {command} {option} ")
    assert (tuple(out.split()), code) == (words, 0)


def test_the_beginning_of_a_word_narrows_the_values():
    assert answered("bash", "patchsim match a.png b.png --metric z") == ("zncc\n", 0)
    assert answered("zsh", "patchsim match a.png b.png --metric z")[0].count('"zncc"') == 1
    fish = {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    assert answered("fish", "patchsim match a.png b.png --metric z", **fish) == ("zncc\n", 0)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_commands_and_options_are_completed(shell):
    more = {"_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    assert "match" in answered(shell, "patchsim ma", **more)[0]
    assert "--threshold" in answered(shell, "patchsim match a.png b.png --thr", **more)[0]


def test_pictures_are_left_to_the_shell_which_knows_paths():
    assert answered("bash", "patchsim match ex") == ("\n", 0)  # `complete -o default` then looks
    assert answered("zsh", "patchsim match ex") == ("_files\n", 0)
    fish = {"_TYPER_COMPLETE_FISH_ACTION": "is-args"}
    assert answered("fish", "patchsim match ex", **fish) == ("", 1)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_a_completion_can_be_shown_and_installed(shell, tmp_path):
    home = {
        **ENVIRONMENT,
        "HOME": str(tmp_path),
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    }
    for option in ("--show-completion", "--install-completion"):
        process = patchsim(option, shell, env=home)
        out, err = process.communicate(timeout=60)
        assert (process.returncode, err) == (0, "")
        assert shell in out
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any("_PATCHSIM_COMPLETE" in path.read_text() for path in written)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_read_their_completion(shell, tmp_path):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    process = patchsim("--show-completion", shell, env={
        **ENVIRONMENT, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",
    })  # fmt: skip
    script, _ = process.communicate(timeout=60)
    path = tmp_path / "completion"
    path.write_text(script)
    subprocess.run([shell, "-n", path], check=True, timeout=60)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_shell_that_asks_gets_its_own_completion(shell, tmp_path):
    # As a user does it, without the name of a shell: the command looks for its parent.
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    begins = {"bash": "_patchsim_completion()", "zsh": "#compdef patchsim", "fish": "complete "}
    done = subprocess.run(
        [shell, "-c", "patchsim --show-completion; true"],
        capture_output=True, text=True, env={**SHELL, "HOME": str(tmp_path)},
        check=True, timeout=60,
    )  # fmt: skip
    assert done.stderr == ""
    assert done.stdout.startswith(begins[shell])


@pytest.mark.parametrize(
    ("ended", "code", "says"),
    [(None, 0, ""), (0, 0, ""), (1, 1, ""), ("it failed", 3, "patchsim: it failed\n")],
)
def test_what_ends_the_process_decides_the_exit_code(ended, code, says, capfd):
    def app(*_, **__):
        sys.exit(ended)

    assert console.run(app, ["match"]) == code
    assert capfd.readouterr() == ("", says)


class Bash:
    """An interactive bash on a terminal of its own."""

    def __init__(self, folder):
        self.child, self.terminal = pty.fork()
        if self.child == 0:
            os.chdir(folder)
            os.execvpe(
                "bash", ["bash", "--norc", "--noprofile"], {**SHELL, "PS1": "> ", "TERM": "dumb"}
            )

    def type(self, keys, until):
        """What the terminal shows after some keys, once that text is among it."""
        os.write(self.terminal, keys.encode())
        seen, end = "", time.monotonic() + 60
        while until not in seen:
            assert time.monotonic() < end, seen
            if select.select([self.terminal], [], [], 1)[0]:
                seen += os.read(self.terminal, 4096).decode()
        return seen

    def close(self):
        os.close(self.terminal)
        os.waitpid(self.child, 0)


def test_tab_in_a_real_bash(tmp_path):
    (tmp_path / "a big picture.png").touch()
    bash = Bash(tmp_path)
    try:
        bash.type('eval "$(patchsim --show-completion bash)"; echo re""ady\n', "ready\r\n")
        assert "zncc" in bash.type("patchsim match a.png b.png --metric z\t", "zncc")
        bash.type("\x15", "")  # clears the line
        shown = bash.type("patchsim match a\\ b\t", "picture.png")
        assert "a\\ big\\ picture.png" in shown
        assert "fault" not in shown
    finally:
        bash.close()
