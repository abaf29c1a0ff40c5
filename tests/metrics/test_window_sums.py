"""Sums over single windows: C and NumPy agree to the bit, and the C entries refuse what misfits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from patchsim import choices, metrics
from patchsim.machine import extensions
from patchsim.metrics import Visibility, window_sums

VARIANTS = ["avx512", "avx2", "portable"]
TYPES = ["uint8", "uint16", "float32", "float64"]

built = window_sums.extension()
needs_extension = pytest.mark.skipif(built is None, reason="the C extension was not built")


def here():
    return [] if built is None else built.variants()


def picture(rng, dtype, *shape):
    values = rng.random(shape)
    if dtype.startswith("u"):
        return (values * np.iinfo(dtype).max).round().astype(dtype)
    return (values * 10.0 ** rng.integers(-3, 5)).astype(dtype)


def scores(image, kernel, metric, weights, visible, y, x, *, variant):
    """Exact scores by one variant, or by NumPy."""
    with pytest.MonkeyPatch.context() as patch:
        if variant is None:
            patch.setattr(window_sums, "extension", lambda: None)
        else:
            patch.setenv(extensions.VARIANT_SETTING, variant)
        return metrics.exact(image, kernel, metric, 1.0, weights, visible)(y, x)


@needs_extension
@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("channels", [1, 2, 3, 5, 17])
def test_c_and_numpy_agree_to_the_bit(dtype, channels, rng):
    for number in range(12):
        height, width = rng.integers(1, 40, 2)
        if number == 0:  # rows of several segments
            height, width = 3, 2100
        image = picture(rng, dtype, height + 3, width + 4, channels)
        kernel = rng.permutation(image.reshape(-1, channels))[: height * width]
        kernel = kernel.reshape(height, width, channels)
        weights = visible = None
        if number % 2:
            shape = (height, width) if number % 4 == 1 else kernel.shape
            weights = rng.integers(0, 256, shape, np.uint8)
        if number % 3 == 2:
            visible = Visibility(rng.integers(0, 256, image.shape[:2], np.uint8), 255)
        if number % 5 == 1:
            image = image[::-1]  # rows that lie backwards
        if number % 5 == 2:
            image = np.asfortranarray(image)
        y, x = rng.integers(0, 4, 7), rng.integers(0, 5, 7)
        for metric in choices.METRICS:
            case = image, kernel, metric, weights, visible, y, x
            expected = scores(*case, variant=None)
            for variant in here():
                np.testing.assert_array_equal(scores(*case, variant=variant), expected)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("metric", choices.METRICS)
def test_windows_together_score_what_they_score_alone(metric, dtype, rng):
    image, kernel = picture(rng, dtype, 30, 40, 3), picture(rng, dtype, 7, 9, 3)
    exact = metrics.exact(image, kernel, metric, 1.0)
    y, x = rng.integers(0, 24, 50), rng.integers(0, 32, 50)
    together = exact(y, x)
    assert together.tolist() == [exact(int(a), int(b)) for a, b in zip(y, x, strict=True)]
    assert len(set(together.tolist())) > 1
    nothing = np.empty(0, np.int64)
    assert exact(nothing, nothing).shape == (0,)


def test_sums_beyond_64_bits_are_exact(rng):
    # Weights times visibility are 65025, squares 2^32: 40,000 values are more than 2^63.
    image = np.where(rng.random((201, 200, 1)) < 0.5, 65535, 65535 - 255).astype(np.uint16)
    weights = np.full((200, 200), 255, np.uint8)
    levels = np.full((201, 200), 255, np.uint8)
    levels[0, 0] = 254
    kernel, visible = image[1:], Visibility(levels, 255)
    pair = window_sums.Pair.of(image, kernel, visible.window_weights(weights, 0, 0, (200, 200)))
    assert pair.largest_sum() >= 1 << 63
    energies, products, sums = pair.correlations(np.zeros((1, 2), np.int64), sums_values=True)
    every = pair.weights[..., 0].astype(object)
    window, taps = (part[..., 0].astype(object) for part in (image[:200], kernel))
    assert energies[0] == (every * window * window).sum() > 1 << 63
    assert products[0] == (every * window * taps).sum()
    assert sums[0].tolist() == [(every * window).sum()]
    for metric in choices.METRICS:
        exact = metrics.exact(image, kernel, metric, 65535.0, weights, visible)
        assert exact(1, 0) == 1.0 > exact(0, 0)


@needs_extension
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_the_largest_sums_of_a_long_row(variant, dtype):
    if variant not in here():
        pytest.skip(f"this processor has no {variant}")
    most = np.iinfo(dtype).max
    image, kernel = np.full((2, 65500, 1), most, dtype), np.zeros((2, 65500, 1), dtype)
    kernel[:, ::2] = most
    for metric, expected in (("sad", 0.5), ("ssd", 0.5), ("ncc", np.sqrt(0.5))):
        exact = metrics.exact(image, kernel, metric, float(most))
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv(extensions.VARIANT_SETTING, variant)
            assert exact(0, 0) == pytest.approx(expected, abs=1e-15)


def arguments(dtype="uint8", places=((0, 0),), count=1):
    return {
        "image": np.zeros((9, 8, 3), dtype),
        "kernel": np.zeros((4, 5, 3), dtype),
        "weights": None,
        "places": np.array(places, np.int64),
        "squared": False,
        "sums": np.zeros(count, np.int64),
        "variant": "portable",
    }


def misfits(dtype="uint8"):
    return {
        "window": {"places": np.array([[6, 0]], np.int64)},
        "negative": {"places": np.array([[0, -1]], np.int64)},
        "far": {"places": np.array([[1 << 62, 1 << 62]], np.int64)},
        "half a place": {"places": np.zeros(3, np.int64)},
        "no places": {"places": None},
        "other type": {"kernel": np.zeros((4, 5, 3), np.uint16)},
        "int32": {"image": np.zeros((9, 8, 3), np.int32), "kernel": np.zeros((4, 5, 3), np.int32)},
        "channels": {"kernel": np.zeros((4, 5, 2), dtype)},
        "flat": {"image": np.zeros((9, 24), dtype)},
        "empty": {"kernel": np.zeros((0, 5, 3), dtype)},
        "large kernel": {"kernel": np.zeros((10, 5, 3), dtype)},
        "weights": {"weights": np.zeros((4, 5), np.uint16)},
        "columns": {"image": np.zeros((9, 16, 3), dtype)[:, ::2]},
        "backwards": {"image": np.zeros((9, 8, 3), dtype)[:, ::-1]},
        "variant": {"variant": "altivec"},
    }


@needs_extension
@pytest.mark.parametrize("misfit", misfits())
def test_differences_refuse_what_does_not_fit(misfit):
    built.differences(**arguments())
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own words
        built.differences(**(arguments() | misfits()[misfit]))
    with pytest.raises(ValueError, match="output"):
        built.differences(**arguments(count=2))


@needs_extension
@pytest.mark.parametrize("misfit", misfits())
@pytest.mark.parametrize("entry", ["correlations", "centred"])
def test_correlations_refuse_what_does_not_fit(entry, misfit):
    dtype = "uint8" if entry == "correlations" else "float32"
    given = arguments(dtype)
    del given["squared"], given["sums"]
    outputs = {"products": np.zeros(1)}
    if entry == "correlations":
        outputs |= {"sums": np.zeros((1, 3), np.int64), "energies": np.zeros(1)}
    else:
        outputs |= {"counts": np.ones(3), "kernel_means": np.zeros(3), "flat": 1e-12}
        outputs |= {"means": np.zeros((1, 3)), "spreads": np.zeros(1)}
    call = getattr(built, entry)
    call(**given, **outputs)
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own words
        call(**(given | misfits(dtype)[misfit]), **outputs)
    for name, output in outputs.items():
        if isinstance(output, np.ndarray):
            with pytest.raises(ValueError):  # noqa: PT011 - each has its own words
                call(**given, **(outputs | {name: np.zeros(len(output.ravel()) + 1)}))


@needs_extension
@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize("metric", choices.METRICS)
@pytest.mark.parametrize("misfit", misfits())
def test_scores_refuse_what_does_not_fit(misfit, metric, dtype):
    given = arguments(dtype)
    del given["squared"], given["sums"]
    of_channels = np.int64 if dtype == "uint8" else np.float64
    given |= {"counts": np.ones(3, of_channels), "kernel_sums": np.zeros(3, of_channels)}
    given |= {"metric": metric, "total": 1.0, "spread": 1.0, "scale": 1, "flat": 1e-12}
    made = {"scores": np.ones(1)}
    built.scores(**given, **made)
    assert made["scores"] == (0.0 if metric.endswith("ncc") else 1.0)
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own words
        built.scores(**(given | misfits(dtype)[misfit]), **made)
    wrong = [{"scores": np.ones(2)}, {"metric": "sae"}]
    if metric == "zncc":
        wrong += [{"counts": np.ones(2, of_channels)}, {"kernel_sums": np.ones(4, of_channels)}]
    for one in wrong:
        with pytest.raises(ValueError, match=r"array has another size|the metric is not"):
            built.scores(**(given | made | one))


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("metric", ["ncc", "zncc"])
def test_windows_without_contrast_score_0_and_small_values_as_large_ones(metric, dtype, rng):
    image = np.zeros((9, 24, 1), dtype)
    image[:, 8:16] = picture(rng, dtype, 9, 8, 1)
    kernel = np.ascontiguousarray(image[1:8, 8:15])
    if dtype == "float64":  # the product of both sums of squares is 0
        image, kernel = image * 1e-120, kernel * 1e-120
    exact = metrics.exact(image, kernel, metric, 1.0)
    assert exact(np.array([1, 1, 1]), np.array([0, 8, 17])).tolist() == [0.0, 1.0, 0.0]


@needs_extension
@given(
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    kernel=st.tuples(st.integers(1, 7), st.integers(1, 7)),
    place=st.tuples(st.integers(-2, 7), st.integers(-2, 7)),
    channels=st.integers(1, 5),
)
def test_windows_are_summed_if_they_lie_in_the_image(size, kernel, place, channels):
    given = arguments(places=(place,)) | {
        "image": np.full((*size, channels), 7, np.uint8),
        "kernel": np.zeros((*kernel, channels), np.uint8),
    }
    inside = all(0 <= p <= s - k for p, s, k in zip(place, size, kernel, strict=True))
    if not inside:
        with pytest.raises(ValueError, match="not in the image"):
            built.differences(**given)
    else:
        built.differences(**given)
        assert given["sums"].tolist() == [7 * channels * kernel[0] * kernel[1]]
