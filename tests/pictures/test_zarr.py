"""Pictures in Zarr stores: whole and by windows, of both versions, OME-Zarr, behind URLs."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path
from unittest import mock

import fsspec
import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

import patchsim
from patchsim import InputError
from patchsim.pictures import opening, watched_store, zarr_layout

LARGE = {"max_pixels": 1, "memory": "40MB"}  # too large to be read whole


@pytest.fixture
def picture(rng):
    return rng.integers(0, 256, (90, 130, 3), dtype=np.uint8)


def save(path, array, chunks=(32, 48, 3), **options):
    made = zarr.create_array(
        str(path),
        shape=array.shape,
        dtype=array.dtype,
        chunks=chunks,
        overwrite=True,
        config={"write_empty_chunks": True},
        **options,
    )
    made[...] = array
    return path


def ome(path, levels, axes, version="0.5"):
    """Save levels as OME-Zarr."""
    group = zarr.open_group(str(path), mode="w", zarr_format=3 if version == "0.5" else 2)
    for number, level in enumerate(levels):
        group.create_array(f"s{number}", data=level, chunks=tuple(min(32, s) for s in level.shape))
    described = [
        {
            "axes": [{"name": name} for name in axes],
            "datasets": [{"path": f"s{number}"} for number in range(len(levels))],
        }
    ]
    if version == "0.5":
        group.attrs["ome"] = {"version": version, "multiscales": described}
    else:
        group.attrs["multiscales"] = described
    return path


def places(report):
    return [(one.x, one.y, one.score, one.margin) for one in report]


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_stores_have_the_pixels_that_were_saved(data):
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 20), "seed"))
    dtype = data.draw(st.sampled_from(["u1", "<u2", ">u2", "i2", "f4", "f8", "?"]), "dtype")
    height, width = data.draw(st.tuples(st.integers(1, 60), st.integers(1, 60)), "size")
    channels = data.draw(st.sampled_from([None, 1, 3]), "channels")
    shape = (height, width) if channels is None else (height, width, channels)
    array = (rng.random(shape) * 200).astype(dtype)
    chunks = tuple(data.draw(st.integers(-(-side // 8), side)) for side in shape)
    version = data.draw(st.sampled_from([2, 3]), "version")
    with tempfile.TemporaryDirectory() as folder:
        path = save(Path(folder, "image.zarr"), array, chunks, zarr_format=version)
        np.save(Path(folder, "image.npy"), array)
        expected = opening.open_source(Path(folder, "image.npy"), name="image")
        read = opening.open_source(path, name="image")
        tall, wide = (data.draw(st.integers(1, min(side, 9))) for side in (height, width))
        options = {
            "padding": data.draw(st.sampled_from(["valid", "edge", "reflect", "zero"]), "padding"),
            "stride": data.draw(st.tuples(st.integers(1, 3), st.integers(1, 3)), "stride"),
            "data_range": (-32768, 32767) if dtype == "i2" else (0, 255),
        }
        kernel = array[:tall, :wide]
        whole = patchsim.match(array, kernel, margin=True, map=True, engine="unfold", **options)
        windows = patchsim.match(
            path,
            kernel,
            margin=True,
            map=Path(folder, "map.npy"),
            engine="unfold",
            **options,
            **LARGE,
        )
        assert (np.load(Path(folder, "map.npy")) == whole.map).all()
    assert (read.pixels == expected.pixels).all()
    assert read.pixels.dtype == expected.pixels.dtype
    assert (read.shift, read.notices) == (expected.shift, ())
    assert places(windows) == places(whole)


@pytest.mark.parametrize("options", [{}, {"zarr_format": 2}, {"shards": (64, 96, 3)}])
def test_a_store_is_searched_by_windows(picture, tmp_path, options):
    path = save(tmp_path / "image.zarr", picture, **options)
    kernel = picture[20:45, 60:91].copy()
    report = patchsim.match(path, kernel, margin=True, **LARGE)
    assert report.plans[0].problem.reading.description.startswith("by windows from Zarr chunks of")
    assert places(report) == places(patchsim.match(picture, kernel, margin=True))
    assert report.notices == ()


def test_each_chunk_is_decoded_once(picture, tmp_path):
    path = save(tmp_path / "image.zarr", picture)
    decoded = []
    window = zarr_layout.Layout.window

    def counted(self, rows, cols):
        decoded.append((rows.start, cols.start))
        return window(self, rows, cols)

    with mock.patch.object(zarr_layout.Layout, "window", counted):
        patchsim.match(path, picture[20:45, 60:91].copy(), top=1, threads=2, **LARGE)
    assert sorted(decoded) == [(y, x) for y in (0, 32, 64) for x in (0, 48, 96)]


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["yx", "cyx", "yxc", "tczyx", "tzyxc"])
def test_ome_zarr(picture, tmp_path, axes, version):
    grey = axes == "yx"
    expected = picture[..., 0] if grey else picture
    order = {"y": 0, "x": 1, "c": 2}
    array = expected.transpose([order[name] for name in axes if name in order])
    for place, name in enumerate(axes):
        if name in "tz":
            array = np.stack([array, array[::-1]], place)
    path = ome(tmp_path / "image.ome.zarr", [array, array[..., ::2]], axes, version)
    read = opening.open_source(path, name="image")
    assert (read.pixels == expected.reshape(90, 130, -1)).all()
    told = [f"{path} has 2 along {name}; the first is used" for name in axes if name in "tz"]
    assert list(read.notices) == told
    kernel = expected[20:45, 60:91].copy()
    report = patchsim.match(path, kernel, top=1, **LARGE)
    assert places(report)[0][:3] == (60, 20, 1.0)
    assert list(report.notices) == told


def test_an_axis_of_depth_is_no_axis_of_channels(picture, tmp_path):
    depth = np.stack([picture[..., 0]] + [picture[..., 1]] * 6, axis=-1)
    expected = picture[..., :1]
    told = "has 7 along z; the first is used"
    named = save(tmp_path / "named.zarr", depth, (32, 48, 7), dimension_names=("y", "x", "z"))
    for path in (ome(tmp_path / "ome.zarr", [depth], "yxz"), named):
        for options in ({}, LARGE):
            report = patchsim.match(path, expected[20:45, 60:91], **options)
            assert places(report)[0][:3] == (60, 20, 1.0)
            assert report.notices == (f"{path} {told}",)
    unnamed = save(tmp_path / "unnamed.zarr", depth, (32, 48, 7))
    for options in ({}, LARGE):
        with pytest.raises(InputError, match=r"\[90, 130, 7\] and no names .*;\n.*dimension_names"):
            patchsim.match(unnamed, expected[20:45, 60:91], **options)


def test_axes_of_ome_zarr_have_a_type(picture, tmp_path):
    path = ome(tmp_path / "image.zarr", [picture.transpose(2, 0, 1)], "syx")
    about = json.loads((path / "zarr.json").read_text())
    axes = about["attributes"]["ome"]["multiscales"][0]["axes"]
    axes[0]["type"] = "channel"
    (path / "zarr.json").write_text(json.dumps(about))
    assert (opening.open_source(path, name="image").pixels == picture).all()
    axes.pop()
    (path / "zarr.json").write_text(json.dumps(about))
    with pytest.raises(InputError, match=r"name 2 axes, but s0 has the shape \[3, 90, 130\]"):
        opening.open_source(path, name="image")


def test_a_level_that_is_a_group(picture, tmp_path):
    path = ome(tmp_path / "image.zarr", [picture], "yxc")
    about = json.loads((path / "zarr.json").read_text())
    about["attributes"]["ome"]["multiscales"][0]["datasets"][0]["path"] = "inner"
    (path / "zarr.json").write_text(json.dumps(about))
    zarr.open_group(str(path), mode="a").create_group("inner")
    for options in ({}, LARGE):
        with pytest.raises(InputError, match="OME-Zarr name inner, which is a group and no array"):
            patchsim.match(path, picture[:9, :9], **options)


def test_four_channels(rng, tmp_path):
    image = rng.integers(0, 256, (40, 50, 4), dtype=np.uint8)
    kernel = image[5:15, 5:15, :3].copy()
    path = save(tmp_path / "image.zarr", image)
    expected = opening.open_source(image, name="image")
    read = opening.open_source(path, name="image")
    assert (read.pixels == expected.pixels).all()
    assert (read.alpha == expected.alpha).all()
    assert read.notices == expected.notices
    assert places(patchsim.match(path, kernel, **LARGE)) == places(patchsim.match(image, kernel))
    report = patchsim.match(path, kernel, ignore_alpha=True, **LARGE)
    assert places(report) == places(patchsim.match(image, kernel, ignore_alpha=True))
    # Four channels of OME-Zarr are stains, for example.
    stains = ome(tmp_path / "stains.zarr", [image.transpose(2, 0, 1)], "cyx")
    assert (opening.open_source(stains, name="image").pixels == image).all()


def test_a_group_of_one_array_and_of_several(picture, tmp_path):
    path = tmp_path / "group.zarr"
    group = zarr.open_group(str(path), mode="w")
    group.create_array("a", data=picture)
    assert (opening.open_source(path, name="image").pixels == picture).all()
    group.create_array("b", data=picture)
    with pytest.raises(InputError, match="is a Zarr group of a, b; give the path of one array"):
        opening.open_source(path, name="image")
    assert (opening.open_source(path / "b", name="image").pixels == picture).all()
    empty = tmp_path / "empty.zarr"
    zarr.open_group(str(empty), mode="w")
    with pytest.raises(InputError, match="is a Zarr group of nothing"):
        opening.open_source(empty, name="image")


def test_chunks_that_lack_are_told(picture, tmp_path):
    path = save(tmp_path / "image.zarr", picture, fill_value=7)
    (path / "c/1/2/0").unlink()
    picture[32:64, 96:] = 7
    read = opening.open_source(path, name="image")
    assert (read.pixels == picture).all()
    assert read.notices == (f"{path} lacks 1 of 9 chunks, which are read as 7",)
    report = patchsim.match(path, picture[:9, :9].copy(), **LARGE)
    assert report.notices == read.notices


def test_a_url(picture, tmp_path):
    path = save(tmp_path / "image.zarr", picture)
    memory = fsspec.filesystem("memory")
    memory.put(str(path), "/stores/image.zarr", recursive=True)
    kernel = picture[20:45, 60:91].copy()
    expected = places(patchsim.match(picture, kernel))
    try:
        for options in ({}, LARGE):
            report = patchsim.match("memory://stores/image.zarr", kernel, **options)
            assert places(report) == expected
        with pytest.raises(InputError, match="is no Zarr store, or not there"):
            patchsim.match("memory://stores/other.zarr", kernel)
    finally:
        memory.rm("/stores", recursive=True)


def test_damage_is_named(picture, tmp_path):
    path = save(tmp_path / "image.zarr", picture)
    kernel = picture[:9, :9].copy()
    (path / "c/1/2/0").write_bytes(b"no chunk")
    for options in ({}, LARGE):
        with pytest.raises(InputError, match=r"damaged or cut short: its chunk at x=96, y=32 cann"):
            patchsim.match(path, kernel, **options)
    (path / "zarr.json").write_bytes(b"{no json")
    for options in ({}, LARGE):
        with pytest.raises(
            InputError, match=r"damaged or cut short: what describes the Zarr store"
        ):
            patchsim.match(path, kernel, **options)


def test_multiscales_that_are_damaged(picture, tmp_path):
    path = ome(tmp_path / "image.zarr", [picture], "yxc")
    about = json.loads((path / "zarr.json").read_text())
    for scales in ([{}], [{"datasets": [{"path": "no"}]}], [{"datasets": 3}], "no"):
        about["attributes"]["ome"]["multiscales"] = scales
        (path / "zarr.json").write_text(json.dumps(about))
        with pytest.raises(InputError, match="damaged or cut short: its multiscales of OME-Zarr"):
            opening.open_source(path, name="image")


def test_a_store_that_changes_is_an_error(picture, tmp_path, monkeypatch):
    monkeypatch.setattr(watched_store, "_SHARE", 0)  # a busy machine may make a look take long
    path = save(tmp_path / "image.zarr", picture)
    window = zarr_layout.Layout.window

    def changing(self, rows, cols):
        os.utime(path / "zarr.json", ns=(1, 1))
        return window(self, rows, cols)

    with (
        mock.patch.object(zarr_layout.Layout, "window", changing),
        pytest.raises(InputError, match="changed while it was read"),
    ):
        patchsim.match(path, picture[:9, :9].copy(), **LARGE)


@pytest.mark.parametrize(
    ("codec", "version"), [("pickle", 2), ("my_codec", 2), ("numcodecs.pickle", 3)]
)
def test_codecs_of_strangers_are_not_loaded(tmp_path, codec, version):
    path = save(tmp_path / "image.zarr", np.zeros((9, 9), np.uint8), (9, 9), zarr_format=version)
    name = path / (".zarray" if version == 2 else "zarr.json")
    about = json.loads(name.read_text())
    if version == 2:
        about["filters"] = [{"id": codec}]
    else:
        about["codecs"].append({"name": codec, "configuration": {}})
    name.write_text(json.dumps(about))
    with (
        mock.patch("pickle.loads", side_effect=AssertionError("unpickled")),
        mock.patch("pickle.load", side_effect=AssertionError("unpickled")),
        pytest.raises(InputError, match=r"describes the Zarr store cannot be used|is coded by"),
    ):
        opening.open_source(path, name="image")


def test_an_allowed_codec_is_known_by_its_name():
    described = {"codecs": [{"name": "bytes"}, {"name": "numcodecs.lz4"}, {"name": "evil"}]}
    array = mock.Mock()
    array.metadata.to_dict.return_value = described
    with pytest.raises(InputError, match="is coded by evil, which is not decoded here"):
        zarr_layout._check_codecs(array, "image")


def test_shapes_and_types_that_are_no_picture(tmp_path):
    for array, says in (
        (np.zeros((3, 3, 3, 3), np.uint8), r"has the shape \[3, 3, 3, 3\]; give \[H, W\]"),
        (np.zeros((3, 3), np.complex64), "is an array of complex64"),
        (np.zeros((0, 3), np.uint8), r"is empty: it has the shape \[0, 3\]"),
    ):
        chunks = tuple(max(1, side) for side in array.shape)
        path = save(tmp_path / "image.zarr", array, chunks)
        for options in ({}, LARGE):
            with pytest.raises(InputError, match=says):
                patchsim.match(path, np.zeros((1, 1), np.uint8), **options)


def test_chunks_that_do_not_fit(tmp_path):
    path = save(tmp_path / "image.zarr", np.zeros((4000, 4000), np.uint8), (4000, 4000))
    with pytest.raises(InputError, match=r"has chunks of \[4000, 4000\], each of which takes 48.0"):
        patchsim.match(path, np.eye(9, dtype=np.uint8), **LARGE)


def test_the_package_lacks(picture, tmp_path):
    path = save(tmp_path / "image.zarr", picture)
    with (
        mock.patch.dict("sys.modules", {"zarr": None}),
        pytest.raises(InputError, match="is a Zarr store, which needs zarr: pip install zarr"),
    ):
        patchsim.match(path, picture[:9, :9])


def test_folders_that_are_no_store_are_folders(tmp_path):
    (tmp_path / "other.zarr").mkdir()
    with pytest.raises(InputError, match="is a folder; give a picture"):
        patchsim.match(tmp_path / "other.zarr", np.zeros((2, 2), np.uint8))


def test_scans_take_stores_for_pictures(picture, tmp_path):
    save(tmp_path / "in/b.zarr", picture)
    np.save(tmp_path / "in/a.npy", picture)
    kernel = picture[20:45, 60:91].copy()
    for words in ([str(tmp_path / "in")], [str(tmp_path / "in/*")]):
        found = list(patchsim.scan(words, kernel, threshold=0.99))
        assert [Path(one.image).name for one in found] == ["a.npy", "b.zarr"]
        assert [one.report.best.x for one in found] == [60, 60]


def test_a_store_as_kernel_and_in_frames(picture, tmp_path):
    path = save(tmp_path / "kernel.zarr", picture[20:45, 60:91])
    assert patchsim.match(picture, path).best.x == 60
    image = save(tmp_path / "image.zarr", picture)
    assert patchsim.match(image, path, frame=0).best.frame == 0
    with pytest.raises(InputError, match="has one frame, of number 0; there is no frame 1"):
        patchsim.match(image, path, frame=1)
    shutil.rmtree(image)
