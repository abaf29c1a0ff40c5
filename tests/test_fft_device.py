"""The engine `fft` by torch: the same scores within the same stated errors as by NumPy.

``cpu:0`` is the processor as torch alone knows it, so that no card is needed for what it computes;
where there is a card, it computes the same.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from test_fft import CORRELATED, hits, problem
from test_metrics import SPAN, expected, values

from patchsim import metrics, tiles
from patchsim.engines import fft


@pytest.fixture(params=["cpu:0", "cuda:0"])
def device(request):
    if request.param == "cuda:0" and not torch.cuda.is_available():
        pytest.skip("torch sees no card")
    return request.param


def bounds(image, kernel, metric, device, stride=(1, 1), **options):
    work = replace(problem(image, kernel, metric, stride, **options), device=device)
    assert fft.refuse(work) is None
    image.flags.writeable = False  # torch takes no such arrays, and none of its own may change it
    found = fft.prepare(kernel, work)(image)
    assert isinstance(found.map, np.ndarray)
    assert found.map.dtype == np.float64
    assert isinstance(found.error, float | np.ndarray)
    return found


def exact_scores(image, kernel, metric, stride=(1, 1)):
    score = metrics.exact(image, kernel, metric, SPAN[image.dtype.name])
    rows, cols = tiles.map_shape(image.shape[:2], kernel.shape[:2], stride)
    return [[score(r * stride[0], c * stride[1]) for c in range(cols)] for r in range(rows)]


@pytest.mark.parametrize("metric", CORRELATED)
@pytest.mark.parametrize("dtype", SPAN)
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3), (7, 4)])
def test_scores_lie_within_their_stated_error_of_the_oracle(
    metric, dtype, channels, stride, device, rng
):
    image, kernel = values(rng, dtype, 15, 18, channels), values(rng, dtype, 5, 6, channels)
    image[:7, :8] = image[0, 0]  # flat
    image[8:, 9:] = 0
    truth = expected(metric, image, kernel, stride)
    found = bounds(image, kernel, metric, device, stride)
    assert hits(found, truth).all()
    assert np.max(found.error) <= 1e-5
    if metric == "zncc":
        assert found.map[0, 0] == 0
        assert found.error[0, 0] == 0
    if dtype in metrics.INTEGER_RANGE:
        exact = bounds(image, kernel, metric, device, stride, exact=True)
        assert np.max(exact.error) == 0
        np.testing.assert_array_equal(exact.map, exact_scores(image, kernel, metric, stride))
