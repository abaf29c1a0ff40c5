"""Searches of floats find what they find in values near 1, however far from 1 the values are."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest

from patchsim import InputError, Matcher, match
from patchsim.choices import METRICS
from patchsim.matching import fingerprint
from patchsim.matching.inputs import Kernels
from patchsim.matching.repeated import Repeated
from patchsim.pictures.reader import open_picture

CORRELATED = ["ncc", "zncc"]
ENGINES = ["simd", "fft", "pruned", "unfold"]


@pytest.fixture
def image(rng):
    """Values of 20 bits [30, 41, 3], so that few of them are lost where they are subnormal."""
    return np.rint(rng.random((30, 41, 3)) * 2**20) / 2**20


def found(report):
    return [(one.x, one.y, one.score) for one in report]


def by_engines(image, kernel, **options):
    """The matches of the planned search and of every engine that takes it."""
    results = [found(match(image, kernel, **options))]
    for engine in ENGINES:
        with contextlib.suppress(InputError):  # an engine that does not take such a search
            results.append(found(match(image, kernel, engine=engine, **options)))
    return results


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("power", [-1050, -600, -300, 300, 1020])
def test_a_power_of_two_changes_no_match(metric, power, image, rng):
    kernel = image[11:20, 7:19]
    mask = rng.integers(0, 256, (9, 12), np.uint8)
    scaled = np.ldexp(image, power)
    ends = {} if metric in CORRELATED else {"data_range": (0.0, float(np.ldexp(1.0, power)))}
    for options in ({}, {"mask": mask}, {"channel_weights": (1, 0, 3)}, {"stride": (1, 7)}):
        asked = {"metric": metric, "top": 4, **options}
        usual = match(image, kernel, **asked)
        assert found(usual)[0] == (7, 11, 1.0)
        results = by_engines(scaled, scaled[11:20, 7:19], **asked, **ends)
        assert len(results) > 1
        assert all(result == found(usual) for result in results)
        maps = [
            match(one, one[11:20, 7:19], **asked, **given, map=True).map
            for one, given in ((image, {}), (scaled, ends))
        ]
        np.testing.assert_allclose(*maps, atol=1e-5)


@pytest.mark.parametrize("metric", CORRELATED)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("of_image", "of_kernel"), [(-1, 1), (1, -1), (0, -1), (0, 1)])
def test_image_and_kernel_may_be_far_from_each_other(
    metric, dtype, of_image, of_kernel, image, monkeypatch
):
    """And each matcher may get an image of another size next."""
    far = 1000 if dtype == np.float64 else 120
    image = image.astype(dtype)
    kernel = np.ldexp(image[11:20, 7:19], of_kernel * far)
    usual = found(match(image, image[11:20, 7:19], metric=metric, top=3))
    assert all(
        result == usual
        for result in by_engines(np.ldexp(image, of_image * far), kernel, metric=metric, top=3)
    )
    repeated = []
    search = Repeated.search
    monkeypatch.setattr(Repeated, "search", lambda *all_: repeated.append(1) or search(*all_))
    matcher = Matcher(image[11:20, 7:19].copy(), metric=metric, top=3)
    for power in (0, 0, 0, -far, far, -far, 0):
        assert found(matcher.match(np.ldexp(image, power))) == usual
    assert repeated


@pytest.mark.parametrize("metric", CORRELATED)
@pytest.mark.parametrize("power", [-520, -700, -1000])
@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize("size", [(9, 12), (2, 3)])
def test_a_dark_part_of_an_image_has_its_match(metric, power, is_masked, size, image):
    """Squares of its values vanish beside those of the rest."""
    image[8:, 5:] = np.ldexp(image[8:, 5:], power)
    image[:4] = 0
    kernel = image[11 : 11 + size[0], 7 : 7 + size[1]].copy()
    options = {"metric": metric, "top": 1}
    if is_masked:
        options["mask"] = np.where(np.arange(size[1]) % 3 == 1, 0, 255)[None].repeat(size[0], 0)
        options["mask"] = options["mask"].astype(np.uint8)
    for result in by_engines(image, kernel, **options):
        assert result == [(7, 11, 1.0)]
    assert (7, 11, 1.0) in found(match(image, kernel, **options | {"top": None}, threshold=1))


@pytest.mark.parametrize("metric", CORRELATED)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("largest", [1e-56, 5e-324])
def test_the_stated_range_may_be_far_wider_than_the_values(metric, dtype, largest, rng):
    if dtype == np.float32:
        largest = max(largest, 1.5e-45)
    image = (rng.integers(0, 4, (24, 30)) * largest).astype(dtype)
    for given in ((0, 1), (-1e300, 1e300)):
        for result in by_engines(image, image[5:13, 9:20], metric=metric, data_range=given, top=1):
            assert result == [(9, 5, 1.0)]


def test_floats_that_vary_by_next_to_nothing_of_the_range_are_told_of(image):
    options = {"data_range": (-1.0, 1.0)}
    (notice,) = match(image * 1e-56, image[11:20, 7:19] * 1e-56, **options).notices
    assert "next to nothing of the data range -1 to 1" in notice
    assert "--data-range LO:HI (data_range=)" in notice
    for scale, more in ((1e-11, {}), (1e-56, {"metric": "zncc"}), (0.0, {})):
        kernel = image[11:20, 7:19] * scale
        told = match(image * scale, kernel, **options, **more).notices if scale else ()
        assert told == ()
    (notice,) = match(image * 1e-56, image[11:20, 7:19] * 1e-56).notices
    assert "give --data-range 0:1e-56" in notice


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i1", "i2", "i4"])
@pytest.mark.parametrize("more", [{}, {"angles": (-4, 4)}, {"metric": "ssd"}])
def test_integers_that_vary_by_next_to_nothing_of_the_range_are_told_of(dtype, more, rng):
    image = rng.integers(0, 100, (30, 41)).astype(dtype)
    kernel = image[8:20, 7:19]
    (notice,) = match(image, kernel, data_range=(0, 1e20), top=1, **more).notices
    assert "next to nothing of the data range 0 to 1e+20" in notice
    for told in (
        match(image, kernel, data_range=(0, 1e9), top=1, **more).notices,
        match(image, kernel, data_range=(0, 1e20), top=1, metric="zncc").notices,
    ):
        assert told == ()


@pytest.mark.parametrize("ends", [(0, 0.1), (0, 0.3), (0, 0.7), (-0.1, 0), (-0.7, 0.1), (0, 1e-20)])
@pytest.mark.parametrize("metric", ["sad", "ssd"])
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_a_range_has_the_ends_that_the_type_of_the_picture_has(ends, metric, dtype):
    """The float32 nearest to 0.1 is more than 0.1, and the float16 nearest to 0.3 more than 0.3."""
    low, high = np.array(ends, dtype)
    if low == high:
        pytest.skip("both ends are 0 in float16")
    image = np.full((20, 30), low)
    image[8:14, 9:19] = high
    for kernel in (image[6:16, 7:21], np.full((4, 5), low), np.full((4, 5), high)):
        report = match(image, kernel, data_range=ends, metric=metric, threshold=-1)
        assert report.best.score == 1
        assert min(one.score for one in report) > -1e-15  # sums are rounded
    (last,) = match(image[:4, :5], np.full((4, 5), high), data_range=ends, metric=metric, top=1)
    assert -1e-15 < last.score < np.finfo(dtype).eps
    beyond = np.array(ends) * (1 + 1e-15)  # float64 holds more digits of the ends
    for other in (np.nextafter(low, dtype(-9)), np.nextafter(high, dtype(9))):
        with pytest.raises(InputError, match="outside"):
            match(np.where(image == high, other, low), kernel, data_range=ends, metric=metric)
    with pytest.raises(InputError, match="outside"):
        match(np.tile(beyond, (20, 8)), kernel, data_range=ends, metric=metric)


def test_a_range_has_the_ends_of_float16_in_files_and_windows(tmp_path, rng):
    tifffile, zarr = pytest.importorskip("tifffile"), pytest.importorskip("zarr")
    openexr = pytest.importorskip("OpenEXR")
    image = (rng.random((40, 50)) * 0.3).astype(np.float16)
    image[9, 9] = 0.3
    assert float(image[9, 9]) > 0.3
    kernel = image[5:14, 7:19]
    np.save(tmp_path / "a.npy", image)
    tifffile.imwrite(tmp_path / "a.tif", image, tile=(16, 16), compression="deflate")
    zarr.create_array(tmp_path / "a.zarr", data=image, chunks=(16, 16))
    header = {"compression": openexr.ZIP_COMPRESSION, "type": openexr.scanlineimage}
    openexr.File(header, {"Y": image}).write(str(tmp_path / "a.exr"))
    options = {"data_range": (0, 0.3), "top": 1}
    wanted = found(match(image, kernel, **options))
    assert wanted == [(7, 5, 1.0)]
    for name in ("a.npy", "a.tif", "a.zarr", "a.exr"):
        path = str(tmp_path / name)
        assert found(match(path, kernel, **options)) == wanted
        if name != "a.exr":
            assert found(match(path, kernel, **options, max_pixels=99)) == wanted
    wider = image.astype(np.float32)  # what was float16 is not known any more
    with pytest.raises(InputError, match=r"outside 0 to 0\.3"):
        match(wider, wider[5:14, 7:19], **options)


@pytest.mark.parametrize("first", [np.float16, np.float32])
def test_a_matcher_tells_float16_from_float32(first, rng):
    image = (rng.random((30, 41)) * 0.2).astype(np.float16)
    matcher = Matcher(image[11:20, 7:19], data_range=(0, 0.3), threshold=0.0)
    other = Matcher(image[11:20, 7:19].astype(np.float32), data_range=(0, 0.3), threshold=0.0)
    assert matcher.fingerprint != other.fingerprint
    for dtype in (first, np.float32, np.float16):
        fresh = match(image.astype(dtype), image[11:20, 7:19].astype(np.float32),
                      data_range=(0, 0.3), threshold=0.0)  # fmt: skip
        assert found(other.match(image.astype(dtype))) == found(fresh)
    wide = 1 - (1 - found(other.match(image.astype(np.float32)))[-1][2]) * 0.3 / np.float16(0.3)
    assert found(other.match(image))[-1][2] == pytest.approx(wide, abs=1e-7)


def test_the_fingerprint_of_an_image_tells_the_types_of_arrays():
    options = Matcher(np.eye(3), metric="zncc").options
    kernels, texts = Kernels.opened([np.eye(3)], None, options, None), set()
    for dtype in ("i1", "i2", "u2", "f2", "f4"):
        image = np.arange(20, dtype=dtype).reshape(4, 5)
        if dtype == "u2":
            image += 1 << 15  # what int16 becomes
        picture = open_picture(image, name="image")
        texts.add(fingerprint.of_search(picture, kernels, options)["image"])
    assert len(texts) == 4  # int8 and int16 are searched alike


def test_no_metric_is_advised_that_is_used(image):
    for metric in METRICS:
        with pytest.raises(InputError, match="outside 0 to") as error:
            match(image * 1e308, image[11:20, 7:19] * 1e308, metric=metric)
        assert ("use --metric zncc" in str(error.value)) == (metric not in CORRELATED)


def test_a_range_that_is_wider_than_a_float_is_told_from_an_empty_one(image):
    for ends, says in (
        ((-1e308, 1e308), "is wider than a float can hold"),
        ((0, np.inf), "is empty or endless"),
        ((np.nan, 1), "is empty or endless"),
        ((1, 1), "is empty or endless"),
    ):
        with pytest.raises(InputError, match=says):
            match(image, image[11:20, 7:19], data_range=ends)


@pytest.mark.parametrize("metric", METRICS)
def test_a_range_whose_square_is_no_float_is_too_wide_for_integers(metric, rng):
    image = rng.integers(0, 256, (30, 40), dtype=np.uint8)
    with pytest.raises(InputError, match=r"0 to 1e\+303 is too wide for uint8"):
        match(image, image[11:20, 7:19], metric=metric, data_range=(0, 1e303))


def test_the_least_values_have_a_range(image):
    image = np.rint(image * 3) * 5e-324
    (notice,) = match(image, image[11:20, 7:19]).notices
    end = float(notice.split("data_range=(0, ")[1].rstrip(")"))
    report = match(image, image[11:20, 7:19], data_range=(0, end))
    assert (report.notices, found(report)[0]) == ((), (7, 11, 1.0))
    assert len(match(image, image[11:20, 7:19], data_range=(0, end), threshold=1)) == 1


def test_differences_of_pixels_are_those_of_the_stated_range(image):
    """Values are scaled for scores alone."""
    kernel = image[11:20, 7:19] * 1e-9
    kernel[4, 5] += 1e-9
    options = {"metric": "zncc", "data_range": (0, 255e-9), "pixel_tolerance": 0, "top": 1}
    (one,) = match(image * 1e-9, kernel, **options)
    (other,) = match(image, kernel * 1e9, **options | {"data_range": (0, 255)})
    assert one.differing == other.differing == 1
    assert one.max_difference == pytest.approx(other.max_difference)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", [np.int32, np.uint32])
def test_wide_integers_score_1_where_they_are_equal(metric, dtype, rng):
    least, most = np.iinfo(dtype).min, np.iinfo(dtype).max
    image = rng.integers(least, most, (24, 30, 3), dtype)
    options = {} if metric in CORRELATED else {"data_range": (int(least), int(most))}
    for result in by_engines(image, image[5:13, 9:20], metric=metric, top=1, **options):
        assert result == [(9, 5, 1.0)]


def test_poses_are_found_in_values_of_any_size(image):
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(image[..., 0], 2)
    for metric in CORRELATED:
        usual = match(smooth, smooth[8:22, 12:28], angles=(-8, 8), metric=metric, top=1)
        for power in (-1000, 1000):
            scaled = np.ldexp(smooth, power)
            again = match(scaled, scaled[8:22, 12:28], angles=(-8, 8), metric=metric, top=1)
            assert again[0].score == pytest.approx(usual[0].score, abs=1e-9)
            np.testing.assert_allclose(again[0].corners, usual[0].corners, atol=1e-6)
