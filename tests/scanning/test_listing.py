"""Files, folders, patterns and URLs as requests."""

from __future__ import annotations

import itertools
import os
import sys

import numpy as np
import pytest
from PIL import Image

import patchsim
from patchsim import InputError
from patchsim.output import mark
from patchsim.pictures import remote
from patchsim.pictures.reader import open_picture
from patchsim.scanning import listing


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "a/2.JPG", "a/10.jpg", "a/notes.txt", "a/.hidden.png", ".git/x.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.touch()
    (tmp_path / "empty").mkdir()
    return tmp_path


def names(*words):
    found = list(listing.listed(words))
    assert [one.fault for one in found] == [None] * len(found)
    return [one.name for one in found]


@pytest.mark.usefixtures("tree")
def test_folders_by_name_with_their_folders():
    assert names(".") == ["./a/10.jpg", "./a/2.JPG", "./b.png"]
    assert names("b.png", "a", "b.png") == ["b.png", "a/10.jpg", "a/2.JPG", "b.png"]


def test_links_to_folders_are_not_followed(tree):
    (tree / "a" / "loop").symlink_to(tree)
    assert names("a") == ["a/10.jpg", "a/2.JPG"]


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("**/*.[jJ]*", ["a/10.jpg", "a/2.JPG"]),
        ("a/**", ["a/10.jpg", "a/2.JPG", "a/notes.txt"]),
        ("./**/*.png", ["./b.png"]),
        ("**/a/**/2*", ["a/2.JPG"]),
        ("a/loop/*.png", ["a/loop/b.png"]),
        ("a/l*/**/*.JPG", ["a/loop/a/2.JPG"]),
    ],
)
def test_patterns_follow_links_to_folders_that_they_name_alone(pattern, found, tree):
    (tree / "a" / "loop").symlink_to(tree)
    assert names(pattern) == found


@pytest.mark.usefixtures("tree")
def test_patterns():
    assert names("*.png") == ["b.png"]
    assert names("**/*.[jJ]*") == ["a/10.jpg", "a/2.JPG"]
    assert names("a/*.txt") == ["a/notes.txt"]  # what is named counts, whatever it is


def test_a_file_that_looks_like_a_pattern(tree):
    (tree / "b[1].png").touch()
    assert names("b[1].png") == ["b[1].png"]


@pytest.mark.parametrize("word", ["empty", "*.bmp", "memory://nothing/"])
@pytest.mark.usefixtures("tree")
def test_words_without_pictures(word):
    (found,) = listing.listed([word])
    assert found.source is None
    assert word in found.fault


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_a_folder_that_cannot_be_read(tree):
    (tree / "a").chmod(0)
    found = [(one.name, one.fault) for one in listing.listed(["."])]
    (tree / "a").chmod(0o700)
    assert found[0][0] == "./a"
    assert "cannot be listed" in found[0][1]
    assert found[1] == ("./b.png", None)


@pytest.mark.usefixtures("tree")
def test_urls():
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    for name in ("/pics/b.png", "/pics/a.jpg", "/pics/readme.txt"):
        memory.pipe(name, b"GIF89a...")
    assert names("memory://pics/") == ["memory:///pics/a.jpg", "memory:///pics/b.png"]
    assert names("memory://pics/*.png") == ["memory:///pics/b.png"]
    assert names("https://example.org/a.png?size=1") == ["https://example.org/a.png?size=1"]
    assert remote.read("memory://pics/a.jpg", 10).read() == b"GIF89a..."
    with pytest.raises(InputError, match="goes on after"):
        remote.read("memory://pics/a.jpg", 8)
    with pytest.raises(InputError, match="there is no such file"):
        remote.read("memory://pics/c.jpg", None)
    with pytest.raises(InputError, match="cannot be read"):
        remote.read("nothing-of-this://a.jpg", None)


def test_urls_without_the_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    with pytest.raises(InputError, match=r"pip install 'patchsim-match\[remote\]'"):
        remote.read("s3://bucket/a.png", None)


