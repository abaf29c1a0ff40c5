"""The C engine: every variant, type, width, stride and extreme, against the oracle and loops."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys

import numpy as np
import pytest
from helpers import ENVIRONMENT
from helpers.truths import oracle_map, remembered

from patchsim import InputError, choices, match
from patchsim.engines import Problem, simd
from patchsim.machine import extensions

if shutil.which("cc"):
    from patchsim.engines import _sad  # a failed build is an error where there is a compiler
else:
    _sad = pytest.importorskip(
        "patchsim.engines._sad", reason="the C extension was not built: no compiler"
    )
VARIANTS = _sad.variants()
SPAN = {"uint8": 255, "uint16": 65535, "float32": 1, "float64": 1}
ERROR = {"uint8": 0, "uint16": 0, "float32": 1e-6, "float64": 1e-12}  # of a score


def values(rng, dtype, *shape):
    if dtype.startswith("float"):
        return rng.random(shape, dtype=dtype)
    return rng.integers(0, SPAN[dtype] + 1, shape).astype(dtype)


def scored(image, kernel, stride=(1, 1), variant=None, monkeypatch=None):
    """The engine's scores of a tile that is the whole image."""
    if variant:
        monkeypatch.setenv(extensions.VARIANT_SETTING, variant)
    problem = Problem(
        image.shape, kernel.shape, image.dtype.name, stride, "sad", SPAN[image.dtype.name], "cpu", 1
    )
    assert simd.refuse(problem) is None
    return simd.prepare(kernel, problem)(image)


