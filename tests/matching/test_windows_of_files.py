"""Pictures that are read by windows have the answers of the same pictures in memory."""

from __future__ import annotations

import itertools
import os
import tempfile
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from helpers import map_size
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import patchsim
from patchsim import InputError, metrics
from patchsim.geometry import tiles
from patchsim.output.stretch import Stretch
from patchsim.pictures import windowed

LARGE = {"max_pixels": 1, "memory": "40MB"}  # too large to be read whole


@pytest.fixture
def picture(rng):
    return rng.integers(0, 256, (90, 130, 3), dtype=np.uint8)


@pytest.fixture
def save(tmp_path, save):
    def write(name, picture):
        if not name.endswith(".npy"):
            return save(name, picture)
        np.save(tmp_path / name, picture)
        return tmp_path / name

    return write


def answer(report):
    """All that tells of the matches, bit for bit."""
    names = ("x", "y", "width", "height", "score", "kernel", "margin", "x_subpixel", "y_subpixel")
    found = [tuple(getattr(match, name) for name in names) for match in report]
    return found, [kernel.origin for kernel in report.kernels], report.threshold


def by_windows(path, kernel, **options):
    """Search a file that is too large to be read whole."""
    report = patchsim.match(path, kernel, **{**LARGE, **options})
    assert all(plan.problem.reading for plan in report.plans)
    return report


def made(rng, dtype, shape):
    if np.dtype(dtype).kind == "f":
        return rng.random(shape).astype(dtype)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    native = np.dtype(dtype).newbyteorder("=")
    return rng.integers(low, high, shape, native, endpoint=True).astype(dtype)


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_windows_have_the_answers_of_memory(data):
    seed = data.draw(st.integers(0, 1 << 20), "seed")
    rng = np.random.default_rng(seed)
    dtype = data.draw(st.sampled_from(["u1", "u2", ">u2", "f4", "f8", "i2", "?"]), "dtype")
    height, width = data.draw(st.tuples(st.integers(12, 90), st.integers(12, 90)), "size")
    channels = data.draw(st.sampled_from([1, 3]), "channels")
    tall, wide = (
        data.draw(st.integers(1, min(length, 40)), name)
        for length, name in ((height, "tall"), (width, "wide"))
    )
    if dtype == "?":
        image = rng.random((height, width, channels)) < 0.5
    else:
        image = made(rng, dtype, (height, width, channels))
    top, left = int(rng.integers(0, height - tall + 1)), int(rng.integers(0, width - wide + 1))
    kernel = image[top : top + tall, left : left + wide]
    options = {
        "metric": data.draw(st.sampled_from(["sad", "ssd", "ncc", "zncc"]), "metric"),
        "engine": data.draw(st.sampled_from(["auto", "simd", "fft"]), "engine"),
        "padding": data.draw(st.sampled_from(["valid", "edge", "reflect", "zero"]), "padding"),
        "stride": data.draw(st.tuples(st.integers(1, 5), st.integers(1, 5)), "stride"),
        "threads": data.draw(st.integers(1, 2), "threads"),
        "margin": data.draw(st.booleans(), "margin"),
        "top": data.draw(st.integers(1, 20), "top"),
    }
    if data.draw(st.booleans(), "has region"):
        options["region"] = left, top, width - left, height - top
    if channels == 3:
        colors = ["auto", "gray", "hsv", "lab"] if dtype != "i2" else ["auto"]
        options["color"] = data.draw(st.sampled_from(colors), "color")
        if options["color"] != "gray" and data.draw(st.booleans(), "has shares"):
            options["channel_weights"] = (1, 0, 2)
    if dtype == "i2":
        options["data_range"] = (-32768, 32767)
    mask = None
    if data.draw(st.booleans(), "masked"):
        mask = rng.integers(0, 256, (tall, wide), dtype=np.uint8)
        mask[0, 0] = 255
    part = data.draw(st.sampled_from([1 << 12, 1 << 17]), "windows of a part of a tile")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "image.npy")
        np.save(path, image)
        with (
            mock.patch("patchsim.scene.by_windows._SMALL", 1 << 40),
            mock.patch("patchsim.planning.candidates._CACHED_WINDOWS", part),
        ):
            results = []
            for source in (image, path):
                try:
                    found = patchsim.match(source, kernel, mask=mask, **{**LARGE, **options})
                    results.append(answer(found)[0])
                except InputError as error:
                    results.append(str(error).replace(str(path), "image"))
    if isinstance(results[0], str):
        assert results == [results[0]] * 2
        return
    names = [match[:5] + match[6:] for match in results[0]]
    assert names == [match[:5] + match[6:] for match in results[1]]