def test_pictures_that_the_command_drew_are_left_out(tree, rng):
    image = rng.integers(0, 256, (30, 40), np.uint8)
    for name in ("a.heatmap.png", "z.png"):
        patchsim.match(image, image[3:9, 4:12], heatmap=tree / name)
    (tree / "torn.png").write_bytes((tree / "z.png").read_bytes()[:20])
    told = []
    words = ["a.heatmap.png", "b.png", "torn.png"]

    def found(*given, **options):
        return [one.name for one in listing.listed(given, told.append, **options)]

    assert found("*.png") == words[1:]
    assert told == ["a.heatmap.png and 1 more were drawn by patchsim and are not searched"]
    assert found(".") == ["./a/10.jpg", "./a/2.JPG", "./b.png", "./torn.png"]
    # A shell makes words of a pattern.
    assert found(*words, are_many=True) == words[1:]
    assert told[2:] == ["a.heatmap.png was drawn by patchsim and is not searched"]
    assert found("z.png") == ["z.png"]
    assert len(told) == 3


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_pipes_that_are_not_named_alone_are_not_waited_for(tree):
    os.mkfifo(tree / "a" / "f.png")
    os.mkfifo(tree / "63")
    # A reader of the pipe finds bytes in it, so that the test fails rather than waits.
    pipe = os.open(tree / "a" / "f.png", os.O_RDWR)
    os.write(pipe, bytes(1 << 14))
    told = []

    def found(*given, **options):
        return [one.name for one in listing.listed(given, told.append, **options)]

    assert found("a") == ["a/10.jpg", "a/2.JPG"]
    assert found("a/*") == ["a/10.jpg", "a/2.JPG", "a/notes.txt"]
    assert found("b.png", "a/f.png", are_many=True) == ["b.png"]
    passed = "a/f.png is no regular file and is not searched; give it alone to read it"
    assert told == [passed] * 3
    # A pipe that is named alone is wanted, and so is one of a shell's `<(command)`.
    assert found("a/f.png") == ["a/f.png"]
    assert found("b.png", "63", are_many=True) == ["b.png", "63"]
    (empty,) = listing.listed(["a/f*"], told.append)
    assert "no file to search is called like a/f*" in empty.fault
    assert told == [passed] * 4
    os.close(pipe)


@pytest.mark.parametrize(
    ("option", "ending"),
    [
        ("heatmap", ".png"),
        *itertools.product(("overlay", "blend"), (".png", ".JPG", ".webp")),
        ("map", ".tif"),
    ],
)
@pytest.mark.parametrize("shape", [(30, 40), (300, 400, 3)])
def test_every_picture_that_is_drawn_has_the_mark(option, ending, shape, tree, rng):
    if ending == ".tif":
        pytest.importorskip("tifffile")
    image = rng.integers(0, 256, shape, np.uint8)
    path = tree / f"drawn{ending}"
    patchsim.match(image, image[3:9, 4:12], **{option: path})
    assert mark.is_own(str(path))
    with Image.open(path) as again:
        again.load()
        values = np.asarray(again if ending == ".tif" else again.convert("RGB"))
    # The mark does not change what is read.
    pixels = open_picture(path, name="").pixels
    np.testing.assert_array_equal(pixels, values.reshape(pixels.shape))
    plain = tree / f"plain{ending}"
    Image.fromarray(values).save(plain)
    assert not mark.is_own(str(plain))


@pytest.mark.parametrize("option", ["map", "resume"])
def test_maps_as_zarr_are_left_out_and_other_stores_are_not(option, tree, rng):
    zarr = pytest.importorskip("zarr")
    image = rng.integers(0, 256, (30, 40), np.uint8)
    Image.fromarray(image).save(tree / "big.png")
    patchsim.match(tree / "big.png", image[3:9, 4:12], **{option: tree / "m.zarr"})
    zarr.create_array(str(tree / "p.zarr"), data=image, attributes={"software": "other"})
    for name, text in (("torn", "{"), ("list", '{"attributes": []}')):
        (tree / f"{name}.zarr").mkdir()
        (tree / f"{name}.zarr" / "zarr.json").write_text(text)
    told = []
    stores = ["list.zarr", "m.zarr", "p.zarr", "torn.zarr"]
    left = [name for name in stores if name != "m.zarr"]
    assert [one.name for one in listing.listed(["*.zarr"], told.append)] == left
    assert told == ["m.zarr was drawn by patchsim and is not searched"]
    assert [one.name for one in listing.listed(stores, are_many=True)] == left
    assert [one.name for one in listing.listed(["m.zarr/"])] == ["m.zarr/"]


def test_the_mark_is_exif_data_of_the_software():
    exif = Image.Exif()
    exif.load(mark.EXIF)
    assert dict(exif) == {305: "patchsim"}


def test_pictures_that_only_name_patchsim_are_searched(tree, rng):
    picture = Image.fromarray(rng.integers(0, 256, (30, 40, 3), np.uint8))
    exif = Image.Exif()
    exif[270] = "/home/me/patchsim/a.jpg"
    for ending in (".jpg", ".webp", ".png", ".tif"):
        path = tree / f"named{ending}"
        picture.save(path, exif=exif)
        assert not mark.is_own(str(path))
    (tree / "torn.webp").write_bytes(b"RIFF")
    (tree / "torn.tif").write_bytes(b"II+\0" + mark.EXIF[10:22])
    assert not mark.is_own(str(tree / "torn.webp"))
    assert not mark.is_own(str(tree / "torn.tif"))
