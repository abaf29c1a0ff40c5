"""Arrays of every layout and order of bytes give what plain arrays give, in every entry."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import patchsim
from patchsim import InputError
from patchsim.pictures import arrays

SHAPE = (30, 40, 3)


def explicit(array):
    """Name the order of bytes in the type, as files in the other order leave it."""
    return array.view(array.dtype.newbyteorder("<"))


def swapped(array):
    return array.astype(array.dtype.newbyteorder(">"))


def read_only(array):
    array = array.copy()
    array.setflags(write=False)
    return array


def negative_stride(array):
    return array[::-1, ::-1].copy()[::-1, ::-1]


def every_second(array):
    wide = np.zeros((array.shape[0], 2 * array.shape[1], *array.shape[2:]), array.dtype)
    wide[:, ::2] = array
    return wide[:, ::2]


def columns_first(array):
    return np.asfortranarray(array)


def planes(array):
    return np.moveaxis(np.moveaxis(array, -1, 0).copy(), 0, -1)


def unaligned(array):
    """As `np.frombuffer` at an odd offset gives it."""
    return np.frombuffer(b"\0" + array.tobytes(), array.dtype, offset=1).reshape(array.shape)


def field(array):
    """A field of records whose size is no multiple of the value's."""
    records = np.zeros(array.shape, [("flag", "u1"), ("value", array.dtype)])
    records["value"] = array
    return records["value"]


LAYOUTS = [
    explicit, swapped, read_only, negative_stride, every_second, columns_first, planes, unaligned,
    field,
]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["u1", "u2", "f4", "f8"])
def test_a_layout_changes_no_match(layout, dtype, rng):
    image = (rng.random(SHAPE) * (1 if dtype[0] == "f" else 255)).astype(dtype)
    kernel, mask = image[5:14, 7:19].copy(), rng.integers(0, 2, (9, 12), dtype=np.uint8) * 255
    for metric in ("sad", "zncc"):
        plain = patchsim.match(image, kernel, mask=mask, metric=metric, map=True, margin=True)
        options = {"metric": metric, "margin": True, "mask": layout(mask[..., None])[..., 0]}
        report = patchsim.match(layout(image), layout(kernel), map=True, **options)
        assert report.matches == plain.matches
        np.testing.assert_array_equal(report.map, plain.map)
        matcher = patchsim.Matcher(layout(kernel), **options)
        assert matcher.match(layout(image)).matches == plain.matches
    assert report.best.score == pytest.approx(1)


@pytest.mark.parametrize("engine", ["simd", "unfold", "pruned"])
def test_one_row_of_any_stride(engine, rng):
    """NumPy calls an axis of length 1 contiguous whatever its stride."""
    image = rng.integers(0, 256, (1, 40, 1), dtype=np.uint8)
    for row in (image[::-1], np.broadcast_to(image[0], image.shape)):
        assert row.strides[0] <= 0
        found = patchsim.match(row, row[:, 7:19], engine=engine).best
        assert (found.x, found.y, found.score) == (7, 0, 1.0)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize(("engine", "metric"), [
    ("simd", "sad"), ("unfold", "sad"), ("pruned", "sad"), ("pruned", "ssd"),
    ("fft", "ssd"), ("fft", "zncc"), ("auto", "ncc"),
])  # fmt: skip
@pytest.mark.parametrize("shape", [(2, 70, 3), (129, 65, 2), (65, 129, 1)])
def test_kernels_of_one_row_in_arrays_that_are_turned(shape, engine, metric, dtype, rng):
    """A tile of one row of an array turned upside down has a negative stride."""
    image = rng.integers(1, 256, shape).astype(dtype)
    image = image / np.float32(255) if dtype == "float32" else image
    for turned in (image[::-1], image[:, ::-1], image[::-1, ::-1]):
        for kernel in (turned[1:2, 9:40], turned[:1, :1] if metric == "sad" else turned[:2, 3:4]):
            options = {"engine": engine, "metric": metric, "stride": (1, 3), "top": 2}
            found = patchsim.match(turned, kernel, **options)
            assert found.matches == patchsim.match(turned.copy(), kernel.copy(), **options).matches


@pytest.mark.parametrize("view", [np.s_[:], np.s_[3:9, 2:], np.s_[::-1], np.s_[:, 5:6], np.s_[4:5]])
def test_grey_arrays_are_read_where_they_are_and_without_gaps(view, rng):
    grey = rng.integers(0, 65536, (20, 30), dtype=np.uint16)[view]
    pixels = arrays.to_pixels(grey, "image")
    np.testing.assert_array_equal(pixels, grey[..., None])
    assert np.shares_memory(pixels, grey)
    assert pixels.shape[1] == 1 or pixels.strides == (grey.strides[0], 2, 2)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_npy_of_each_layout(layout, tmp_path, rng):
    image = rng.integers(0, 65536, SHAPE, dtype=np.uint16)
    kernel = image[5:14, 7:19].copy()
    np.save(tmp_path / "image.npy", layout(image))
    np.save(tmp_path / "kernel.npy", layout(kernel))
    best = patchsim.match(tmp_path / "image.npy", tmp_path / "kernel.npy").best
    assert (best.x, best.y, best.score) == (7, 5, 1)


@pytest.mark.parametrize("shape", [(0, 4, 3), (4, 0, 3), (4, 4, 0), (0, 0)])
def test_arrays_without_pixels_are_refused(shape):
    empty, full = np.zeros(shape, np.uint8), np.zeros((8, 8), np.uint8)
    for image, kernel in ((empty, full), (full, empty)):
        with pytest.raises(InputError, match="is empty: it has the shape"):
            patchsim.match(image, kernel)
    with pytest.raises(InputError, match="is empty"):
        patchsim.match(full, full, mask=empty)


@pytest.mark.parametrize("metric", ["sad", "zncc"])
def test_tensors_of_each_layout_have_the_same_map(metric, rng):
    image = torch.from_numpy(rng.random((2, 3, 20, 30), dtype=np.float32))
    kernel = image[0, :, 4:9, 6:13].clone()
    plain = patchsim.similarity_map(image, kernel, metric=metric)

    def last(tensor):  # channels last
        return tensor.movedim(-3, -1).contiguous().movedim(-1, -3)

    def wide(tensor):
        return tensor.repeat_interleave(2, -1)[..., ::2]

    def read_only_memory(tensor):
        return torch.from_numpy(tensor.numpy()[:])

    for layout in (last, wide, read_only_memory):
        found = patchsim.similarity_map(layout(image), layout(kernel), metric=metric)
        torch.testing.assert_close(found, plain, rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="is empty"):
        patchsim.similarity_map(image, kernel[:, :0])
