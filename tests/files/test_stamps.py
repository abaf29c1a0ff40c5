"""A folder's stamp tells of a change of anything in it, within the bound that it states."""

from __future__ import annotations

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


def test_a_folder_that_is_gone_is_told(store):
    watched = WatchedStore(str(store))
    store.rename(store.with_name("elsewhere"))
    with pytest.raises(InputError, match="cannot be read any more: No such file"):
        watched.check()
