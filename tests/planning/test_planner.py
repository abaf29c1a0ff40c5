"""The plan's choice, against recorded times of all engines."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from patchsim import InputError, match
from patchsim.engines import Problem, fft, simd
from patchsim.engines.cuda import launch
from patchsim.engines.problem import Products, Reading
from patchsim.geometry.blocks import BLOCK
from patchsim.machine import devices
from patchsim.planning import batching, candidates, planner
from patchsim.ranking import score_memory

RECORD = json.loads((Path(__file__).parent / "engine_times.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("case", RECORD["cases"], ids=lambda case: str(case["problem"]["image"]))
def test_the_choice_is_within_half_again_of_the_best(case, monkeypatch):
    # As recorded: that processor, and nothing left to import.
    monkeypatch.setattr(simd, "variant", lambda: RECORD["variant"])
    monkeypatch.setattr(devices, "torch_start_up", lambda: 0.0)
    monkeypatch.setattr(fft, "start_up", lambda _problem: 0.0)
    fields = {k: tuple(v) if isinstance(v, list) else v for k, v in case["problem"].items()}
    fields["products"] = fields["products"] and Products(*fields["products"])
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


def best_match_problem(dtype, metric, kernel=(64, 64, 3), **changes):
    span = {"uint8": 255, "uint16": 65535, "float32": 1}[dtype]
    return Problem(
        (1080, 1920, 3), kernel, dtype, (1, 1), metric, span, "cpu", 1,
        map_wanted=False, **changes,
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
@pytest.mark.parametrize("metric", ["sad", "ssd"])
def test_the_best_match_alone_is_searched_by_bounds_whatever_the_type(metric, dtype):
    problem = best_match_problem(dtype, metric)
    plan = planner.make(problem, engine="auto", device="cpu", memory=8 << 30, resident=0)
    assert plan.engine == "pruned"
    # No engine sums floats exactly, so the blocks left open get scores with errors.
    assert (plan.exact_plan is None) == (dtype == "float32")
    assert plan.direct_plan.engine == ("simd" if metric == "sad" else "fft")
    assert plan.direct_plan.exact_plan == plan.exact_plan or plan.direct_plan is plan.exact_plan
    assert plan.peak >= plan.direct_plan.working


@pytest.mark.parametrize("metric", ["sad", "ssd"])
def test_windows_left_open_within_a_tolerance_are_scored_by_an_engine_with_a_map(metric):
    problem = best_match_problem("float32", metric, tolerance=0.02)
    plan = planner.make(problem, engine="fft", device="cpu", memory=8 << 30, resident=0)
    assert plan.exact_plan.engine in ("simd", "fft")
    assert plan.exact_plan.problem.tolerance == 0


@pytest.mark.parametrize("metric", ["sad", "zncc"])
@pytest.mark.parametrize(("width", "tallest"), [(1000, (1 << 21) // 937), (100_000, 8 * 64)])
def test_tiles_of_an_image_read_by_windows_do_not_grow_with_its_height(metric, width, tallest):
    reading = Reading("from the .npy file", 5)
    tiles = []
    for rows in (10_000, 100_000, 1_000_000):
        facts = (rows, width, 1), (64, 64, 1), "uint8", (1, 1), metric, 255.0, "cpu", 2
        problem = Problem(*facts, tolerance=0.02, reading=reading)
        plan = planner.make(problem, engine="auto", device="cpu", memory=8 << 30, resident=0)
        tiles.append(plan.tile)
    assert all(BLOCK <= tall <= tallest for tall, _ in tiles)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
@pytest.mark.parametrize(("height", "width"), [(1080, 1920), (300, 20000)])
def test_tiles_of_direct_sums_are_whole_blocks_that_the_cache_holds(height, width, dtype):
    problem = Problem(
        (height, width, 1), (16, 16, 1), dtype, (1, 1), "sad", 1, device="cpu", threads=2
    )
    plan = planner.make(problem, engine="simd", device="cpu", memory=8 << 30, resident=0)
    assert plan.tile[0] * plan.tile[1] <= 1 << 17
    for side, whole in zip(plan.tile, problem.map_shape, strict=True):
        assert side == whole or side % BLOCK == 0


def test_a_search_too_short_to_share_stays_on_one_thread():
    problem = Problem(
        (400, 400, 1), (16, 16, 1), "uint8", (1, 1), "sad", 255, device="cpu", threads=4
    )
    plan = planner.make(problem, engine="simd", device="cpu", memory=8 << 30, resident=0)
    assert plan.tile[0] < problem.map_shape[0]
    assert plan.parallel == 1


@pytest.mark.parametrize("side", [16, 40, 64])
def test_single_blocks_are_left_to_what_takes_least_for_one_in_the_memory_of_the_plan(side):
    problem = best_match_problem("uint8", "ssd", (side, side, 3))
    direct = planner.make(
        problem, engine="pruned", device="cpu", memory=8 << 30, resident=0
    ).direct_plan  # fmt: skip
    assert direct.engine == ("simd" if side == 16 else "fft")
    assert direct.for_blocks.engine == ("fft" if side == 64 else "simd")
    found = candidates.working_bytes(direct.for_blocks.chosen, direct.tile, direct.parallel)
    assert found <= direct.working


@pytest.mark.parametrize(
    ("count", "sizes", "copies"), [(1, 1, 1), (32, 1, 1), (33, 1, 2), (40, 2, 4)]
)
def test_each_group_of_kernels_holds_a_copy_of_8_bits(count, sizes, copies):
    def without_map(dtype):
        problems = [
            best_match_problem(dtype, "sad", (side, side, 3))
            for side in (64, 200)[:sizes]
            for _ in range(count)
        ]
        groups = batching.make(problems, engine="pruned", device="cpu", memory=64 << 30, resident=0)
        assert len(groups) == copies
        return score_memory.budget_of(problems, 64 << 30, kept=False).resident_without_map

    assert without_map("float32") - without_map("uint8") == copies * 1080 * 1920 * 3


def test_no_copy_of_8_bits_is_made_where_memory_does_not_suffice():
    problem = best_match_problem("float32", "ssd")
    resident = 100 << 20
    plan = planner.make(
        problem, engine="auto", device="cpu", memory=160 << 20, resident=resident,
        resident_without_map=resident + (100 << 20),
    )  # fmt: skip
    assert plan.engine == "fft"
