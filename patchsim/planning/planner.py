"""The plan of a search: engine, device and tiles, with its cost, its memory and its reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from patchsim import choices, engines
from patchsim.engines import Problem
from patchsim.errors import InputError
from patchsim.geometry import tiles
from patchsim.geometry.blocks import BLOCK
from patchsim.machine import devices
from patchsim.machine.memory import format_size
from patchsim.planning import candidates as considered
from patchsim.planning import tiling
from patchsim.planning.candidates import Candidate

# With more kernels than this together, memory goes to more threads rather than to more kernels.
_WORTH_THREADS = 8

# The most kernels of a search that stay prepared for exact plans; of direct plans it is one.
MOST_PREPARED = 32

# A shorter search on the CPU looks for no accelerator: importing torch and creating its context
# take seconds, and the engines' kernels are compiled when first used.
_WORTH_A_LOOK_SECONDS = 10.0


class NoRoomError(InputError):
    """Memory does not suffice for the smallest tile."""


@dataclass(frozen=True)
class Plan:
    """How one kernel is searched for; `str` prints it.

    Attributes
    ----------
    chosen : Candidate
    tile : (rows, cols)
        The largest part of the map that a thread computes at once, or of which it reads the pixels.
    parallel : int
        The number of tiles that are computed at the same time.
    memory : int
        The bytes that the search may take.
    resident : int
        The bytes of images, scores and outputs, which stay for the whole search.
    working : int
        The bytes of the tiles in flight.
    candidates : tuple of Candidate
        The candidates from which the plan was chosen.
    exact_plan : Plan or None
        The plan by which blocks of windows are scored exactly where the engine's scores have
        errors; None if no engine can, or memory does not suffice. Those of floats are rounded.
    direct_plan : Plan or None
        The plan by which blocks, or all windows, are scored where an engine without a map leaves
        them open: the faster of `exact_plan` and a plan whose scores may have errors.
    is_envelope : bool
        The plan is for several kernels of about one size, and its problem is as large as any.
    accelerators : str or None
        Why no accelerator was considered, where the device was ``"auto"``.
    kernel_total : int
        The number of kernels of the whole search.
    """

    chosen: Candidate
    tile: tuple[int, int]
    parallel: int
    memory: int
    resident: int
    working: int
    candidates: tuple[Candidate, ...]
    exact_plan: Plan | None = None
    direct_plan: Plan | None = None
    is_envelope: bool = False
    accelerators: str | None = None
    kernel_total: int = 1

    @property
    def engine(self) -> str:
        return self.chosen.engine

    @property
    def problem(self) -> Problem:
        return self.chosen.problem

    @property
    def peak(self) -> int:
        """The most bytes that the search takes: tiles of this plan, then those of the others."""
        others = _working_of_others(self.exact_plan, self.direct_plan, self.parallel)
        # Kernels that were searched for before may have been prepared for their exact plans.
        before = _kept_prepared(self.exact_plan, self.kernel_total - self.problem.kernel_count)
        after = _kept_prepared(self.exact_plan, self.kernel_total - 1)
        return self.resident + max(self.working + before, others + after)

    def seconds_of(self, rows: int, cols: int) -> float:
        """Return the estimated seconds of the engine for so many windows, without their map."""
        known = self._seconds_of.get((rows, cols))
        if known is None:
            problem = self.problem
            height, width = tiles.extent((rows, cols), problem.kernel[:2], problem.stride)
            image = height, width, problem.image[2]
            known = considered.seconds(self.engine, problem._replace(image=image, map_wanted=False))
            self._seconds_of[rows, cols] = known
        return known

    @cached_property
    def _seconds_of(self) -> dict[tuple[int, int], float]:
        """The estimates that were asked for: plans serve many images of one shape."""
        return {}

    @cached_property
    def for_blocks(self) -> Plan:
        """The plan for single blocks: the engine that takes least for one, in this plan's memory.

        Transforms suit large tiles; of a single block, direct sums with a small kernel take a part
        of their time.
        """
        able = (
            c
            for c in self.candidates
            if c.refusal is None
            and engines.load(c.engine).HAS_MAP
            and considered.working_bytes(c, self.tile, self.parallel) <= self.working
        )
        plans = [self, *(replace(self, chosen=c) for c in able if c != self.chosen)]
        return min(plans, key=lambda plan: plan.seconds_of(BLOCK, BLOCK))

    def __str__(self) -> str:
        from patchsim.planning import candidate_table  # plans are seldom printed

        problem = self.problem
        rows, cols = problem.map_shape
        count = -(-rows // self.tile[0]) * -(-cols // self.tile[1])
        sides = "x".join(map(str, (problem.kernel[1], problem.kernel[0], problem.kernel[2])))
        shared = f", {problem.kernel_count} kernels together" if problem.kernel_count > 1 else ""
        threads = f"{problem.threads} thread{'s' * (problem.threads != 1)}"
        tiles = f"{count:,} tile{'s' * (count != 1)} of at most"
        lines = [
            f"{self.engine} on {problem.device}, {threads}{shared},"
            f" about {considered.duration(self.chosen.seconds)}{' each' if shared else ''}",
            f"{'at most ' * self.is_envelope}{cols * rows:,} windows of {sides} {problem.dtype}"
            f" = {problem.differences:.2e} differences; map {cols}x{rows}",
            f"{tiles} {self.tile[1]}x{self.tile[0]} windows, {self.parallel} at a time",
            f"memory: {format_size(self.resident)} for pictures, maps and outputs,"
            f" {format_size(self.peak - self.resident)} for tiles, of {format_size(self.memory)}"
            + (f"; {format_size(free)} on the device" if (free := self.chosen.free_bytes) else ""),
            *([f"the image is read {problem.reading.description}"] if problem.reading else []),
            *candidate_table.lines(self.chosen, self.candidates),
        ]
        if self.accelerators:
            lines.append(self.accelerators)
        return "\n".join(lines)


def _working_of_others(exact: Plan | None, direct: Plan | None, parallel: int) -> int:
    """Return the most bytes of the tiles of other plans, one after the other.

    Both keep their kernels while blocks are scored by one and again, in parallel, by the other. If
    the direct plan takes over the search, its kernel is freed before tiles are scored exactly.
    """
    working = max((plan.working for plan in (exact, direct) if plan), default=0)
    if not exact or not direct or exact.chosen == direct.chosen:
        return working
    block = min(BLOCK, exact.tile[0]), min(BLOCK, exact.tile[1])
    return max(
        working,
        direct.working + considered.kernel_bytes(exact.chosen, block),
        considered.kernel_bytes(direct.chosen, direct.tile)
        + considered.working_bytes(exact.chosen, block, parallel),
    )


def _kept_prepared(exact: Plan | None, kernels: int) -> int:
    """Return the bytes of so many kernels that stay prepared for an exact plan."""
    if exact is None or kernels < 1:
        return 0
    return min(kernels, MOST_PREPARED) * considered.kernel_bytes(exact.chosen, exact.tile)


def make(
    problem: Problem,
    *,
    engine: str,
    device: str,
    memory: int,
    resident: int,
    resident_without_map: int | None = None,
    kernel_total: int = 1,
) -> Plan:
    """Choose the fastest engine that can do the search, and the largest tiles for it.

    Parameters
    ----------
    problem : Problem
        On the CPU; the plan's problem has the device that was chosen.
    engine, device : str
        A name, or ``"auto"``.
    memory : int
        The bytes that the whole search may take.
    resident : int
        The bytes of it that images, scores and outputs take.
    resident_without_map : int, optional
        These bytes with an engine that draws no map, if it is another number.
    kernel_total : int
        The number of kernels of the whole search.

    Raises
    ------
    InputError
        If the engine or device named does not exist or refuses, or memory does not suffice for one
        window.
    """
    candidates, accelerators = _candidates(problem, engine, device)
    able = [c for c in candidates if c.refusal is None]
    if not able:
        raise InputError(f"no engine can do this as asked: {'; '.join(map(str, candidates))}")
    if resident_without_map is None:
        resident_without_map = resident
    residents = [resident if engines.load(c.engine).HAS_MAP else resident_without_map for c in able]
    chosen, resident = _fastest_that_fits(able, residents, memory)
    allowed = memory if chosen.free_bytes is None else min(memory, resident + chosen.free_bytes)
    chosen = _fit_kernels(chosen, allowed, resident)
    tiles_in_flight = tiling.chosen_for(chosen, allowed, resident)
    plan = replace(
        _of_tiles(chosen, tiles_in_flight, memory, resident, candidates),
        accelerators=accelerators,
        kernel_total=kernel_total,
    )
    has_map, exactly = engines.load(chosen.engine).HAS_MAP, problem._replace(exact=True)
    exact_plan = _plan_of_blocks(exactly, plan)
    if exact_plan is None and has_map and problem.tolerance > 0:  # of floats
        exact_plan = _plan_of_blocks(problem._replace(map_wanted=True), plan)
    plan = replace(plan, exact_plan=exact_plan)
    return plan if has_map else replace(plan, direct_plan=_direct_plan(problem, plan))


def _of_tiles(
    chosen: Candidate,
    tiles_in_flight: tuple[tuple[int, int], int, int],
    memory: int,
    resident: int,
    candidates: Sequence[Candidate],
) -> Plan:
    """Return the plan of a candidate with these tiles, so many in parallel, of so many bytes."""
    tile, parallel, working = tiles_in_flight
    return Plan(
        chosen=chosen,
        tile=tile,
        parallel=parallel,
        memory=memory,
        resident=resident,
        working=working,
        candidates=tuple(candidates),
    )


def _candidates(problem: Problem, engine: str, device: str) -> tuple[list[Candidate], str | None]:
    """Return the candidates, and why there are none on accelerators if the device is ``auto``."""
    names = choices.ENGINES if engine == "auto" else (engine,)
    requested = "cpu" if device == "auto" else devices.require_all(device)
    candidates = considered.consider_on(requested, problem, names)
    if device != "auto":
        return candidates, None
    if any(c.work <= _WORTH_A_LOOK_SECONDS for c in candidates):
        limit = considered.duration(_WORTH_A_LOOK_SECONDS)
        return candidates, f"looked for no accelerator: the CPU takes less than {limit}"
    accelerators = devices.accelerators()
    for same_kind in devices.group_by_kind(accelerators):
        candidates += considered.consider_on(same_kind, problem, names)
    reason = None if accelerators else "looked for an accelerator: torch sees none"
    return candidates, reason


def _fastest_that_fits(
    able: Sequence[Candidate], residents: Sequence[int], memory: int
) -> tuple[Candidate, int]:
    """Return the fastest candidate of which one window fits, and its resident bytes."""
    needed = [
        resident + considered.working_bytes(considered.for_one_kernel(c), tiling.least(c), 1)
        for c, resident in zip(able, residents, strict=True)
    ]
    fitting = [i for i, size in enumerate(needed) if size <= memory]
    if not fitting:
        several = any(c.problem.kernel_count > 1 for c in able)
        raise NoRoomError(
            f"memory {format_size(memory)} does not suffice for one window;"
            f" {format_size(min(needed))} is the least for these pictures and outputs;\n"
            "allow more with --memory (memory=)"
            + ", or search for fewer kernels at a time"
            * several
        )
    fastest = min(fitting, key=lambda i: able[i].seconds)
    return able[fastest], residents[fastest]


def _fit_kernels(chosen: Candidate, memory: int, resident: int) -> Candidate:
    """Return the candidate with as many kernels together as memory suffices for."""
    if not engines.can_share(engines.load(chosen.engine)):
        return chosen  # fewer kernels at a time would take no less
    best = engines.load(chosen.engine).best_tile(chosen.problem) or (1, 1)
    # Half of the kernels together take little more time than all; fewer threads take much more.
    for threads, fewest in ((chosen.problem.threads, _WORTH_THREADS), (1, 1)):
        while (
            chosen.problem.kernel_count > fewest
            and resident + considered.working_bytes(chosen, best, threads) > memory
        ):
            together = max(fewest, chosen.problem.kernel_count // 2)
            chosen = chosen._replace(problem=chosen.problem._replace(kernel_count=together))
    return chosen


def _direct_plan(problem: Problem, plan: Plan) -> Plan | None:
    """Plan how windows that an engine without a map leaves open are scored, maybe with errors."""
    exact = plan.exact_plan
    direct = _plan_of_blocks(problem._replace(map_wanted=True), plan)
    if exact and not (direct and direct.chosen.work <= exact.chosen.work):
        return exact
    if exact and replace(plan, direct_plan=direct).peak > plan.memory:
        return exact
    return direct and replace(direct, exact_plan=exact)


def _plan_of_blocks(problem: Problem, plan: Plan) -> Plan | None:
    """Plan how blocks of windows are scored beside a plan; None if no engine can in its memory."""
    alone = problem._replace(tolerance=0.0, kernel_count=1)
    candidates = considered.consider(alone, choices.ENGINES)
    able = [c for c in candidates if c.refusal is None]
    if not able:
        return None
    chosen = min(able, key=lambda c: c.seconds)
    rows, cols = problem.map_shape
    block = min(BLOCK, rows), min(BLOCK, cols)
    # Tiles of whole blocks: as many as suit the engine or one thread, or as memory suffices for.
    tall, wide = engines.load(chosen.engine).best_tile(chosen.problem) or tiling.of_one_thread(
        chosen
    )
    while True:
        tile = tiling.floor_to_blocks(tall, rows), tiling.floor_to_blocks(wide, cols)
        for parallel in range(problem.threads, 0, -1):
            working = considered.working_bytes(chosen, tile, parallel)
            in_flight = tile, parallel, working
            of_blocks = _of_tiles(chosen, in_flight, plan.memory, plan.resident, candidates)
            if replace(plan, exact_plan=of_blocks).peak <= plan.memory:
                return of_blocks
        if tile == block:
            return None
        tall, wide = tall // 2, wide // 2
