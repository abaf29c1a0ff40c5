"""The plan's choice, against recorded times of all engines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from patchsim import InputError, match
from patchsim.engines import Problem, fft, simd
from patchsim.engines.cuda import launch
from patchsim.machine import devices
from patchsim.planning import planner

RECORD = json.loads((Path(__file__).parent / "engine_times.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", RECORD["cases"], ids=lambda case: str(case["problem"]["image"]))
def test_the_choice_is_within_half_again_of_the_best(case, monkeypatch):
    # As recorded: that processor, and nothing left to import.
    monkeypatch.setattr(simd, "variant", lambda: RECORD["variant"])
    monkeypatch.setattr(devices, "torch_start_up", lambda: 0.0)
    monkeypatch.setattr(fft, "start_up", lambda _problem: 0.0)
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in case["problem"].items()}
    chosen = planner.make(
        Problem(**fields), engine="auto", device="cpu", memory=8 << 30, resident=0
    )
    assert case["seconds"][chosen.engine] <= 1.5 * min(case["seconds"].values())


def test_an_engine_that_memory_does_not_suffice_for_is_passed_over(rng):
    image = rng.integers(0, 256, (900, 900, 3), dtype=np.uint8)
    kernel = image[100:700, 100:700].copy()
    for memory in ("2GB", "40MB"):
        report = match(image, kernel, tolerance=0.02, map=True, memory=memory)
        assert (report.best.x, report.best.y) == (100, 100)
    assert report.plans[0].engine == "simd"
    with pytest.raises(InputError, match=r"memory 1\.0 MB|1\.0 MB"):
        match(image, kernel, tolerance=0.02, memory="1MB", max_pixels=10**6)


def test_an_accelerator_is_looked_for_where_the_cpu_takes_long(monkeypatch):
    looks = []
    monkeypatch.setattr(devices, "accelerators", lambda: looks.append(1) or [])

    def explained(side, device):
        problem = Problem(
            (side, side, 3), (200, 200, 3), "float32", (1, 1), "sad", 1, device="cpu", threads=1
        )
        return str(planner.make(problem, engine="auto", device=device, memory=1 << 40, resident=0))

    assert "looked for no accelerator: the CPU takes less than 10.0 s" in explained(300, "auto")
    assert not looks
    assert "looked for an accelerator: torch sees none" in explained(9000, "auto")
    assert looks == [1]
    assert "looked for" not in explained(9000, "cpu")
    monkeypatch.setattr(devices, "accelerators", lambda: ["cuda:0"])
    monkeypatch.setattr(launch, "missing", lambda: None)
    monkeypatch.setattr(devices, "free_memory", lambda _name: 50 << 30)
    found = explained(9000, "auto")
    assert found.startswith("cuda on cuda:0, 2 threads")
    assert "on the device" in found
    assert "looked for" not in found
