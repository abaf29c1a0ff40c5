"""match_template against scikit-image's, and cases like those of its own tests."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.feature import match_template as peer

from patchsim.compat.skimage import match_template
from patchsim.errors import InputError

MODES = ["constant", "edge", "reflect", "symmetric", "mean", "linear_ramp"]


def check(image, template, **options):
    found, truth = match_template(image, template, **options), peer(image, template, **options)
    assert found.dtype == truth.dtype
    assert found.shape == truth.shape
    # The peer computes pictures of float32 in it, so that its coefficients are off by up to 1e-3.
    wide = peer(image.astype(float), template.astype(float), **options)
    np.testing.assert_allclose(found, wide, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found, truth, rtol=0, atol=1e-3)
    return found


@pytest.mark.parametrize("pad_input", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_photographs(pad_input, dtype):
    image = skimage.data.camera()[100:260, 80:300].astype(dtype)
    image = image / image.dtype.type(255) if "float" in dtype else image
    found = check(image, image[30:61, 50:92], pad_input=pad_input)
    assert np.unravel_index(found.argmax(), found.shape) == ((45, 71) if pad_input else (30, 50))


@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_any_padding(data, seed):
    rng = np.random.default_rng(seed)
    height, width = data.draw(st.tuples(st.integers(2, 9), st.integers(2, 9)))
    size = (height + data.draw(st.integers(0, 12)), width + data.draw(st.integers(0, 12)))
    mode = data.draw(st.sampled_from(MODES))
    options = {"constant_values": 0.5} if mode == "constant" else {}
    image, template = rng.random(size), rng.random((height, width))
    check(image, template, pad_input=True, mode=mode, **options)
    check(image, template)


def test_a_flat_template_and_flat_windows():
    image = np.zeros((20, 30))
    image[3:6, 4:9] = 1
    check(image, image[2:7, 3:10])
    assert not check(image, np.ones((3, 4))).any()


def test_types_that_differ():
    image = skimage.data.camera()[:60, :70]
    check(image.astype(float), image[10:20, 15:30])


@pytest.mark.parametrize(
    ("image", "template", "words"),
    [
        (np.zeros((5, 5)), np.ones((6, 2)), r"template \[6, 2\] is larger than image \[5, 5\]"),
        (np.zeros((5, 5, 3)), np.ones((2, 2, 3)), r"image has the shape \[5, 5, 3\]"),
        (np.zeros((5, 5)), np.ones((2, 2, 2)), "template has the shape"),
        (np.zeros((5, 5)), np.full((2, 2), np.inf), "template has values that are not finite"),
    ],
)
def test_bad_arguments(image, template, words):
    with pytest.raises(InputError, match=words):
        match_template(image, template)
