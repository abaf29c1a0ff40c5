"""Folders for the files of other programs go with the process, or with the next one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from patchsim.files.scratch import ScratchFolder

HOLD = """
from patchsim.files.scratch import ScratchFolder
folder = ScratchFolder()
(folder.path / "dask-scratch-space").mkdir()
print(folder.path, flush=True)
input()
"""


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_a_folder_is_nobody_elses_and_goes_when_it_is_closed(place):
    folder = ScratchFolder()
    (folder.path / "inside").mkdir()
    assert folder.path.parent == place
    if os.name == "posix":
        assert folder.path.stat().st_mode & 0o777 == 0o700
    folder.close()
    folder.close()
    assert not list(place.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals and locks")
def test_what_a_killed_process_left_is_removed_and_what_a_living_one_has_is_not(place):
    held = ScratchFolder()
    environment = {**os.environ, "TMPDIR": str(place)}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
    ) as killed:  # fmt: skip
        left = killed.stdout.readline().strip()
        assert {str(one) for one in place.iterdir()} == {left, str(held.path)}
        killed.send_signal(signal.SIGKILL)
    following = ScratchFolder()
    assert set(place.iterdir()) == {following.path, held.path}
    following.close()
    held.close()
