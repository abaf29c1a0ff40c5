"""Whole searches by the engine `cuda` without a card: in Triton's interpreter, on the CPU.

A process of its own, as `interpreted.py` is; it prints how many kernels a launch had at the most.
Two of torch's names for the CPU stand for two cards, and the plan is told of no refusal.
"""

from __future__ import annotations

import os

import numpy as np
from helpers.interpreter import hasten
from PIL import Image

os.environ["TRITON_INTERPRET"] = "1"

from patchsim import match
from patchsim.engines import cuda
from patchsim.engines.cuda import config, launch
from patchsim.machine import devices
from patchsim.planning import tiling

launches = []
_launch = launch.difference_sums


def counted(image, taps, *more):
    launches.append(len(taps.words))
    return _launch(image, taps, *more)


def with_alpha(pixels, alpha):
    return Image.fromarray(np.dstack([pixels, alpha.astype(np.uint8) * 255]), "LA")


def main():
    devices.require_all = lambda _name: "cpu:0,cpu:1"
    devices.free_memory = lambda _name: 1 << 30
    cuda.refuse = lambda _problem: None
    launch.chosen = lambda *_: config.Config(8, 32, 4, 1)
    launch.difference_sums = counted
    tiling._WORTH_SHARING_SECONDS = 1e-9  # two tiles
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (11, 34), np.uint8)
    kernels = [image[y : y + h, 5:10].copy() for y, h in ((2, 3), (6, 3), (3, 4))]
    masked = [with_alpha(each, np.tri(3, 5, 2)) for each in kernels[:2]]
    for picture, metric, parts in (
        (image, "sad", kernels),
        (Image.fromarray(image), "ssd", masked),
        (with_alpha(image, rng.random((11, 34)) > 0.02), "sad", kernels),
    ):
        options = {"metric": metric, "map": True, "per_kernel": True}
        found = match(picture, parts, device="cuda", engine="cuda", **options)
        true = match(picture, parts, device="cpu", **options)
        assert found.device == "cpu:0,cpu:1"
        assert found.matches == true.matches
        for one, other in zip(found.maps, true.maps, strict=True):
            assert np.array_equal(one, other)
        print(max(launches))
        launches.clear()


if __name__ == "__main__":
    hasten()
    main()
