"""Tiles dealt out to several devices; torch's names for the CPU stand for cards."""

from __future__ import annotations

import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from patchsim import InputError, match
from patchsim.engines import Problem, fft, unfold
from patchsim.execution import streams
from patchsim.machine import devices
from patchsim.planning import planner, tiling

CARDS = "cpu:0,cpu:1,cpu:2"


@pytest.fixture
def cards(monkeypatch):
    monkeypatch.setattr(devices, "require_all", lambda _name: CARDS)
    monkeypatch.setattr(devices, "free_memory", lambda _name: 1 << 30)


def test_threads_keep_their_device_and_the_devices_have_as_many():
    made = streams.DeviceQueues(["a", "b"])
    used, go, end = [], threading.Barrier(5), threading.Event()

    def work():
        names = []
        for _ in range(3):
            with made.assigned() as name:
                names.append(name)
        assert len(set(names)) == 1
        used.append(names[0])
        go.wait()
        end.wait()

    for _ in range(3):  # the threads of one run after the other
        used.clear()
        end.clear()
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        go.wait()
        assert sorted(used) == ["a", "a", "b", "b"]
        end.set()
        for thread in threads:
            thread.join()
    assert len(made._queues) == 4  # a thread that comes takes the queue of one that ended


@pytest.mark.usefixtures("cards")
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_several_devices_find_what_the_cpu_finds(monkeypatch, rng, dtype):
    image = (rng.random((120, 90, 3)) * (255 if dtype == np.uint8 else 1)).astype(dtype)
    kernel = image[40:52, 30:37].copy()
    monkeypatch.setattr(tiling, "_TILE_SECONDS", 1e-5)
    used = []
    scored = streams.DeviceQueues.dispatch

    def watched(self, scores):
        def slowly(name):
            def score(*tile):
                used.append(name)
                time.sleep(0.01)  # as a card would take, so that all threads get their share
                return scores[name](*tile)

            return score

        return scored(self, {name: slowly(name) for name in scores})

    monkeypatch.setattr(streams.DeviceQueues, "dispatch", watched)
    found = match(image, kernel, device="cuda", engine="unfold", map=True, stride=(1, 2))
    assert found.device == CARDS
    assert found.plans[0].parallel == 3
    assert set(used) == set(CARDS.split(","))
    expected = match(image, kernel, device="cpu", map=True, stride=(1, 2))
    assert found.matches == expected.matches
    np.testing.assert_allclose(found.map, expected.map, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("cards")
def test_several_kernels_share_the_tiles_of_each_device(monkeypatch, rng):
    image = rng.integers(0, 256, (150, 130), np.uint8)
    kernels = [image[y : y + 9, 20:30].copy() for y in (5, 50, 90)]
    monkeypatch.setattr(tiling, "_TILE_SECONDS", 1e-5)
    options = {"metric": "zncc", "map": True, "per_kernel": True, "top": 2}
    found = match(image, kernels, device="cuda", engine="fft", **options)
    expected = match(image, kernels, device="cpu", **options)
    assert [(m.x, m.y, m.kernel) for m in found.matches] == [
        (m.x, m.y, m.kernel) for m in expected.matches
    ]
    for one, other in zip(found.maps, expected.maps, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


@pytest.mark.usefixtures("cards")
def test_a_device_has_no_more_for_tiles_than_it_has_free(monkeypatch):
    problem = Problem((4000, 4000, 3), (50, 50, 3), "uint8", (1, 1), "sad", 255, "cpu", 2)

    def planned(free):
        monkeypatch.setattr(devices, "free_memory", lambda _name: free)
        return planner.make(problem, engine="unfold", device="cuda", memory=8 << 30, resident=0)

    much, little = planned(2 << 30), planned(200 << 20)
    assert little.working <= 0.8 * 3 * (200 << 20) < much.working
    assert little.tile < much.tile
    with pytest.raises(InputError, match=r"2\.4 kB are free there, and \d+\.\d MB are needed"):
        planned(1000)


@pytest.mark.usefixtures("cards")
def test_a_device_that_is_almost_full_is_left_out(monkeypatch):
    problem = Problem((4000, 4000, 3), (50, 50, 3), "uint8", (1, 1), "sad", 255, "cpu", 2)
    room = {"cpu:0": 1 << 30, "cpu:1": 50 << 20, "cpu:2": 700 << 20}
    monkeypatch.setattr(devices, "free_memory", room.__getitem__)
    made = planner.make(problem, engine="unfold", device="cuda", memory=8 << 30, resident=0)
    assert made.problem.device == "cpu:0,cpu:2"
    assert made.working <= 0.8 * 2 * (700 << 20)


def test_devices_are_named_one_by_one_or_by_their_kind(monkeypatch):
    monkeypatch.setattr(devices, "accelerators", lambda: ["cuda:0", "cuda:1", "mps:0"])
    assert devices.require_all("cuda") == "cuda:0,cuda:1"
    assert devices.require_all("cuda:1") == "cuda:1"
    assert devices.require_all("cuda:1,cuda:0") == "cuda:1,cuda:0"
    assert devices.require_all("mps") == "mps:0"
    assert devices.require("cuda") == "cuda:0"
    assert devices.group_by_kind(devices.accelerators()) == ["cuda:0,cuda:1", "mps:0"]
    assert devices.check_name("CUDA:0, cuda:1", several=True) == "cuda:0,cuda:1"
    for name in ("cuda:2", "xpu", "cuda:0,cuda:7"):
        with pytest.raises(InputError, match="torch sees cpu, cuda:0, cuda:1, mps:0"):
            devices.require_all(name)
    for name in ("cuda:0,cuda:0", "cuda:0,mps:0", "cpu,cuda:0", "cuda,cuda", "cuda:0,", "cuda:0,1"):
        with pytest.raises(InputError, match="is no list of devices; give some of one kind"):
            devices.check_name(name, several=True)
    for name in ("gpu", "cuda:01", "cuda:\u0663", "cuda:-1", "cpu:0", ""):
        with pytest.raises(InputError, match="is unknown; there are auto, cpu"):
            devices.check_name(name, several=True)
    with pytest.raises(InputError, match="is unknown"):
        devices.check_name("cuda:0,cuda:1")


def test_devices_with_queues_have_two_tiles_at_a_time():
    assert devices.feeding_threads(["cuda:0", "cuda:1"]) == 4
    assert devices.feeding_threads(["xpu:0"]) == 2
    assert devices.feeding_threads(["mps:0"]) == 1


def test_which_devices_have_float64(monkeypatch):
    assert devices.has_float64("cpu")
    assert devices.has_float64("cuda:0,cuda:1")
    assert not devices.has_float64("mps:0")
    monkeypatch.setattr(
        torch.xpu, "get_device_properties", lambda name: SimpleNamespace(has_fp64=name == "xpu:0")
    )
    assert devices.has_float64("xpu:0")
    assert not devices.has_float64("xpu:0,xpu:1")
    problem = Problem((9, 9, 1), (3, 3, 1), "float32", (1, 1), "sad", 1, "xpu:1", 2)
    assert "float64, which xpu:1 does not have" in unfold.refuse(problem)
    assert "64 bits, which xpu:1 does not have" in fft.refuse(problem._replace(metric="ssd"))
    assert unfold.refuse(problem._replace(dtype="uint8", data_range=255)) is None


def test_the_memory_that_a_device_has_free(monkeypatch):
    made = {
        "cuda": SimpleNamespace(
            mem_get_info=lambda _: (100, 900),
            memory_reserved=lambda _: 50,
            memory_allocated=lambda _: 20,
        ),
        "mps": SimpleNamespace(
            recommended_max_memory=lambda: 500, current_allocated_memory=lambda: 100
        ),
        "xpu": SimpleNamespace(mem_get_info=lambda _: throw(RuntimeError("it does not say"))),
    }
    monkeypatch.setattr(devices, "_module", lambda name: made[name.split(":")[0]])
    assert devices.free_memory("cuda:1") == 130
    assert devices.free_memory("mps:0") == 400
    assert devices.free_memory("xpu:0") is None


def throw(error):
    raise error
