"""Many kernels in one run: no answer depends on what they share or on what is kept of them."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from patchsim import candidates, images, masks, match, matching, metrics, peaks, sketch

SMALL_BLOCK = 8


@pytest.fixture
def small_blocks(monkeypatch):
    """Blocks of so few windows that a small map has many."""
    for module in (peaks, sketch, candidates):
        monkeypatch.setattr(module, "BLOCK", SMALL_BLOCK)


def reference(image, kernels, weights, metric, span, stride, top, threshold, overlap):
    """The matches in plain loops, from the scores of single windows."""
    maps = []
    for kernel, weight in zip(kernels, weights, strict=True):
        exact = metrics.exact(image, kernel, metric, span, weight)
        tops = range(0, image.shape[0] - kernel.shape[0] + 1, stride[0])
        lefts = range(0, image.shape[1] - kernel.shape[1] + 1, stride[1])
        maps.append([[exact(y, x) for x in lefts] for y in tops])
    sizes = [kernel.shape[:2] for kernel in kernels]
    return oracle.best_matches(maps, sizes, stride, top, threshold, overlap)


def found(report):
    names = [kernel.name for kernel in report.kernels]
    return [(m.x, m.y, m.width, m.height, m.score, names.index(m.kernel)) for m in report.matches]


@st.composite
def searches(draw):
    random = np.random.default_rng(draw(st.integers(0, 1 << 30)))
    dtype = draw(st.sampled_from(["uint8", "uint8", "uint16", "float32"]))
    height, width = draw(st.integers(14, 34)), draw(st.integers(14, 34))
    levels = draw(st.sampled_from([2, 5, 256]))  # few of them tie
    whole = random.integers(0, levels, (height, width, 3)) * (255 // (levels - 1))
    image = whole.astype(np.uint8)
    if dtype == "uint16":
        image = image.astype(np.uint16) * 257
    elif dtype == "float32":
        image = (image / 255).astype(np.float32)
    size = draw(st.integers(2, 9)), draw(st.integers(2, 9))
    masked = dtype == "uint8" and draw(st.booleans())
    kernels = []
    for _ in range(draw(st.integers(2, 6))):
        if draw(st.booleans()):
            size = draw(st.integers(2, 9)), draw(st.integers(2, 9))
        y, x = (
            random.integers(0, side - own + 1) for side, own in zip(image.shape, size, strict=False)
        )
        kernel = image[y : y + size[0], x : x + size[1]].copy()
        kernel[0, 0] = kernel[0, 0] // 2 + 1 if dtype != "float32" else 0.25
        kernel[-1, -1] = 0
        kernels.append(kernel)
    shades = [random.choice([0, 100, 255], kernel.shape[:2]) for kernel in kernels]
    for alpha in shades:
        alpha[0, 0] = alpha[-1, -1] = 255
    options = {
        "stride": (draw(st.integers(1, 3)), draw(st.integers(1, 2))),
        "metric": draw(st.sampled_from(["sad", "ssd", "ncc", "zncc"])),
        "top": draw(st.sampled_from([1, 4, 50])),
        "overlap": draw(st.sampled_from([0.0, 0.3, 1.0])),
        "tolerance": draw(st.sampled_from([0.0, 0.02])),
        "threads": draw(st.integers(1, 3)),
        "map": draw(st.booleans()),
    }
    products = options["metric"] != "sad" or (dtype == "uint8" and options["tolerance"])
    if products and draw(st.booleans()):
        options["engine"] = "fft"
    differences = dtype == "uint8" and not masked and options["metric"] in ("sad", "ssd")
    if differences and draw(st.booleans()):
        options |= {"engine": "pruned", "map": False}
    if draw(st.booleans()):
        options["threshold"] = draw(st.sampled_from([-1.0, 0.5, 0.9]))
    return image, kernels, shades if masked else None, options


@pytest.mark.parametrize("kept", ["fields", "sketches", "two blocks"])
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(search=searches())
@pytest.mark.usefixtures("small_blocks")
def test_matches_of_many_kernels_are_those_of_plain_loops(kept, search, monkeypatch):
    image, kernels, shades, options = search
    given_kernels, weights = kernels, [None] * len(kernels)
    if shades is not None:
        given_kernels = [
            Image.fromarray(np.dstack([kernel, alpha.astype(np.uint8)]))
            for kernel, alpha in zip(kernels, shades, strict=True)
        ]
        opened = [
            images.open_picture(k, name="k", max_pixels=10**6, memory=10**9) for k in given_kernels
        ]
        weights = [masks.weights(picture, None, ignore_alpha=False) for picture in opened]
    with monkeypatch.context() as patch:
        if kept != "fields":
            patch.setattr(sketch, "_WHOLE_FIELDS", 0)
        if kept == "two blocks":
            patch.setattr(matching, "budget_of", lambda *_, **__: sketch.Budget(0, 0, 0))
        report = match(image, given_kernels, **options)
    span = {"uint8": 255, "uint16": 65535, "float32": 1.0}[image.dtype.name]
    wanted = reference(
        image, kernels, weights, options["metric"], span, options["stride"],
        options["top"], options.get("threshold"), options["overlap"],
    )  # fmt: skip
    assert found(report) == wanted
