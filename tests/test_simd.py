"""The C engine: every variant, type, width, stride and extreme, against the oracle and loops."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import oracle
import pytest
from helpers import ENVIRONMENT

from patchsim import InputError, engines, match
from patchsim.engines import Problem, simd

_sad = pytest.importorskip(
    "patchsim.engines._sad", reason="the C extension was not built: no compiler at install time"
)
VARIANTS = _sad.variants()
SPAN = {"uint8": 255, "uint16": 65535, "float32": 1}


def values(rng, dtype, *shape):
    if dtype == "float32":
        return rng.random(shape, dtype=np.float32)
    return rng.integers(0, SPAN[dtype] + 1, shape).astype(dtype)


def scored(image, kernel, stride=(1, 1), variant=None, monkeypatch=None):
    """The engine's sums over a tile that is the whole image."""
    if variant:
        monkeypatch.setenv(simd.VARIANT_SETTING, variant)
    problem = Problem(
        image.shape, kernel.shape, image.dtype.name, stride, "sad", SPAN[image.dtype.name], "cpu", 1
    )
    assert simd.refuse(problem) is None
    return simd.prepare(kernel, problem)(image).map


def plain(image, kernel, stride):
    """In NumPy and float64: quick, and independent of the engine."""
    patches = np.lib.stride_tricks.sliding_window_view(image, kernel.shape)[:, :, 0]
    patches = patches[:: stride[0], :: stride[1]].astype(float)
    sums = np.abs(patches - kernel.astype(float)).sum((2, 3, 4))
    return 1 - sums / (kernel.size * SPAN[image.dtype.name])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", SPAN)
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3), (7, 1), (4, 7)])
def test_variants_agree_with_the_oracle(variant, dtype, channels, stride, rng, monkeypatch):
    image, kernel = values(rng, dtype, 14, 17, channels), values(rng, dtype, 5, 6, channels)
    found = scored(image, kernel, stride, variant, monkeypatch)
    expected = np.array(oracle.sad_map(image.tolist(), kernel.tolist(), stride, SPAN[dtype]))
    if dtype == "float32":
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
    else:
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", SPAN)
def test_every_width_of_a_run(variant, dtype, rng, monkeypatch):
    # 1 to 130 values a row: every vector with every tail, blocks and what is left beside them.
    for width in range(1, 131):
        image, kernel = values(rng, dtype, 9, width + 6, 1), values(rng, dtype, 4, width, 1)
        found = scored(image, kernel, (1, 1), variant, monkeypatch)
        np.testing.assert_allclose(found, plain(image, kernel, (1, 1)), rtol=0, atol=1e-14)


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("stride", [1, 2, 3, 4, 5, 6, 7])
@pytest.mark.parametrize("height", [1, 2, 3, 5, 8, 13])
def test_every_stride_and_height(variant, stride, height, rng, monkeypatch):
    image, kernel = values(rng, "uint8", 40, 50, 3), values(rng, "uint8", height, 7, 3)
    for pair in ((stride, 1), (1, stride), (stride, stride)):
        found = scored(image, kernel, pair, variant, monkeypatch)
        np.testing.assert_array_equal(found, plain(image, kernel, pair))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("size", [(1, 1), (30, 40), (1, 40), (30, 1)])
def test_smallest_and_largest_kernels(variant, size, rng, monkeypatch):
    image = values(rng, "uint8", 30, 40, 3)
    kernel = values(rng, "uint8", *size, 3)
    found = scored(image, kernel, (1, 1), variant, monkeypatch)
    np.testing.assert_array_equal(found, plain(image, kernel, (1, 1)))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
@pytest.mark.parametrize("width", [65_500, 131])
def test_the_largest_sums_do_not_overflow(variant, dtype, width, monkeypatch):
    checkers = (np.indices((9, width + 1)).sum(0) % 2 * SPAN[dtype]).astype(dtype)[..., None]
    found = scored(checkers, checkers[:, :-1], (1, 1), variant, monkeypatch)
    assert found.tolist() == [[1.0, 0.0]]


def test_a_tile_is_a_view_of_the_picture(rng):
    image, kernel = values(rng, "uint8", 50, 60, 3), values(rng, "uint8", 9, 9, 3)
    view = image[5:40, 7:50]
    np.testing.assert_array_equal(scored(view, kernel), plain(view, kernel, (1, 1)))
    turned = np.rot90(image)
    np.testing.assert_array_equal(scored(turned, kernel), plain(turned, kernel, (1, 1)))


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", SPAN)
def test_engines_report_the_same_matches(variant, dtype, rng, monkeypatch):
    monkeypatch.setenv(simd.VARIANT_SETTING, variant)
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
    monkeypatch.setenv(simd.VARIANT_SETTING, "altivec")
    with pytest.raises(InputError, match=r"PATCHSIM_SIMD=altivec is not here; .*portable"):
        match(np.zeros((9, 9), np.uint8), np.zeros((3, 3), np.uint8), engine="simd")


def test_without_the_extension_the_engine_refuses_and_another_does_the_work(monkeypatch, rng):
    monkeypatch.setattr(simd, "_extension", lambda: None)
    image = values(rng, "uint8", 30, 30, 1)
    report = match(image, image[4:9, 5:9], map=True)
    assert report.plans[0].engine == "unfold"
    assert "simd on cpu: its C extension was not built" in str(report.plans[0])
    with pytest.raises(InputError, match="its C extension was not built"):
        match(image, image[4:9, 5:9], engine="simd")


def test_what_it_cannot_do_is_refused():
    problem = Problem((9, 9, 1), (3, 3, 1), "uint8", (1, 1), "sad", 255, "cpu", 1)
    assert simd.refuse(problem) is None
    for change in ({"dtype": "float64"}, {"device": "cuda:0"}, {"metric": "ssd"}):
        assert simd.refuse(replace(problem, **change))


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


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 5}, {"cols": 5}, {"height": 4}, {"run": 65}, {"pitch": 3}, {"rows": 0},
        {"step_x": 0}, {"stride_y": -1}, {"type": "d"}, {"variant": "none"}, {"kernel_pitch": 32},
    ],
)  # fmt: skip
def test_a_callers_mistake_does_not_read_beyond_the_buffers(change):
    arguments = {
        "image": np.zeros(6 * 6 + _sad.PADDING, np.uint8), "kernel": bytes(3 * 64),
        "out": np.zeros(16, np.int64), "type": "B", "pitch": 6, "kernel_pitch": 64, "run": 3,
        "height": 3, "stride_y": 1, "step_x": 1, "rows": 4, "cols": 4, "variant": "portable",
    }  # fmt: skip
    _sad.sums(*arguments.values())
    with pytest.raises(ValueError, match=r"size|smaller|type|variant"):
        _sad.sums(*(arguments | change).values())


def test_the_engines_are_listed_with_the_best_first():
    assert engines.NAMES == ("pruned", "simd", "fft", "unfold")
