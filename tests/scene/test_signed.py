"""Signed integers of up to 16 bits are compared as uint16, with the results of float64."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch
from helpers import load
from PIL import Image

import patchsim
from patchsim import InputError
from patchsim.pictures.reader import open_picture
from patchsim.scene import value_range

RANGES = {"i1": (-128, 127), "i2": (-32768, 32767)}


def pair(rng, dtype, low, high):
    """A picture [30, 40, 3] of integers and a noisy cut of it."""
    image = rng.integers(low, high, (30, 40, 3), endpoint=True).astype(dtype)
    kernel = np.clip(image[6:15, 8:20].astype(int) + rng.integers(-3, 4, (9, 12, 3)), low, high)
    return image, kernel.astype(dtype)


@pytest.mark.parametrize("metric", ["sad", "ssd", "zncc", "ncc"])
@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("i2", -32768, 32767), ("i1", -128, 127), ("i2", -700, 500)]
)
def test_scores_are_those_of_floats(dtype, low, high, metric, rng):
    image, kernel = pair(rng, dtype, low, high)
    options = {"metric": metric, "data_range": (low, high), "map": True, "padding": "zero"}
    found = patchsim.match(image, kernel, **options)
    expected = patchsim.match(image.astype(float), kernel.astype(float), **options)
    np.testing.assert_allclose(found.map, expected.map, rtol=0, atol=2e-6)
    assert [(m.x, m.y) for m in found.matches] == [(m.x, m.y) for m in expected.matches]
    np.testing.assert_allclose(
        [m.score for m in found.matches], [m.score for m in expected.matches], rtol=1e-12, atol=0
    )
    assert found.plans[0].problem.dtype == ("float64" if metric == "ncc" else "uint16")
    assert expected.plans[0].problem.dtype == "float64"


@pytest.mark.parametrize("other", ["u1", "u2", "f4", "i1", "i4", "?"])
def test_beside_other_types_values_keep_their_size(other, rng):
    image, _ = pair(rng, "i2", -100, 200)
    kernel = np.abs(image[6:15, 8:20]) % (2 if other == "?" else 128)
    own = 255 if other == "?" else 1
    options = {"data_range": (-300, 300), "metric": "ssd", "map": True}
    found = patchsim.match(image, kernel.astype(other), **options)
    expected = patchsim.match(image.astype(float), kernel.astype(float) * own, **options)
    np.testing.assert_allclose(found.map, expected.map, rtol=0, atol=1e-6)
    assert found.best.score == pytest.approx(expected.best.score, rel=1e-12)
    reverse = patchsim.match(
        np.pad(kernel.astype(other), ((9, 9), (9, 9), (0, 0))), image[:9, :9], **options
    )
    exact = patchsim.match(
        np.pad(kernel.astype(float) * own, ((9, 9), (9, 9), (0, 0))),
        image[:9, :9].astype(float),
        **options,
    )
    np.testing.assert_allclose(reverse.map, exact.map, rtol=0, atol=1e-6)


def test_messages_and_drawings_have_the_users_values(run, tmp_path, rng):
    image, kernel = pair(rng, "i2", -3000, 3000)
    image[0, 0], image[0, 1] = -3000, 2900
    np.save(tmp_path / "a.npy", image)
    np.save(tmp_path / "k.npy", image[6:15, 8:20])
    code, _, err = run("match", "a.npy", "k.npy", "--no-heatmap")
    assert code == 2
    assert "a.npy has values from -3000 to" in err or "k.npy has values from -" in err
    code, _, err = run("match", "a.npy", "k.npy", "--no-heatmap", "--data-range=-2000:2000")
    assert code == 2
    assert "outside -2000 to 2000" in err
    words = ("--data-range=-3000:3000", "--top", 1, "--overlay", "o.png", "--format", "json")
    code, out, _ = run("match", "a.npy", "k.npy", *words)
    assert (code, '"score": 1.0' in out) == (0, True)
    drawn = np.asarray(load(tmp_path / "o.png"))
    np.testing.assert_array_equal(drawn[25:, 30:], np.rint((image[25:, 30:] + 3000.0) / 6000 * 255))
    del kernel


@pytest.mark.parametrize("dtype", ["i1", "i2"])
def test_files_and_arrays_are_shifted_alike(dtype, tmp_path, rng):
    low, high = RANGES[dtype]
    values = rng.integers(low, high, (30, 40), endpoint=True).astype(dtype)
    np.save(tmp_path / "a.npy", values)
    tifffile.imwrite(tmp_path / "a.tif", values)
    tifffile.imwrite(tmp_path / "b.tif", values, compression="zlib", byteorder=">")
    for source in (values, *(tmp_path / name for name in ("a.npy", "a.tif", "b.tif"))):
        picture = open_picture(source, name="image")
        assert picture.pixels.dtype == np.uint16
        assert picture.shift == 32768
        np.testing.assert_array_equal(picture.pixels[..., 0].astype(int) - 32768, values)


def test_a_signed_mask_has_its_own_values(rng):
    image, kernel = pair(rng, "i2", -100, 100)
    mask = rng.integers(0, 2, kernel.shape[:2])
    options = {"data_range": (-100, 100)}
    found = patchsim.match(image, kernel, mask=mask.astype("i2"), **options)
    expected = patchsim.match(image, kernel, mask=(mask * 255).astype("u1"), **options)
    assert found.matches == expected.matches
    with pytest.raises(InputError, match="mask has values from -5 to 1, outside 0 to 1"):
        patchsim.match(image, kernel, mask=(mask * 6 - 5).astype("i2"), **options)


def test_what_cannot_be_shifted_is_compared_as_floats(rng):
    pictures = [open_picture(one, name="image") for one in pair(rng, "i2", -100, 100)]
    assert value_range.common(pictures, (-100, 100)).dtype == np.uint16
    assert value_range.common(pictures, (-100, 100)).low == 0
    assert value_range.common(pictures, (-0.5, 100)).low == 0.5
    for data_range, may_shift in ((None, True), ((-40000, 40000), True), ((-9, 9), False)):
        common = value_range.common(pictures, data_range, may_shift=may_shift)
        assert (common.dtype, common.shift) == (np.float64, 0)
    image, kernel = pair(rng, "i2", -100, 100)
    for options in ({"color": "lab"}, {"color": "gray"}, {"scales": "0.9,1", "exhaustive": True}):
        report = patchsim.match(image, kernel, data_range=(-100, 100), **options)
        assert report.plans[0].problem.dtype == "float64"


@pytest.mark.parametrize("metric", ["sad", "ssd", "zncc", "ncc"])
def test_a_range_from_0_on_takes_no_shift(metric, rng):
    image, kernel = pair(rng, "i2", 0, 8)
    for color, dtype in (("auto", "uint16"), ("gray", "float64")):  # which rounds few levels
        options = {"metric": metric, "data_range": (0, 8), "color": color}
        report = patchsim.match(image, kernel, **options)
        assert report.plans[0].problem.dtype == dtype
        floats = patchsim.match(image.astype(float), kernel.astype(float), **options)
        assert [one.score for one in report] == pytest.approx([one.score for one in floats])
        assert [(one.x, one.y) for one in report] == [(one.x, one.y) for one in floats]


class Foreign:
    """An object of another library."""

    def __init__(self, array, *, dlpack=False):
        self._array = array
        if dlpack:
            self.__class__ = Lent

    def __array__(self, dtype=None, copy=None):
        return np.array(self._array, dtype, copy=copy)


class Lent:
    def __dlpack__(self, **options):
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self):
        return self._array.__dlpack_device__()


def test_arrays_of_other_libraries(rng):
    image = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    kernel = image[6:15, 8:20].copy()
    plain = patchsim.match(image, kernel)
    floats = torch.from_numpy(image / 255).requires_grad_()
    for other in (torch.from_numpy(image), Foreign(image), Foreign(image, dlpack=True)):
        assert patchsim.match(other, kernel).best == plain.best
        assert (
            patchsim.match(
                image, [other[6:15, 8:20] if isinstance(other, torch.Tensor) else kernel]
            ).best.x
            == 8
        )
    with pytest.raises(
        InputError, match=r"image is a torch.Tensor that NumPy cannot take; bring it"
    ):
        patchsim.match(torch.zeros(9, 9, dtype=torch.bfloat16), kernel)
    for nothing in (3, None, object(), {"a": 1}):
        with pytest.raises(InputError, match="give a path, a PIL image or a NumPy array"):
            patchsim.match(nothing, kernel)
    assert patchsim.match(Image.fromarray(image), kernel).best == plain.best
    best = patchsim.match(floats, kernel).best
    assert (best.x, best.y, best.score) == (8, 6, pytest.approx(1))
