"""Tests of every combination of some values, of which the quick tests have a part."""

from __future__ import annotations

import itertools

import pytest


def thinned(part=2, **axes):
    """Parametrize a test by every combination of values, of which one of `part` is quick.

    The others are marked `slow`. The quick ones contain each pair of values of any two axes: the
    numbers of their values add up to a multiple of `part`, to which a third axis completes them.
    """
    if sum(len(values) >= part for values in axes.values()) < 3:
        raise ValueError(f"three axes need {part} values, or pairs of values would have no test")
    cases = []
    for numbered in itertools.product(*(enumerate(values) for values in axes.values())):
        numbers, values = zip(*numbered, strict=True)
        marks = [pytest.mark.slow] if sum(numbers) % part else []
        names = (getattr(value, "__name__", str(value)) for value in values)
        cases.append(pytest.param(*values, marks=marks, id="-".join(names)))
    return pytest.mark.parametrize(tuple(axes), cases)
