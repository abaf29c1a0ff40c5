"""Work in order, by several threads."""

from __future__ import annotations

import threading
import time

import pytest

from patchsim.machine.threads import in_order

PATIENCE = 20  # seconds, for a machine that is busy


@pytest.mark.parametrize("parallel", [1, 2, 3, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 7, 40])
def test_results_come_in_order_whatever_takes_longest(parallel, count):
    def work(item):
        time.sleep(0.001 * (item * 7 % 5))
        return item * item

    assert list(in_order(work, range(count), parallel)) == [i * i for i in range(count)]


@pytest.mark.parametrize("parallel", [2, 3])
def test_as_many_as_asked_for_work_at_the_same_time(parallel):
    together = threading.Barrier(parallel, timeout=PATIENCE)

    def work(_item):
        together.wait()  # fails if fewer than that ever meet
        return threading.current_thread().name

    names = set(in_order(work, range(parallel), parallel))
    assert len(names) == parallel
    assert threading.current_thread().name in names


def test_no_more_than_asked_for_work_at_the_same_time_or_wait_to_be_read():
    lock, working, most, begun = threading.Lock(), 0, 0, 0

    def work(item):
        nonlocal working, most, begun
        with lock:
            working, begun = working + 1, begun + 1
            most = max(most, working)
        time.sleep(0.002)
        with lock:
            working -= 1
        return item

    read = 0
    for _ in in_order(work, range(60), 3):
        read += 1
        time.sleep(0.004)  # slower than the work
        assert begun - read <= 2 * 3
    assert most <= 3
    assert read == 60


@pytest.mark.parametrize("parallel", [1, 3])
def test_an_error_in_the_work_comes_out_and_ends_it(parallel):
    begun = []

    def work(item):
        begun.append(item)
        if item == 4:
            raise ValueError("the fifth")
        return item

    with pytest.raises(ValueError, match="the fifth"):
        list(in_order(work, range(1000), parallel))
    assert len(begun) < 50


def test_after_it_is_closed_nothing_more_begins():
    begun = []

    def work(item):
        begun.append(item)
        time.sleep(0.002)
        return item

    results = in_order(work, range(1000), 3)
    assert next(results) == 0
    results.close()
    count = len(begun)
    time.sleep(0.05)
    assert len(begun) == count < 20
