"""Temporary files and folders of killed processes are removed; those of living ones are not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest
from helpers import ENVIRONMENT

from patchsim.files import atomic, leftovers, replacement

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such locks")

HOLDING = """
import os, sys
from unittest import mock
from patchsim.files import atomic, replacement
with mock.patch.object(replacement, "_WITHOUT_NAME", None):
    with atomic.writing_folder("a.zarr") as folder, atomic.writing("b.npy") as file:
        (folder / "part").write_bytes(b"half")
        file.write(b"half")
        file.flush()
        os.write(1, b"!")
        sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path):
    """A process in the middle of writing a folder and a file."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDING], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        cwd=tmp_path, env=ENVIRONMENT,
    )  # fmt: skip
    assert process.stdout.read(1) == b"!"
    yield process
    process.kill()
    process.communicate()


def names(folder):
    return sorted(one.name for one in folder.iterdir())


def test_leftovers_of_a_kill_are_removed(holder, tmp_path):
    before = names(tmp_path)
    assert len(before) == 2
    leftovers.sweep(tmp_path)
    assert names(tmp_path) == before  # its process lives
    holder.kill()
    holder.wait()
    (tmp_path / ".patchsim-0123456789ab.tmp").mkdir()  # of another machine, or an old version
    with atomic.writing_folder(tmp_path / "other.zarr") as folder:
        (folder / "part").write_bytes(b"whole")
    assert names(tmp_path) == [".patchsim-0123456789ab.tmp", "other.zarr"]


def test_a_living_process_is_not_disturbed(holder, tmp_path):
    with (
        mock.patch.object(replacement, "_WITHOUT_NAME", None),
        atomic.writing(tmp_path / "c.npy") as file,
    ):
        file.write(b"c")
    with atomic.writing_folder(tmp_path / "d.zarr"):
        pass
    holder.communicate(b"end")
    assert holder.returncode == 0
    assert names(tmp_path) == ["a.zarr", "b.npy", "c.npy", "d.zarr"]
    assert (tmp_path / "a.zarr" / "part").read_bytes() == b"half"


def test_a_name_that_is_swept_before_it_is_locked_is_taken_anew(tmp_path):
    """Another process sweeps between the making of a folder and its lock."""
    mkdir, made = Path.mkdir, []

    def swept_once(self, *given, **named):
        mkdir(self, *given, **named)
        made.append(self)
        if len(made) == 1:
            leftovers.sweep(tmp_path)
            assert not self.exists()

    with (
        mock.patch.object(Path, "mkdir", swept_once),
        atomic.writing_folder(tmp_path / "a.zarr") as folder,
    ):
        (folder / "part").write_bytes(b"whole")
    assert len(made) == 2
    assert names(tmp_path) == ["a.zarr"]


def test_links_are_not_followed(tmp_path):
    kept = tmp_path / "kept"
    kept.mkdir()
    (kept / "file").write_bytes(b"1")
    link = leftovers.new_name(tmp_path / "a.zarr")
    link.symlink_to(kept)
    leftovers.sweep(tmp_path)
    assert (kept / "file").exists()
