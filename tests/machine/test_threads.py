"""Work in order, by several threads."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future

import numpy as np
import pytest
from helpers.signals import at_each_step

import patchsim
from patchsim.machine import devices
from patchsim.machine.threads import clamp, in_order
from patchsim.options import Options

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


def refusing(monkeypatch, given):
    """Let the system give so many threads, and no more."""
    start, started = threading.Thread.start, []

    def refuse(thread):
        if len(started) == given:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)


@pytest.mark.parametrize("given", [0, 1, 2])
@pytest.mark.parametrize("count", [2, 40])
def test_where_threads_cannot_start_those_that_are_there_do_the_work(monkeypatch, given, count):
    refusing(monkeypatch, given)
    names, before = set(), threading.active_count()  # the test's own runner may have threads

    def work(item):
        names.add(threading.current_thread().name)
        time.sleep(0.002)
        return item * item

    assert list(in_order(work, range(count), 8)) == [i * i for i in range(count)]
    assert len(names) <= 1 + given
    assert threading.active_count() == before


def test_an_error_comes_out_where_no_thread_can_start(monkeypatch):
    refusing(monkeypatch, 0)

    def work(item):
        raise ValueError(item)

    with pytest.raises(ValueError, match="0"):
        list(in_order(work, range(9), 4))


def test_a_search_goes_on_where_threads_cannot_start(monkeypatch, astronaut):
    kernel = astronaut[100:131, 200:241]
    expected = patchsim.match(astronaut, kernel, threads=1, map=True)
    refusing(monkeypatch, 1)
    found = patchsim.match(astronaut, kernel, threads=64, map=True)
    assert list(found) == list(expected)
    np.testing.assert_array_equal(found.kernels[0].map, expected.kernels[0].map)


def test_threads_beyond_use_are_not_planned_for(monkeypatch):
    monkeypatch.setattr(devices, "cpu_count", lambda: 4)
    assert [clamp(asked) for asked in (1, 7, 256, 257, 10**9)] == [1, 7, 256, 256, 256]
    monkeypatch.setattr(devices, "cpu_count", lambda: 300)
    assert clamp(10**9) == 300
    assert Options.checked(1, threads=10**9).threads == 300


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


class Stopped(BaseException):
    """What a signal raises."""


@pytest.mark.parametrize("place", ["future", "semaphore", "start"])
def test_a_signal_that_leaves_a_lock_closed_ends_it(place, monkeypatch):
    """Python may raise its exception once a lock is acquired, but not yet in its `with` block."""
    calls, begun, ended = [], [], []

    def stop(lock):
        calls.append(lock)
        if len(calls) == (1 if place == "start" else 3):
            lock.acquire()
            raise Stopped

    done, acquire, wait = Future.done, threading.Semaphore.acquire, threading.Event.wait
    if place == "future":
        monkeypatch.setattr(Future, "done", lambda self: stop(self._condition) or done(self))
    elif place == "semaphore":
        monkeypatch.setattr(
            threading.Semaphore,
            "acquire",
            lambda self, **how: stop(self._cond) or acquire(self, **how),
        )

    def work(item):
        begun.append(item)
        time.sleep(0.01)
        return item

    def search():
        if place == "start":  # of the threads that it starts itself
            monkeypatch.setattr(
                threading.Event, "wait", lambda self, *how: stop(self._cond) or wait(self, *how)
            )
        try:
            list(in_order(work, range(50), 2))
        except Stopped:
            ended.append(len(begun))

    searching = threading.Thread(target=search, daemon=True)
    searching.start()
    searching.join(30)
    monkeypatch.undo()
    assert len(ended) == 1
    time.sleep(0.05)
    assert len(begun) == ended[0] < 50  # nothing more began


def test_a_signal_ends_it_wherever_it_comes():
    assert at_each_step(lambda: list(in_order(str, range(4), 2))) > 100
