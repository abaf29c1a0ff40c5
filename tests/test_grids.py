"""Quick tests of a large grid have every pair of its values."""

from __future__ import annotations

import itertools

import pytest
from helpers.grids import thinned


@pytest.mark.parametrize("part", [2, 3, 4])
def test_every_pair_of_values_is_quick(part):
    axes = {"a": "pqrs", "b": (1, 2), "c": [(0, 1), (2, 3), (4, 5), (6, 7), (8, 9)], "d": "wxyz"}
    names, cases = thinned(part, **axes).mark.args
    assert names == ("a", "b", "c", "d")
    assert [case.values for case in cases] == list(itertools.product(*axes.values()))
    quick = [case.values for case in cases if not case.marks]
    assert len(quick) == len(cases) // part
    for one, other in itertools.combinations(range(4), 2):
        pairs = {(values[one], values[other]) for values in quick}
        assert len(pairs) == len(axes[names[one]]) * len(axes[names[other]])


def test_two_axes_are_not_thinned():
    with pytest.raises(ValueError, match="three axes need 3 values"):
        thinned(3, a="pqr", b="pqr", c="pq")
