"""Which folders lie in memory, by the list of file systems."""

from __future__ import annotations

from pathlib import Path

import pytest

from patchsim.machine import storage

MOUNTS = """\
/dev/vda / ext4 rw 0 0
tmpfs /run tmpfs rw 0 0
/dev/vdb /run/media/my\\040disk ext4 rw 0 0
/dev/vdc /data ext4 rw 0 0
tmpfs /data tmpfs rw 0 0
broken
"""


@pytest.mark.parametrize(
    ("folder", "is_memory"),
    [
        ("/", False),
        ("/home/user", False),
        ("/run", True),
        ("/run/user/0", True),
        ("/running", False),
        ("/run/media/my disk/folder", False),
        ("/data/pictures", True),
    ],
)
def test_the_nearest_file_system_counts(tmp_path, monkeypatch, folder, is_memory):
    monkeypatch.setattr("os.path.realpath", lambda path: path)  # no link of this machine
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    assert storage.is_memory(folder, mounts) == is_memory


def test_a_system_that_does_not_tell(tmp_path):
    assert not storage.is_memory(tmp_path, tmp_path / "none")
    (tmp_path / "mounts").write_text("")
    assert not storage.is_memory(tmp_path, tmp_path / "mounts")


@pytest.mark.skipif(not Path("/dev/shm").is_dir(), reason="this system has no /dev/shm")
def test_this_machine():
    assert storage.is_memory("/dev/shm")
    assert not storage.is_memory("/proc")
