"""Items that a thread takes ahead come in their order, with their number and their errors."""

from __future__ import annotations

import threading
import time

import pytest

from patchsim.machine import ahead


def when(is_so, seconds=10):
    end = time.monotonic() + seconds
    while not is_so() and time.monotonic() < end:
        time.sleep(0.01)
    return is_so()


def test_items_come_in_their_order_and_their_number_is_known_before_the_last():
    counts = []
    items = ahead.taken(range(1000), 2000, counts.append)
    assert next(items) == 0
    assert when(lambda: counts == [1000])
    assert list(items) == [*range(1, 1000)]


def test_no_more_items_are_taken_ahead_than_asked():
    taken = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    given = ahead.taken(items(), 5, lambda _: None)
    assert next(given) == 0
    assert when(lambda: len(taken) == 7)  # five wait, and one has no room
    time.sleep(0.05)
    assert len(taken) == 7
    given.close()
    assert when(lambda: not [one for one in threading.enumerate() if one.name == "patchsim_ahead"])


def test_an_error_comes_behind_the_items_before_it():
    def items():
        yield 1
        raise KeyError("lost")

    given = ahead.taken(items(), 5, lambda _: pytest.fail("the number is not known"))
    assert next(given) == 1
    with pytest.raises(KeyError, match="lost"):
        next(given)