@pytest.mark.parametrize("stride", [1, (2, 3)])
def test_a_tile_is_read_once_and_scored_in_parts(stride, rng, save, tmp_path, monkeypatch):
    picture = rng.integers(0, 256, (400, 500, 3), dtype=np.uint8)
    kernel = picture[150:170, 300:330]
    options = {"engine": "simd", "stride": stride, "threads": 2, "top": 9, "margin": True}
    expected = patchsim.match(picture, kernel, map=tmp_path / "whole.npy", **options)
    monkeypatch.setattr("patchsim.planning.candidates._CACHED_WINDOWS", 1 << 12)
    read, scored = [], []
    read_window, similarity = windowed.Windowed.__getitem__, metrics.similarity
    monkeypatch.setattr(
        windowed.Windowed, "__getitem__", lambda of, at: read.append(at) or read_window(of, at)
    )
    monkeypatch.setattr(
        metrics,
        "similarity",
        lambda of, *rest, **named: scored.append(of.shape) or similarity(of, *rest, **named),
    )
    path = save("image.npy", picture)
    report = by_windows(path, kernel, map=tmp_path / "parts.npy", **options)
    plan = report.plans[0]
    tiles_of_map = [
        tile.source(plan.problem.kernel[:2], plan.problem.stride)
        for tile in tiles.split(plan.problem.map_shape, plan.tile)
    ]
    assert {read.count(at) for at in tiles_of_map} == {1}
    assert len([shape for shape in scored if len(shape) == 2]) > len(tiles_of_map)
    assert max(shape[0] * shape[1] for shape in scored if len(shape) == 2) <= 1 << 12
    maps = [np.load(tmp_path / name) for name in ("whole.npy", "parts.npy")]
    np.testing.assert_array_equal(*maps)
    assert answer(report) == answer(expected)


@pytest.mark.parametrize(("engine", "memory"), [("simd", "2MB"), ("unfold", "6MB")])
def test_kernels_taller_than_a_band(picture, save, engine, memory):
    kernel = picture[20:80, 30:60]
    path = save("image.npy", picture)
    options = {"engine": engine, "threads": 2, "margin": True}
    small = by_windows(path, kernel, memory=memory, **options)
    plan = small.plans[0]
    assert answer(small)[0][0][:5] == (30, 20, 30, 60, 1.0)
    assert plan.tile[0] < 60
    assert answer(small)[1:] == answer(patchsim.match(picture, kernel, **options))[1:]


def test_subpixel_positions_and_quarter_turns(picture, save):
    smooth = np.asarray(Image.fromarray(picture).resize((260, 180), Image.Resampling.BICUBIC))
    kernel = smooth[40:72, 50:91]
    path = save("image.npy", smooth)
    for options in ({"subpixel": True, "stride": 3}, {"angles": "0,90", "flips": "h"}):
        expected = answer(patchsim.match(smooth, kernel, **options))
        assert answer(by_windows(path, kernel, **options)) == expected
        assert expected[0][0][4] == 1 or "stride" in options


def test_several_kernels_and_auto_threshold(picture, save):
    kernels = [picture[5:25, 5:30], picture[40:60, 50:75], picture[60:83, 9:29]]
    path = save("image.npy", picture)
    for options in (
        {"threshold": 0.9},
        {"threshold": "auto", "padding": "zero"},
        {"per_kernel": True, "top": 2},
    ):
        expected = answer(patchsim.match(picture, kernels, **options))
        assert answer(by_windows(path, kernels, **options)) == expected


