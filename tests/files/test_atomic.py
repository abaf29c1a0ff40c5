"""Files appear whole or not at all; devices, pipes and links stay what they are."""

from __future__ import annotations

import errno
import os
import queue
import stat
import threading
from pathlib import Path

import pytest
from helpers.locked import locked

from patchsim import InputError, OutputError
from patchsim.files import atomic, direct, replacement, waits


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
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600
        file.write(b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


ROOT = pytest.mark.skipif(
    getattr(os, "geteuid", lambda: 1)() != 0, reason="only root may give files away"
)
NOBODY = 65534


@ROOT
def test_a_replaced_file_keeps_its_owner_and_group(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    os.chown(tmp_path / "a", NOBODY, NOBODY - 1)
    (tmp_path / "a").chmod(0o4640)
    write(tmp_path / "a")
    status = (tmp_path / "a").stat()
    assert (status.st_uid, status.st_gid) == (NOBODY, NOBODY - 1)
    assert stat.S_IMODE(status.st_mode) == 0o640  # a new file runs with nobody's rights


def test_the_owner_that_the_system_does_not_give_stays_the_writers(tmp_path, monkeypatch):
    def refused(*_):
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fchown", refused)
    (tmp_path / "a").write_bytes(b"old")
    write(tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_read_only_file_is_replaced_only_by_force(tmp_path):
    (tmp_path / "a.png").write_bytes(b"old")
    (tmp_path / "a.png").chmod(0o444)
    with pytest.raises(InputError, match=r"a\.png is read-only; give another name, or --force"):
        atomic.check_target(tmp_path / "a.png", (".png",), [])
    atomic.check_target(tmp_path / "a.png", (".png",), [], force=True)
    write(tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes() == b"new"
    assert stat.S_IMODE((tmp_path / "a.png").stat().st_mode) == 0o444


def test_another_name_of_a_replaced_file_keeps_the_old_content(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    (tmp_path / "b").hardlink_to(tmp_path / "a")
    write(tmp_path / "a")
    assert ((tmp_path / "a").read_bytes(), (tmp_path / "b").read_bytes()) == (b"new", b"old")


@pytest.fixture(params=["without a name", "with a temporary name", "without /proc"])
def way(request, monkeypatch):
    """Each way in which a file is made; returns how many names there are meanwhile."""
    if request.param == "without a name":
        if not hasattr(os, "O_TMPFILE"):
            pytest.skip("this system has no files without a name")
        return 0
    if request.param == "without /proc":
        exists = Path.exists
        monkeypatch.setattr(
            Path, "exists", lambda self: not str(self).startswith("/proc/") and exists(self)
        )
    else:
        monkeypatch.setattr(replacement, "_WITHOUT_NAME", None)
    return 1


def test_every_way_makes_new_files_and_replaces_old_ones(way, tmp_path):
    for content, names in ((b"first", set()), (b"second", {"a"})):
        with atomic.writing(tmp_path / "a") as file:
            now = {path.name for path in tmp_path.iterdir()}
            assert names <= now
            assert len(now - names) == way
            file.write(content)
        assert (tmp_path / "a").read_bytes() == content
        assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.usefixtures("way")
def test_a_file_that_another_program_makes_meanwhile_is_replaced(tmp_path):
    with atomic.writing(tmp_path / "a") as file:
        (tmp_path / "a").write_bytes(b"other")
        file.write(b"new")
    assert (tmp_path / "a").read_bytes() == b"new"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_the_end_at_once_leaves_no_temporary_name(monkeypatch, tmp_path):
    monkeypatch.setattr(replacement, "_WITHOUT_NAME", None)

    def end():
        with atomic.writing(tmp_path / "a") as file:
            file.write(b"half")
            replacement.discard_unfinished()
            assert list(tmp_path.iterdir()) == []

    with pytest.raises(OutputError, match="cannot write"):  # this process goes on
        end()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("way")
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


def test_a_pipe_without_a_reader_is_told_of(tmp_path, monkeypatch):
    told = queue.SimpleQueue()
    monkeypatch.setattr(waits, "_PATIENCE", 0)
    monkeypatch.setattr(waits, "_tell", told.put)
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=write, args=(tmp_path / "pipe",), daemon=True)
    writer.start()
    text = f"{tmp_path}/pipe is a pipe that nobody reads yet; waiting for it"
    assert told.get(timeout=20) == text
    assert (tmp_path / "pipe").read_bytes() == b"new"
    writer.join()
    assert told.empty()


def test_targets_are_checked_before_the_work(tmp_path):
    (tmp_path / "in.png").write_bytes(b"x")
    (tmp_path / "alias.png").symlink_to(tmp_path / "in.png")
    (tmp_path / "loop.png").symlink_to(tmp_path / "ring.png")
    (tmp_path / "ring.png").symlink_to(tmp_path / "loop.png")
    inputs = [tmp_path / "in.png"]
    for path, says in (
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "a.png", "does not exist"),
        (tmp_path / "a.jpg", "would be written as .png"),
        (tmp_path / "plain", "would be written as .png; end its name in .png"),
        (f"{tmp_path}/new/", "ends like the path of a folder; give the path of a file"),
        (f"{tmp_path}/a.png/", "ends like the path of a folder"),
        (f"{tmp_path}/a.png/.", "ends like the path of a folder"),
        (f"{tmp_path}/new/..", "is a folder"),
        (tmp_path / "loop.png", "loop.png is a symbolic link that leads to itself; remove it"),
        (tmp_path / "loop.png" / "a.png", "cannot be written: Too many levels of symbolic links"),
        (tmp_path / "in.png" / "a.png", "output folder .*in.png does not exist"),
        (tmp_path / f"{'a' * 300}.png", "cannot be written: File name too long"),
        (f"{tmp_path}/a\0.png", r"a\\x00.png cannot be written: embedded null byte"),
        ("-", "standard output carries the results; give a name that ends in .png"),
        (tmp_path / "in.png", "would overwrite the input"),
        (tmp_path / "alias.png", "would overwrite the input"),
    ):
        with pytest.raises(InputError, match=says):
            atomic.check_target(path, (".png",), inputs)
    for path in (tmp_path / "a.PNG", tmp_path / "-.png", "/dev/null", "/dev/stdout"):
        atomic.check_target(path, (".png",), inputs)


def test_a_deleted_current_folder_is_told(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(InputError, match="the current folder was deleted; change to another"):
        atomic.check_target("a.png", (".png",), [])
    atomic.check_target(tmp_path / "a.png", (".png",), [Path("in.png")])


def test_an_output_that_cannot_be_looked_at_is_told(tmp_path):
    with locked(tmp_path / "locked") as folder:
        with pytest.raises(InputError, match=r"locked/a.png cannot be written: Permission denied"):
            atomic.check_target(folder / "a.png", (".png",), [])
        # An input in that folder is not the output.
        assert not atomic._is_same_file(Path("/dev/null"), folder / "a.png")


def test_a_reader_that_leaves_early_gets_what_it_takes(monkeypatch):
    reading, writing = os.pipe()
    monkeypatch.setattr(direct, "_own_stream", lambda _: writing)
    with atomic.writing("/dev/stdout") as file:
        file.write(b"new")
        file.flush()
        assert os.read(reading, 3) == b"new"
        os.close(reading)
        file.write(bytes(1 << 20))
        is_written = True
    os.close(writing)
    assert is_written


def test_a_read_only_folder_is_told(tmp_path, monkeypatch):
    # Root may write anywhere, so the system's answer is replaced, not its permissions.
    monkeypatch.setattr(os, "access", lambda _path, _mode: False)
    with pytest.raises(InputError, match="is not writable"):
        atomic.check_target(tmp_path / "a.png", (".png",), [])


def test_two_outputs_cannot_be_one_file(tmp_path):
    (tmp_path / "b").symlink_to(tmp_path / "a")
    with pytest.raises(InputError, match="are one file"):
        atomic.check_distinct([str(tmp_path / "a"), str(tmp_path / "b")])
    atomic.check_distinct(["/dev/null", "/dev/null"])
