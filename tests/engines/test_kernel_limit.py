"""Which kernels are too large for the transforms in C: what is said without comparing all cuts."""

from __future__ import annotations

from functools import partial

import pytest

from patchsim.engines.common import kernel_limit, kernel_parts
from patchsim.engines.common.kernel_parts import DoubleWork, best_cut, best_double_cut

pytestmark = pytest.mark.skipif(kernel_parts.extension() is None, reason="no compiler built it")

SIDES = 1, 9, 32, 64, 100, 150, 200, 230, 256, 257, 300, 700


@pytest.mark.parametrize("height", SIDES)
def test_small_kernels_are_told_from_large_ones_as_all_cuts_say(height):
    for width in (9, 64, 256, 300):
        kernel = height, width
        cuts = [
            partial(best_cut, (*kernel, planes), is_near=is_near)
            for planes in (1, 3, 24)
            for is_near in (False, True)
        ]
        # Of `ssd` of one channel, and of `zncc` of three with weights, where parts are hidden.
        cuts += [partial(best_double_cut, kernel, DoubleWork(*n)) for n in [(2, 2, 1), (7, 17, 14)]]
        for cut_for in cuts:
            least = cut_for(kernel_limit._LARGE).transforms
            for most in (least / 3, least * 0.999, least, least * 1.001, least * 3):
                said = kernel_limit.is_too_large(kernel, (1, 1), most, cut_for)
                assert said is (least > most), (cut_for, most / least)


def test_all_cuts_are_compared_for_large_kernels_and_strides_alone():
    compared = []

    def cut_for(windows):
        compared.append(windows)
        return best_cut((64, 64, 1), windows)

    assert not kernel_limit.is_too_large((64, 64, 1), (1, 1), 1e-3, cut_for)
    assert not compared
    assert not kernel_limit.is_too_large((64, 64, 1), (2, 1), 1e-3, cut_for)
    assert kernel_limit.is_too_large((300, 64, 1), (1, 1), 0.0, cut_for)
    assert len(compared) == 2
