"""Results in order, each as soon as it can be, of items that arrive one by one."""

from __future__ import annotations

import queue
import threading
import time

import pytest
from helpers.signals import at_each_step

from patchsim import MachineError
from patchsim.machine import pipeline
from patchsim.machine.threads import Cancelled, in_order


@pytest.mark.parametrize("parallel", [1, 2, 5])
def test_order(parallel):
    gate = threading.Event()

    def work(item):
        if item == 0 and parallel > 1:
            assert gate.wait(10)  # the first ends last
        if item == 1:
            gate.set()
        return item * item

    assert list(pipeline.as_they_come(work, range(40), parallel)) == [i * i for i in range(40)]


def test_a_result_does_not_wait_for_the_next_item():
    asked = queue.SimpleQueue()
    answers = pipeline.as_they_come(str, iter(asked.get, None), 3)
    for item in range(5):
        asked.put(item)
        assert next(answers) == str(item)
    asked.put(None)
    assert list(answers) == []


def test_few_items_are_taken_ahead():
    taken = []

    def todo():
        for item in range(100):
            taken.append(item)
            yield item

    results = pipeline.as_they_come(str, todo(), 2)
    most = 0
    for count, _ in enumerate(results, 1):
        most = max(most, len(taken) - count)
    assert 0 < most <= 2 * 2 + 1


def test_errors_come_where_they_belong():
    def todo():
        yield 1
        yield 0
        raise OSError("the list broke")

    results = pipeline.as_they_come(lambda item: 1 / item, todo(), 1)
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)
    results = pipeline.as_they_come(str, todo(), 1)
    assert [next(results), next(results)] == ["1", "0"]
    with pytest.raises(OSError, match="the list broke"):
        next(results)


def test_closing_ends_the_threads_though_the_next_item_never_comes():
    asked = queue.SimpleQueue()
    before = set(threading.enumerate())
    results = pipeline.as_they_come(str, iter(asked.get, None), 2)
    asked.put(1)
    assert next(results) == "1"
    results.close()
    left = [thread.name for thread in set(threading.enumerate()) - before]
    assert left in (["patchsim_feeder"], [])
    asked.put(None)


def test_without_threads(monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(MachineError, match="no thread"):
        list(pipeline.as_they_come(str, [1], 2))


def test_fewer_threads_do_the_work(monkeypatch):
    start = threading.Thread.start

    def refuse(thread):
        if thread.name == "patchsim_picture_1":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert list(pipeline.as_they_come(str, range(9), 3)) == [str(i) for i in range(9)]


@pytest.mark.parametrize("parallel", [1, 2])
def test_work_in_progress_is_cancelled_when_the_results_are_closed(parallel):
    begun, ended = threading.Event(), []

    def tile(_):
        begun.set()
        time.sleep(0.001)

    def work(item):
        if not item:
            return item
        try:
            for _ in in_order(tile, range(20_000), parallel):
                pass
            ended.append("all of it was done")
        except Cancelled:
            ended.append("cancelled")
            raise

    results = pipeline.as_they_come(work, [0, 1], 2)
    assert next(results) == 0
    assert begun.wait(10)
    results.close()
    assert ended == ["cancelled"]


def test_work_of_other_threads_is_not_cancelled():
    results = pipeline.as_they_come(lambda item: list(in_order(str, [item], 1)), [1, 2], 1)
    assert next(results) == ["1"]
    results.close()
    assert list(in_order(str, [1, 2, 3], 2)) == ["1", "2", "3"]
    assert list(pipeline.as_they_come(lambda item: list(in_order(str, [item], 1)), [1], 1)) == [
        ["1"]
    ]


def test_a_signal_ends_it_wherever_it_comes():
    assert at_each_step(lambda: list(pipeline.as_they_come(str, range(3), 2))) > 100
