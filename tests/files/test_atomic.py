"""Files appear whole or not at all; devices, pipes and links stay what they are."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from patchsim import InputError, OutputError
from patchsim.files import atomic


def write(path, content=b"new"):
    with atomic.writing(path) as file:
        file.write(content)


def test_a_file_appears_with_the_umasks_permissions(tmp_path):
    before = os.umask(0o027)
    try:
        write(tmp_path / "a")
    finally:
        os.umask(before)
    assert (tmp_path / "a").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


@pytest.mark.skipif(os.name == "nt", reason="Windows has no permissions for groups and others")
def test_a_replaced_file_keeps_its_permissions(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "a").chmod(0o600)
    with atomic.writing(tmp_path / "a") as file:
        (written,) = set(tmp_path.iterdir()) - {tmp_path / "a"}
        assert stat.S_IMODE(written.stat().st_mode) == 0o600
        file.write(b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


@pytest.mark.parametrize("failure", [KeyboardInterrupt, ValueError])
def test_nothing_changes_when_writing_fails(failure, tmp_path):
    (tmp_path / "a").write_bytes(b"old")

    def fail():
        with atomic.writing(tmp_path / "a") as file:
            file.write(b"half")
            raise failure

    with pytest.raises(failure):
        fail()
    assert (tmp_path / "a").read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path):
    def fail():
        with atomic.writing(tmp_path / "a") as file:
            file.write(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match=r"cannot write .*a: No space left on device; free"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_a_symbolic_link_is_followed(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "folder" / "target")
    write(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "folder" / "target").read_bytes() == b"new"


def test_devices_stay_devices():
    write("/dev/null")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)
    with pytest.raises(OutputError, match="cannot write /dev/full: No space left"):
        write("/dev/full")
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)


def test_a_named_pipe_is_written_to(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    got = []
    reader = threading.Thread(target=lambda: got.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    write(tmp_path / "pipe")
    reader.join()
    assert got == [b"new"]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_targets_are_checked_before_the_work(tmp_path):
    (tmp_path / "in.png").write_bytes(b"x")
    (tmp_path / "alias.png").symlink_to(tmp_path / "in.png")
    inputs = [tmp_path / "in.png"]
    for path, says in (
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "a.png", "does not exist"),
        (tmp_path / "a.jpg", "would be written as .png"),
        (tmp_path / "plain", "would be written as .png; end its name in .png"),
        ("-", "standard output carries the results; give a name that ends in .png"),
        (tmp_path / "in.png", "would overwrite the input"),
        (tmp_path / "alias.png", "would overwrite the input"),
    ):
        with pytest.raises(InputError, match=says):
            atomic.check_target(path, ".png", inputs)
    for path in (tmp_path / "a.PNG", tmp_path / "-.png", "/dev/null", "/dev/stdout"):
        atomic.check_target(path, ".png", inputs)


def test_a_read_only_folder_is_told(tmp_path, monkeypatch):
    # Root may write anywhere, so the system's answer is replaced, not its permissions.
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    with pytest.raises(InputError, match="is not writable"):
        atomic.check_target(tmp_path / "a.png", ".png", [])


def test_two_outputs_cannot_be_one_file(tmp_path):
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(InputError, match="are one file"):
        atomic.check_distinct([str(tmp_path / "a"), str(tmp_path / "b")])
    atomic.check_distinct(["/dev/null", "/dev/null"])