def sums(image, kernel, weights=None, stride=(1, 1), variant="portable"):
    """What the extension writes to cells that were NaN."""
    shape = [(image.shape[i] - kernel.shape[i]) // stride[i] + 1 for i in (0, 1)]
    out = np.full(shape, np.nan)
    _sad.sums(
        image=image, kernel=kernel, weights=weights, out=out, stride_y=stride[0],
        stride_x=stride[1], variant=variant,
    )  # fmt: skip
    return out


@remembered
def plain_sums(image, kernel, weights=1, stride=(1, 1)):
    """In NumPy and float64: quick, and independent of the engine."""
    patches = np.lib.stride_tricks.sliding_window_view(image, kernel.shape)[:, :, 0]
    patches = patches[:: stride[0], :: stride[1]].astype(float)
    differences = np.abs(patches - kernel.astype(float))
    return (differences * weights).sum((2, 3, 4))


def plain(image, kernel, stride):
    return 1 - plain_sums(image, kernel, 1, stride) / (kernel.size * SPAN[image.dtype.name])


def assert_bounded(found, expected, dtype):
    """Integers are exact; floats as near as is stated, which is near enough."""
    assert np.shape(found.error) in ((), found.map.shape)
    assert np.max(found.error) <= ERROR[dtype]
    assert (np.abs(found.map - expected) <= found.error).all()


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", SPAN)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3), (7, 1), (4, 7)])
def test_variants_agree_with_the_oracle(variant, dtype, channels, stride, rng, monkeypatch):
    image, kernel = values(rng, dtype, 14, 17, channels), values(rng, dtype, 5, 6, channels)
    found = scored(image, kernel, stride, variant, monkeypatch)
    assert_bounded(found, oracle_map("sad", image, kernel, stride), dtype)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", SPAN)
def test_every_width_of_a_run(variant, dtype, rng, monkeypatch):
    # 1 to 130 values a row: every vector with every tail, blocks and what is left beside them.
    for width in range(1, 131):
        image, kernel = values(rng, dtype, 9, width + 6, 1), values(rng, dtype, 4, width, 1)
        found = scored(image, kernel, (1, 1), variant, monkeypatch)
        assert_bounded(found, plain(image, kernel, (1, 1)), dtype)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("stride", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("height", [1, 2, 3, 5, 8, 13])
def test_every_stride_and_height(variant, stride, height, rng, monkeypatch):
    for dtype in SPAN:
        image, kernel = values(rng, dtype, 40, 50, 3), values(rng, dtype, height, 7, 3)
        for pair in ((stride, 1), (1, stride), (stride, stride)):
            found = scored(image, kernel, pair, variant, monkeypatch)
            assert_bounded(found, plain(image, kernel, pair), dtype)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [(1, 1), (30, 40), (1, 40), (30, 1)])
def test_smallest_and_largest_kernels(variant, size, rng, monkeypatch):
    for dtype in SPAN:
        image, kernel = values(rng, dtype, 30, 40, 3), values(rng, dtype, *size, 3)
        found = scored(image, kernel, (1, 1), variant, monkeypatch)
        assert_bounded(found, plain(image, kernel, (1, 1)), dtype)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("width", [65_500, 131])
def test_the_largest_sums_do_not_overflow(variant, dtype, width, monkeypatch):
    checkers = (np.indices((9, width + 1)).sum(0) % 2 * SPAN[dtype]).astype(dtype)[..., None]
    found = scored(checkers, checkers[:, :-1], (1, 1), variant, monkeypatch)
    assert found.map.tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", SPAN)
def test_bands_of_a_large_picture_meet(variant, dtype, rng):
    # Planes are made for some rows at a time, 512 KiB or a few kernels' heights.
    image = values(rng, dtype, 700, 900, 2)
    for height, stride in [(2, (1, 3)), (5, (3, 1)), (60, (7, 4))]:
        kernel = values(rng, dtype, height, 3, 2)
        found = sums(image, kernel, None, stride, variant)
        tolerance = ERROR[dtype]
        np.testing.assert_allclose(found, plain_sums(image, kernel, 1, stride), rtol=tolerance)


@pytest.mark.parametrize("variant", VARIANTS)
def test_sums_past_32_bits(variant):
    # 4,300 x 4,000 differences of 255; in the last column the image is 0 as well.
    image = np.full((4300, 4001, 1), 255, np.uint8)
    image[:, -1] = 0
    found = sums(image, np.zeros((4300, 4000, 1), np.uint8), variant=variant)
    assert found.tolist() == [[4300 * 4000 * 255, 4300 * 3999 * 255]]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", SPAN)
@pytest.mark.parametrize("stride", [(1, 1), (3, 2)])
def test_a_mask_takes_pixels_out_of_the_sum(variant, dtype, stride, rng):
    for channels, height, width in [(1, 1, 1), (1, 9, 11), (3, 6, 5), (4, 3, 70)]:
        image = values(rng, dtype, 20, 90, channels)
        kernel = values(rng, dtype, height, width, channels)
        for share in (0.0, 0.5, 1.0):
            mask = (rng.random(kernel.shape) < share).astype(np.uint8)
            found = sums(image, kernel, mask, stride, variant)
            expected = plain_sums(image, kernel, mask, stride)
            np.testing.assert_allclose(found, expected, rtol=ERROR[dtype], atol=0)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", SPAN)
@pytest.mark.parametrize("stride", [(1, 1), (3, 2), (1, 4)])
def test_shades_multiply_the_differences(variant, dtype, stride, rng):
    # Both halves of a shade's bits, one of them, and each value of its own or each pixel.
    for channels, height, width in [(1, 1, 1), (1, 9, 11), (3, 6, 5), (4, 3, 70)]:
        image = values(rng, dtype, 20, 90, channels)
        kernel = values(rng, dtype, height, width, channels)
        for heaviest in (2, 15, 16, 127, 128, 255):
            weights = rng.integers(0, heaviest, kernel.shape, endpoint=True).astype(np.uint8)
            weights[0, 0, 0] = heaviest
            for given in (weights, np.broadcast_to(weights[..., :1], kernel.shape)):
                found = sums(image, kernel, given, stride, variant)
                expected = plain_sums(image, kernel, given, stride)
                np.testing.assert_allclose(found, expected, rtol=ERROR[dtype])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", SPAN)
def test_every_width_of_a_run_with_shades(variant, dtype, rng):
    for width in range(1, 131):
        image, kernel = values(rng, dtype, 9, width + 40, 1), values(rng, dtype, 4, width, 1)
        weights = rng.integers(0, 256, kernel.shape, dtype=np.uint8)
        weights[0, 0] = 2
        found = sums(image, kernel, weights, (1, 1), variant)
        expected = plain_sums(image, kernel, weights)
        np.testing.assert_allclose(found, expected, rtol=ERROR[dtype])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("shade", [2, 15, 16, 128, 255])
@pytest.mark.parametrize("size", [(1, 131), (3, 4096), (3, 16_384), (2, 65_501)])
def test_the_largest_products_do_not_overflow(variant, dtype, shade, size):
    # All differences are the largest, or all but one in the second window; then none is.
    height, width = size
    image = np.full((height, width + 2, 1), SPAN[dtype], dtype)
    image[:, -1] = SPAN[dtype] - 1
    kernel = np.zeros((height, width, 1), dtype)
    weights = np.full(kernel.shape, shade, np.uint8)
    most = height * width * SPAN[dtype] * shade
    found = sums(image, kernel, weights, variant=variant)
    assert found.tolist() == [[most, most, most - height * shade]]
    found = sums(image, image[:, :-2], weights, variant=variant)
    assert found.tolist() == [[0, 0, height * shade]]


@pytest.mark.parametrize("variant", VARIANTS)
def test_products_past_32_bits(variant):
    image = np.full((700, 701, 1), 255, np.uint8)
    image[:, -1] = 0
    kernel = np.zeros((700, 700, 1), np.uint8)
    found = sums(image, kernel, np.full(kernel.shape, 255, np.uint8), variant=variant)
    assert found.tolist() == [[700 * 700 * 255 * 255, 700 * 699 * 255 * 255]]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("heaviest", [1, 2, 255])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_what_is_masked_may_be_nan(variant, heaviest, dtype, rng):
    image, kernel = values(rng, dtype, 9, 9, 1), values(rng, dtype, 9, 9, 1)
    weights = np.full(kernel.shape, heaviest, np.uint8)
    weights[2, 3] = weights[5, 5] = 0
    expected = plain_sums(image, kernel, weights)
    image[2, 3], kernel[5, 5] = np.nan, np.inf
    np.testing.assert_allclose(sums(image, kernel, weights, variant=variant), expected, rtol=1e-6)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("scale", [1e-40, 1e-30, 1.0, 1e30, 3e38])
def test_floats_of_any_size(variant, scale, rng):
    # Denormal numbers keep their differences; sums past float32's largest number are finite.
    image = ((rng.random((40, 40, 2)) - 0.5) * 2 * scale).astype(np.float32)
    kernel = ((rng.random((9, 13, 2)) - 0.5) * 2 * scale).astype(np.float32)
    found = sums(image, kernel, variant=variant)
    np.testing.assert_allclose(found, plain_sums(image, kernel), rtol=15 * 2.0**-24)
    weights = rng.integers(0, 256, kernel.shape, dtype=np.uint8)
    found = sums(image, kernel, weights, variant=variant)
    np.testing.assert_allclose(found, plain_sums(image, kernel, weights), rtol=16 * 2.0**-24)


@pytest.mark.parametrize("variant", VARIANTS)
def test_floats_that_differ_in_their_last_bits(variant, rng):
    kernel = values(rng, "float32", 20, 20, 3)
    image = np.tile(kernel, (2, 2, 1))
    image[5:25] = np.nextafter(image[5:25], np.float32(2))
    found = sums(image, kernel, variant=variant)
    np.testing.assert_allclose(found, plain_sums(image, kernel), rtol=15 * 2.0**-24)


def test_another_librarys_flush_to_zero_changes_nothing(rng):
    torch = pytest.importorskip("torch")
    image = (rng.random((20, 20, 1)) * 1e-39).astype(np.float32)
    kernel = image[3:9, 4:9].copy()
    expected = {variant: sums(image, kernel, variant=variant) for variant in VARIANTS}
    assert torch.set_flush_denormal(True)
    try:
        found = {variant: sums(image, kernel, variant=variant) for variant in VARIANTS}
    finally:
        torch.set_flush_denormal(False)
    for variant in VARIANTS:
        np.testing.assert_array_equal(found[variant], expected[variant])
        assert np.count_nonzero(found[variant] == 0) == 1


def test_a_tile_is_a_view_of_the_picture(rng):
    image, kernel = values(rng, "uint8", 50, 60, 3), values(rng, "uint8", 9, 9, 3)
    view = image[5:40, 7:50]
    for picture in (view, np.rot90(image), image[::-1, ::-2], image[..., ::-1]):
        assert_bounded(scored(picture, kernel), plain(picture, kernel, (1, 1)), "uint8")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", SPAN)
def test_engines_report_the_same_matches(variant, dtype, rng, monkeypatch):
    monkeypatch.setenv(extensions.VARIANT_SETTING, variant)
    image = values(rng, dtype, 90, 80, 3)
    image[40:60, 30:50] = image[0:20, 0:20]  # a tie
    kernels = [image[0:20, 0:20].copy(), values(rng, dtype, 9, 13, 3)]
    first, second = (
        match(image, kernels, stride=(1, 2), engine=name, top=20, memory="20MB")
        for name in ("simd", "unfold")
    )
    assert [p.engine for p in first.plans] == ["simd", "simd"]
    assert first.matches == second.matches


def test_a_variant_that_is_not_here_is_named(monkeypatch):
    monkeypatch.setenv(extensions.VARIANT_SETTING, "altivec")
    with pytest.raises(InputError, match=r"PATCHSIM_SIMD=altivec is not here; .*portable"):
        match(np.zeros((9, 9), np.uint8), np.zeros((3, 3), np.uint8), engine="simd")


def test_without_the_extension_the_engine_refuses_and_another_does_the_work(monkeypatch, rng):
    monkeypatch.setattr(simd, "_extension", lambda: None)
    image = values(rng, "uint8", 30, 30, 1)
    report = match(image, image[4:9, 5:9], map=True)
    assert report.plans[0].engine == "unfold"
    assert re.search(r"simd +cpu +- +its C extension was not built", str(report.plans[0]))
    with pytest.raises(InputError, match="its C extension was not built"):
        match(image, image[4:9, 5:9], engine="simd")


def test_what_it_cannot_do_is_refused():
    problem = Problem((9, 9, 1), (3, 3, 1), "uint8", (1, 1), "sad", 255, "cpu", 1)
    assert simd.refuse(problem) is None
    for change in ({"dtype": "float16"}, {"device": "cuda:0"}):
        assert simd.refuse(problem._replace(**change))
    products = problem._replace(metric="ssd")
    for change in (
        {"dtype": "float16"}, {"device": "cuda:0"}, {"exact": True}, {"stride": (1, 2)},
        {"weight_sum": 5}, {"opaque_level": 255}, {"kernel": (200, 200, 3)},
    ):  # fmt: skip
        assert simd.refuse(products._replace(**change))
    assert simd.refuse(products._replace(kernel=(257, 9, 1), dtype="float32"))


def test_a_search_on_the_cpu_imports_no_torch(tmp_path):
    code = (
        "import sys, numpy as np, patchsim\n"
        "image = np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)\n"
        "report = patchsim.match(image, image[5:25, 6:26], map=True, heatmap='h.png')\n"
        "assert report.plans[0].engine == 'simd'\n"
        "print([m for m in ('torch', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True, text=True, env=ENVIRONMENT, check=True, cwd=tmp_path,
    )  # fmt: skip
    assert done.stdout == "[]\n"


BYTES = {
    "image": np.zeros((6, 6, 2), np.uint8), "kernel": np.zeros((3, 3, 2), np.uint8),
    "weights": None, "out": np.zeros((4, 4)), "stride_y": 1, "stride_x": 1, "variant": "portable",
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"image": np.zeros((5, 6, 2), np.uint8)}, {"image": np.zeros((6, 5, 2), np.uint8)},
        {"image": np.zeros((6, 6, 1), np.uint8)}, {"image": np.zeros((6, 6), np.uint8)},
        {"image": np.zeros((6, 6, 2), np.float32)}, {"image": np.zeros((6, 6, 2), ">u2")},
        {"kernel": np.zeros((7, 3, 2), np.uint8)}, {"kernel": np.zeros((3, 7, 2), np.uint8)},
        {"kernel": np.zeros((0, 3, 2), np.uint8)}, {"kernel": bytes(18)},
        {"weights": np.zeros((3, 3, 1), np.uint8)}, {"weights": np.zeros((3, 3, 2), np.uint16)},
        {"out": np.zeros((4, 5))}, {"out": np.zeros((3, 4))}, {"out": np.zeros((4, 4), np.int64)},
        {"out": np.zeros(16)}, {"stride_y": 2}, {"stride_x": 0}, {"stride_y": -1},
        {"variant": "none"},
    ],
)  # fmt: skip
def test_a_callers_mistake_does_not_read_beyond_the_buffers(change):
    _sad.sums(**BYTES)
    with pytest.raises(ValueError, match=r"size|type|variant|stride|windows|rows"):
        _sad.sums(**(BYTES | change))


def test_buffers_that_cannot_be_written_or_are_none_at_all():
    out = np.zeros((4, 4))
    out.flags.writeable = False
    with pytest.raises((ValueError, BufferError), match=r"read-only|writable"):
        _sad.sums(**(BYTES | {"out": out}))
    with pytest.raises(TypeError, match="bytes-like"):
        _sad.sums(**(BYTES | {"image": 3}))


def test_the_engines_are_listed_with_the_best_first():
    assert choices.ENGINES == ("pruned", "simd", "fft", "cuda", "unfold")
