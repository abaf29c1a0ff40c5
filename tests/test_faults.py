"""Hundreds of searches that are killed or fill their disk: each output is whole, or as it was.

Marked slow: `make slow` runs them.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from helpers import ENVIRONMENT, load

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.name == "nt", reason="Windows has other signals and limits"),
]

resource = pytest.importorskip("resource", reason="Windows has no limits of a process")

KILLS = 200
# Before `end_at_once` Python itself would answer a signal, with a traceback for example.
BEGIN = """
import os
from patchsim.cli import interruption, run_as_process
interruption.end_at_once()
os.write(1, b"!")
run_as_process()
"""
CODES = {signal.SIGHUP: 129, signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}
OUTPUTS = ("h.png", "m.npy", "o.png")
WORDS = ["match", "../big.png", "../face.png", "--heatmap", "h.png", "--map", "m.npy", "--overlay",
         "o.png"]  # fmt: skip


@pytest.fixture(scope="module")
def pictures(astronaut, tmp_path_factory):
    """A folder with the pictures of a search that takes about a tenth of a second."""
    from PIL import Image

    folder = tmp_path_factory.mktemp("faults")
    Image.fromarray(astronaut).save(folder / "big.png")
    Image.fromarray(astronaut[100:131, 200:241]).save(folder / "face.png")
    return folder


# A signal in the middle of an import leaves a file to the garbage collector, which tells of it only
# where warnings are errors, as they are for other commands of the tests.
AS_USERS_HAVE_IT = {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONWARNINGS"}


def begun(folder, **options):
    """Start a search in a folder, and wait until the command itself answers signals."""
    process = subprocess.Popen(
        [sys.executable, "-c", BEGIN, *WORDS],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder, env=AS_USERS_HAVE_IT, **options,
    )  # fmt: skip
    assert os.read(process.stdout.fileno(), 1) == b"!"
    return process


def finished(process):
    out, err = process.communicate(timeout=120)
    return process.returncode, out.decode(), err.decode()


def check_whole(path):
    """Check that an output of the search is what it should be."""
    if path.suffix == ".npy":
        assert np.load(path).shape == (482, 472)
    else:
        assert load(path).size == ((472, 516) if path.name == "h.png" else (512, 512))


def check_outputs(folder, old):
    """Check that each output is whole or as it was; return the names of other files."""
    for name in OUTPUTS:
        path = folder / name
        if path.exists() and path.read_bytes() != b"old":
            check_whole(path)
        else:
            assert path.exists() == old, name
    return sorted(path.name for path in folder.iterdir() if path.name not in OUTPUTS)


def with_old(folder, old):
    folder.mkdir()
    for name in OUTPUTS if old else ():
        (folder / name).write_bytes(b"old")
    return folder


def test_searches_that_are_killed_at_any_moment_leave_nothing_half_done(pictures):
    seconds = []
    for number in range(3):
        process = begun(with_old(pictures / f"whole-{number}", False))
        started = time.monotonic()
        code, whole, _ = finished(process)
        seconds.append(time.monotonic() - started)
        assert code == 0
        assert check_outputs(pictures / f"whole-{number}", True) == []
    moments, ended = random.Random(16), set()
    for number in range(KILLS):
        sent, old = list(CODES)[number % 4], number % 8 < 4
        folder = with_old(pictures / str(number), old)
        process = begun(folder)
        time.sleep(moments.random() * max(seconds))
        process.send_signal(sent)
        code, out, err = finished(process)
        assert code in (0, CODES[sent]), (number, err)
        assert whole.startswith(out), number
        ended |= {sent} if code else set()
        assert all(line.startswith("patchsim: ") for line in err.splitlines()), (number, err)
        left = check_outputs(folder, old)
        # A new file that replaces another has a second name for an instant.
        if sent == signal.SIGKILL and old and len(left) == 1:
            (folder / left[0]).rename(folder / "left.png")
            assert load(folder / "left.png").size in ((472, 516), (512, 512))
        else:
            assert left == [], number
    assert ended == set(CODES)


@pytest.fixture(params=["a small file system", "a limit of the process"])
def full(request, tmp_path):
    """Return a function that makes a folder for so many bytes, and what Popen needs for it."""
    mounted = []

    def small(number, size):
        folder = tmp_path / str(number)
        folder.mkdir()
        if request.param == "a limit of the process":
            limit = resource.RLIMIT_FSIZE, (size, size)
            return folder, {"preexec_fn": lambda: resource.setrlimit(*limit)}
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "patchsim", folder],
            capture_output=True, text=True,
        )  # fmt: skip
        if done.returncode:
            pytest.skip(f"this user may not mount a small file system: {done.stderr.strip()}")
        mounted.append(folder)
        return folder, {}

    yield small
    for folder in mounted:
        subprocess.run(["umount", folder], check=True)


def test_full_disks_are_told_and_lose_no_match(pictures, full):
    whole = with_old(pictures / f"not-full-{os.urandom(4).hex()}", False)
    code, results, _ = finished(begun(whole))
    assert code == 0
    largest = sum((whole / name).stat().st_size for name in OUTPUTS)
    ends = []
    for number in range(20):
        folder, options = full(number, 4096 + number * largest // 20)
        for name in ("big.png", "face.png"):
            target = folder.parent / name
            if not target.exists():
                target.symlink_to(pictures / name)
        code, out, err = finished(begun(folder, **options))
        assert out == results
        written = [line for line in err.splitlines() if "cannot write" not in line]
        assert all(line.startswith("patchsim: ") for line in written)
        if code:
            assert code == 3
            assert len(written) == len(err.splitlines()) - 1
            assert ("No space left on device; free some space" in err) or ("too large" in err)
        there = [name for name in OUTPUTS if (folder / name).exists()]
        assert len(there) == len(written)
        for name in there:
            check_whole(folder / name)
        assert {path.name for path in folder.iterdir()} == set(there)
        ends.append(code)
    assert ends[0] == 3
