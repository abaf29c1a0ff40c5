"""Which values count as numbers, whole numbers, and True or False."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from patchsim import InputError, checks


@pytest.mark.parametrize(
    "value", [2, 0.5, np.float32(0.5), np.int64(3), Fraction(1, 2), np.array(0.5), float("nan")]
)
def test_real_numbers_are_numbers(value):
    assert checks.is_number(value)
    np.testing.assert_equal(checks.number(value, "it", "give one"), float(value))


@pytest.mark.parametrize("value", [True, np.False_, "1", b"1", None, 1j, [1], np.zeros(2), object])
def test_other_values_are_no_numbers(value):
    assert not checks.is_number(value)
    with pytest.raises(InputError, match=r"it .* is not a number; give one"):
        checks.number(value, "it", "give one")


@pytest.mark.parametrize(
    ("value", "count"),
    [(3, 3), (np.uint8(7), 7), (-1, -1), (True, None), (np.True_, None), (2.0, None), ("2", None)],
)
def test_whole_numbers_are_integers_of_python_and_numpy(value, count):
    assert checks.whole_number(value) == count


def test_true_and_false_are_those_of_python_and_numpy():
    assert checks.true_or_false(np.True_, "it") is True
    with pytest.raises(InputError, match="it 'no' is neither True nor False"):
        checks.true_or_false("no", "it")