def test_a_heatmap_is_reduced_by_maximum(picture, save, tmp_path):
    kernel = picture[20:31, 30:47]
    path = save("image.npy", picture)
    scores = patchsim.match(picture, kernel, map=True, engine="simd").maps[0]
    sizes = ((None, 1), (200, 1), (50, 3), (16, 8), (2, 57))
    searches = ((by_windows, path), (patchsim.match, picture))
    for (most, factor), (search, source) in itertools.product(sizes, searches):
        report = search(
            source, kernel, heatmap=tmp_path / "h.png", heatmap_size=most, engine="simd", threads=2
        )
        assert report.maps == ()
        with Image.open(tmp_path / "h.png") as drawn:
            text, pixels = drawn.text, np.asarray(drawn)
        rows, cols = (-(-length // factor) for length in scores.shape)
        best = np.full((rows * factor, cols * factor), -np.inf, np.float32)
        best[: scores.shape[0], : scores.shape[1]] = scores
        best = best.reshape(rows, factor, cols, factor).max((1, 3))
        assert text.get("score_reduced", "1") == str(factor)
        assert (float(text["score_min"]), float(text["score_max"])) == (best.min(), best.max())
        part = pixels[:rows, :cols]
        is_map = part < 252  # and no ring
        shades = Stretch.of(best).indices(best, 251)
        assert (part[is_map] == shades[is_map]).all()
        assert is_map.mean() > 0.5 or max(rows, cols) < 40


@pytest.mark.parametrize("name", ["image.npy", "image.png"])
@pytest.mark.parametrize("output", ["map", "heatmap", "blend", "overlay", "report"])
def test_a_picture_that_leaves_no_room_for_outputs_is_read_by_windows(
    name, output, rng, save, tmp_path
):
    large = np.kron(rng.integers(0, 256, (20, 30), dtype=np.uint8), np.ones((90, 90), np.uint8))
    large = large + rng.integers(0, 9, large.shape, dtype=np.uint8) // 3
    kernel, path = large[700:740, 900:950].copy(), save(name, large)
    suffixes = {"map": ".npy", "report": ".html"}
    target = tmp_path / f"out{suffixes.get(output, '.png')}"
    options = {"top": 2, "margin": False, "heatmap_size": 50, "force": True}
    plain = patchsim.match(large, kernel, top=2, margin=False)
    seen = []
    for memory in ("14MB", "20MB", "400MB"):
        report = patchsim.match(path, kernel, memory=memory, **options, **{output: target})
        seen.append(report.plans[0].problem.reading is not None)
        assert answer(report) == answer(plain)
        assert target.stat().st_size > 0
    assert seen == [True, True, False]


def test_a_picture_with_no_room_as_it_is_and_none_by_windows_tells_of_itself(rng, save):
    path = save("image.npy", rng.integers(0, 256, (1800, 2700), dtype=np.uint8))
    kernel = np.eye(9, dtype=np.uint8)
    with pytest.raises(InputError, match="is the least for these pictures and outputs"):
        patchsim.match(path, kernel, memory="10MB", map=True)


def test_a_reduced_heatmap_within_a_tolerance_has_the_exact_scores_of_matches(
    picture, save, tmp_path
):
    kernel, options = picture[20:51, 30:67], {"engine": "fft", "tolerance": 0.02}
    path, drawn = save("image.npy", picture), tmp_path / "h.png"
    report = by_windows(path, kernel, heatmap=drawn, heatmap_size=40, **options)
    assert report.best.score == 1
    with Image.open(drawn) as heatmap:
        assert float(heatmap.text["score_max"]) == 1


def test_a_heatmap_is_as_large_as_8192_pixels_by_default(save, tmp_path):
    path = save("image.npy", np.zeros((20, 9000), np.uint8))
    kernel = np.eye(9, dtype=np.uint8)
    for options, size in (({}, (4496, 6)), ({"heatmap_size": 9000}, (8992, 12))):
        by_windows(path, kernel, heatmap=tmp_path / "h.png", **options)
        assert map_size(tmp_path / "h.png") == size
    with pytest.raises(InputError, match="heatmap-size 0 is not possible"):
        by_windows(path, kernel, heatmap=tmp_path / "h.png", heatmap_size=0)


def test_poses_are_refused_before_the_image_is_decoded(picture, save):
    path = save("image.png", Image.fromarray(picture))
    with (
        mock.patch("patchsim.pictures.spool.open_rows", side_effect=AssertionError("decoded")),
        pytest.raises(InputError, match="give a --region, or a smaller --level"),
    ):
        patchsim.match(path, picture[:9, :9], scales="0.5:2", **LARGE)
    region = {"region": (0, 0, 60, 60)}
    report = patchsim.match(path, picture[10:40, 10:40], angles="0:20:10", **region, **LARGE)
    assert (report.best.x, report.best.y, report.best.angle) == (10, 10, 0)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"map": True}, "its map of up to 46.8 kB is not kept; give the path of a file"),
        ({"scales": "0.5:2"}, "scales and angles other than quarter turns"),
        ({"engine": "pruned"}, "this image is not held in memory"),
    ],
)
def test_what_needs_the_whole_image_is_refused(picture, save, options, says, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = save("image.npy", picture)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(InputError, match=says):
        patchsim.match(path, picture[:9, :9], **LARGE, **options)
    assert sorted(tmp_path.iterdir()) == before
    patchsim.match(path, picture[:9, :9], **options)  # it fits without a limit


@pytest.mark.parametrize("metric", ["sad", "zncc"])
def test_values_are_checked_when_they_are_read(rng, save, metric):
    image = rng.random((90, 130, 1))
    kernel = image[3:9, 3:9].copy()
    image[81, 17] = np.nan
    path = save("image.npy", image)
    with pytest.raises(InputError, match="has a value nan at x=17, y=81"):
        patchsim.match(path, kernel, metric=metric, **LARGE)
    image[81, 17] = 7
    path = save("image.npy", image)
    if metric == "sad":
        with pytest.raises(InputError, match=r"values from .* to 7, outside 0 to 1"):
            patchsim.match(path, kernel, metric=metric, **LARGE)
    else:
        expected = answer(patchsim.match(image, kernel, metric=metric))
        assert answer(by_windows(path, kernel, metric=metric)) == expected


def test_a_fourth_channel(rng, save):
    image = rng.integers(0, 256, (40, 50, 4), dtype=np.uint8)
    kernel = image[5:15, 5:15, :3].copy()
    path = save("image.npy", image)
    assert answer(by_windows(path, kernel)) == answer(patchsim.match(image, kernel))
    report = by_windows(path, kernel, ignore_alpha=True)
    assert answer(report) == answer(patchsim.match(image, kernel, ignore_alpha=True))
    for opacity in (0, 255):
        image[..., 3] = opacity
        report = by_windows(save("image.npy", image), kernel)
        expected = patchsim.match(image, kernel)
        assert answer(report) == answer(expected)
        assert report.notices == expected.notices
    whole = image[5:15, 5:15]
    report = by_windows(path, whole, alpha=False)
    assert answer(report) == answer(patchsim.match(image, whole, alpha=False))


def test_a_file_that_changes_is_an_error(picture, save):
    path = save("image.npy", picture)
    read = windowed.Windowed.from_source

    def changed(source):
        save("image.npy", picture[::-1])
        os.utime(path, ns=(1, 1))
        return read(source)

    with (
        mock.patch.object(windowed.Windowed, "from_source", changed),
        pytest.raises(InputError, match="changed while it was read"),
    ):
        patchsim.match(path, picture[:9, :9], **LARGE)


def test_damaged_and_unsuitable_files(picture, save, tmp_path):
    path = save("image.npy", picture)
    content = path.read_bytes()
    path.write_bytes(content[:-5])
    with pytest.raises(InputError, match=r"damaged or cut short: its .* bytes cannot"):
        patchsim.match(path, picture[:9, :9], **LARGE)
    np.save(path, np.asfortranarray(picture))
    with pytest.raises(InputError, match="stored column by column"):
        patchsim.match(path, picture[:9, :9], **LARGE)
    bmp = tmp_path / "image.bmp"  # which nothing reads by windows
    Image.fromarray(picture).save(bmp)
    with pytest.raises(
        InputError, match=r"11,700 pixels, more than[^$]*, or save it as a tiled TIFF"
    ):
        patchsim.match(bmp, picture[:9, :9], **LARGE)


def test_the_plan_says_how_the_image_is_read(picture, save, run):
    save("image.npy", picture)
    save("kernel.png", picture[5:20, 5:20])
    code, out, err = run(
        "match", "image.npy", "kernel.png", "--max-pixels", "500", "--explain", "--no-heatmap"
    )
    assert code == 0, err
    assert "the image is read by windows from the .npy file" in err
    assert out.splitlines()[1].split("\t")[:2] == ["5", "5"]


def test_a_windowed_picture_is_no_array(picture):
    pixels = windowed.Windowed(
        picture.shape, picture.dtype, lambda rows, cols: picture[rows, cols], 0, 3, ""
    )
    with pytest.raises(TypeError, match="is not read whole"):
        np.asarray(pixels)
    part = pixels.part(3, 5, 40, 50)
    assert (part[2:9, 4:10] == picture[5:12, 9:15]).all()


@settings(deadline=None)
@given(
    st.integers(1, 9), st.integers(1, 9), st.integers(0, 30), st.integers(0, 30), st.data(),
    st.sampled_from(["edge", "reflect", "constant"]),
)  # fmt: skip
def test_padding_is_that_of_numpy(height, width, above, beside, data, mode):
    picture = np.random.default_rng(0).integers(1, 256, (height, width, 2), dtype=np.uint8)
    pixels = windowed.Windowed(
        picture.shape, picture.dtype, lambda rows, cols: picture[rows, cols], 0, 3, ""
    ).padded(above, beside, mode, np.zeros(2, np.uint8))
    expected = np.pad(picture, ((above, above), (beside, beside), (0, 0)), mode)
    assert pixels.shape == expected.shape
    top, left = data.draw(st.integers(0, len(expected) - 1)), data.draw(st.integers(0, beside))
    window = np.s_[top : top + 7, left : left + 5]
    assert (pixels[window] == expected[window]).all()


def test_the_command_says_how_a_heatmap_is_reduced(picture, save, run):
    save("image.npy", picture)
    save("kernel.png", picture[5:20, 5:20])
    code, _, err = run("match", "image.npy", "kernel.png", "--heatmap-size", "40")
    assert code == 0, err
    assert "heatmap image.heatmap.png: scores" in err
    assert ", each pixel the best of 3x3 windows" in err
