"""A folder's stamp tells of a change of anything in it, within the bound that it states."""

from __future__ import annotations

import contextlib
import os

import pytest

from patchsim.errors import InputError
from patchsim.files import stamps
from patchsim.pictures import watched_store
from patchsim.pictures.watched_store import WatchedStore


@pytest.fixture
def store(tmp_path):
    """A folder of chunks two folders deep, all of an old time."""
    folder = tmp_path / "store.zarr"
    for down in range(3):
        for across in range(4):
            path = folder / "c" / str(down) / str(across)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"chunk")
    (folder / "zarr.json").write_text("{}")
    for path in [*folder.rglob("*"), folder]:
        os.utime(path, ns=(10**18, 10**18))
    return folder


def in_place(store):
    path = store / "c" / "2" / "1"
    path.write_bytes(b"other")
    os.utime(path, ns=(10**18, 10**18 - 1))  # earlier than all others


def longer(store):
    path = store / "c" / "2" / "1"
    path.write_bytes(b"longer")
    os.utime(path, ns=(10**18, 10**18))


def renamed(store):
    (store / "c" / "1" / "new").write_bytes(b"other")
    (store / "c" / "1" / "new").replace(store / "c" / "1" / "3")


def removed(store):
    (store / "c" / "0" / "0").unlink()


@pytest.mark.parametrize("change", [in_place, longer, renamed, removed])
def test_any_change_is_seen_however_deep(store, change, monkeypatch):
    monkeypatch.setattr(watched_store, "_SHARE", 0)  # a busy machine may make a look take long
    before, watched = stamps.of(store), WatchedStore(str(store))
    watched.check()
    assert stamps.of(store) == before
    change(store)
    assert stamps.of(store) != before
    with pytest.raises(InputError, match="changed while it was read"):
        watched.check()


@pytest.mark.parametrize("change", [renamed, removed])
def test_of_many_files_the_times_of_folders_count(store, change, monkeypatch):
    monkeypatch.setattr(stamps, "MOST_FILES", 8)
    before = stamps.of(store)
    assert before.size == 0
    change(store)
    assert stamps.of(store) != before


@pytest.mark.parametrize(("files", "folders"), [(8, 100), (3, 100), (100, 2)])
def test_no_more_is_looked_at_than_is_said(store, files, folders, monkeypatch):
    monkeypatch.setattr(stamps, "MOST_FILES", files)
    monkeypatch.setattr(stamps, "MOST_FOLDERS", folders)
    before = stamps.of(store)
    in_place(store)
    assert stamps.of(store) == before


def test_what_goes_away_while_it_is_looked_at_is_not_there(store, monkeypatch):
    chunk, folder, scandir = store / "c" / "1" / "2", store / "c" / "2", os.scandir

    def listed(path):
        entries = list(scandir(path))
        if path == str(folder.parent):
            folder.rename(store.with_name("elsewhere"))
        if path == str(chunk.parent):
            chunk.unlink()
        return contextlib.nullcontext(entries)

    before = stamps.of(store)
    monkeypatch.setattr(stamps.os, "scandir", listed)
    while_it_goes = stamps.of(store)
    monkeypatch.undo()
    assert while_it_goes != before
    assert while_it_goes.size == stamps.of(store).size == before.size - 5 * len(b"chunk")


@pytest.mark.parametrize("ending", [".vms", ".VMU"])
def test_the_files_that_a_slide_names_count(tmp_path, ending):
    path = tmp_path / f"slide{ending}"
    path.write_bytes(b"[Virtual Microscope Specimen]\r\nImageFile=a.jpg\r\nMap = b c.jpg\nNo=\0x\n")
    for name in ("a.jpg", "b c.jpg", "d.jpg"):
        tmp_path.joinpath(name).write_bytes(b"pixels")
    before = stamps.of(path)
    assert before.size == path.stat().st_size + 2 * len(b"pixels")
    for name, is_of_it in (("a.jpg", True), ("b c.jpg", True), ("d.jpg", False)):
        tmp_path.joinpath(name).write_bytes(b"more pixels")
        assert (stamps.of(path) != before) == is_of_it
        before = stamps.of(path)
    tmp_path.joinpath("a.jpg").unlink()
    assert stamps.of(path) != before


def test_the_folder_of_a_slide_counts(tmp_path):
    path = tmp_path / "slide.mrxs"
    path.write_bytes(b"thumbnail")
    before = stamps.of(path)
    assert before == (9, path.stat().st_mtime_ns, 0)
    pixels = tmp_path / "slide" / "Data0000.dat"
    pixels.parent.mkdir()
    pixels.write_bytes(b"pixels")
    assert stamps.of(path) != before
    before = stamps.of(path)
    os.utime(pixels, ns=(10**18, 10**18))
    assert stamps.of(path) != before


def test_a_folder_that_is_gone_is_told(store):
    watched = WatchedStore(str(store))
    store.rename(store.with_name("elsewhere"))
    with pytest.raises(InputError, match="cannot be read any more: No such file"):
        watched.check()
