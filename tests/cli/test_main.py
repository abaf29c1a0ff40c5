"""`cli.main` runs the command within a process of the caller's, and gives it back as it was."""

from __future__ import annotations

import io
import re
import signal
import subprocess
import sys
import tomllib
import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers import ENVIRONMENT

from patchsim import cli
from patchsim.pictures import decoder_lines

ATEXIT = """
import atexit, sys, patchsim.cli
atexit.register(print, "the end of Python")
print("before")
sys.argv[1:] = {words}
patchsim.cli.main()
print("not reached")
"""


@pytest.mark.parametrize(
    ("words", "code", "lines"),
    [(["--version"], 0, ["patchsim 0.1.0"]), (["match", "none.png", "none.png"], 2, [])],
)
def test_handlers_at_the_end_of_python_run(words, code, lines, tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ATEXIT.format(words=words)],
        capture_output=True, text=True, env=ENVIRONMENT, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == code
    assert done.stdout.splitlines() == ["before", *lines, "the end of Python"]


def test_the_installed_command_ends_at_once():
    """It ends the process by itself, which takes less time than an orderly exit of torch."""
    project = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())
    assert project["project"]["scripts"] == {"patchsim": "patchsim.cli:run_as_process"}
    code = ATEXIT.format(words=["--version"]).replace("cli.main()", "cli.run_as_process()")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT
    )
    assert (done.returncode, done.stdout) == (0, "before\npatchsim 0.1.0\n")


def answered(monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["patchsim", *words])
    with pytest.raises(SystemExit) as raised:
        cli.main()
    return raised.value.code


def test_streams_signals_and_warnings_stay_as_they_were(monkeypatch, save, rng, capfd):
    path = save("a.png", rng.integers(0, 256, (9, 9), dtype=np.uint8))
    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if
               hasattr(signal, name)]  # fmt: skip

    def state():
        return (
            sys.stdout, sys.stdout.errors, sys.stderr, sys.stderr.errors, sys.unraisablehook,
            [signal.getsignal(number) for number in numbers], list(warnings.filters),
            decoder_lines._is_on,
        )  # fmt: skip

    before = state()
    for words, code in ((("match", str(path), str(path), "--no-heatmap"), 0), (("match",), 2)):
        assert answered(monkeypatch, *words) == code
        assert state() == before
    print("after")
    out, err = capfd.readouterr()
    assert re.fullmatch(r"x\t.*\n0\t0\t9\t9\t1\.0\t.*\nafter\n", out)
    assert err.startswith("patchsim: ")


def test_the_output_goes_to_the_streams_of_the_caller(monkeypatch):
    out, err = io.StringIO(), io.StringIO()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert answered(monkeypatch, "--version") == 0
    assert answered(monkeypatch, "match", "none.png", "none.png") == 2
    assert out.getvalue() == "patchsim 0.1.0\n"
    assert "none.png" in err.getvalue()


def test_streams_may_be_closed(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert answered(monkeypatch, "match", "none.png", "none.png") == 2


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_is_told_once_and_the_caller_keeps_its_output(tmp_path, save, rng):
    path = save("a.png", rng.integers(0, 256, (9, 9), dtype=np.uint8))
    code = f"""
import os, sys, patchsim.cli
sys.argv[1:] = ["match", {str(path)!r}, {str(path)!r}, "--no-heatmap"]
try:
    patchsim.cli.main()
except SystemExit as ended:
    print("ended with", ended.code, file=sys.stderr)
assert os.stat(1).st_rdev == os.stat("/dev/full").st_rdev
"""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True,
            env=ENVIRONMENT, cwd=tmp_path,
        )  # fmt: skip
    assert done.returncode == 0
    told, ended = done.stderr.splitlines()
    assert told.startswith("patchsim: cannot write the results: No space left on device")
    assert ended == "ended with 3"


def test_it_runs_beside_the_main_thread(save, rng, tmp_path):
    """Where no signal can be handled."""
    path = str(save("a.png", rng.integers(0, 256, (9, 9), dtype=np.uint8)))
    code = f"""
import sys, threading, patchsim.cli
sys.argv[1:] = ["match", {path!r}, {path!r}, "--no-heatmap"]
def work():
    try:
        patchsim.cli.main()
    except SystemExit as ended:
        print("ended with", ended.code)
thread = threading.Thread(target=work)
thread.start()
thread.join()
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=ENVIRONMENT, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1] == "ended with 0", done.stderr
    assert len(done.stdout.splitlines()) == 3
    assert [file.name for file in tmp_path.iterdir()] == ["a.png"]
