"""The choice of how to search: engine, device, tiles; its cost, its memory and its reasons."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from patchsim import choices, engines
from patchsim.engines import Problem
from patchsim.errors import InputError
from patchsim.geometry import tiles
from patchsim.geometry.blocks import BLOCK
from patchsim.machine import devices
from patchsim.machine.memory import format_size
from patchsim.planning import candidates as considered
from patchsim.planning.candidates import Candidate

# A tile should take this long, so that progress moves and an interrupt is answered.
_TILE_SECONDS = 0.1

# Starting threads takes half a millisecond.
_WORTH_SHARING_SECONDS = 0.002

# Kernels together, rather than fewer of which a thread more works.
_WORTH_THREADS = 8

# A search on the CPU shorter than this is not worth looking for an accelerator: importing torch and
# making its context take seconds, and the kernels of an engine are compiled when first used.
_WORTH_A_LOOK_SECONDS = 10.0


@dataclass(frozen=True)
class Plan:
    """How one kernel is searched for; `str` prints it.

    Attributes
    ----------
    chosen : Candidate
    tile : (rows, cols)
        The largest piece of the map that is computed at once.
    parallel : int
        Tiles that are computed at the same time.
    memory : int
        Bytes that were allowed.
    held : int
        Bytes of pictures, maps and outputs that stay for the whole search.
    working : int
        Bytes that the tiles in flight take.
    candidates : tuple of Candidate
        All that was considered.
    direct : Plan or None
        How blocks of windows are scored exactly where the engine's scores may be off; None where
        no engine can, or memory does not suffice.
    about : bool
        It is that of several kernels of about one size, and the problem as large as all of them.
    accelerators : str or None
        Why none was considered, where the device was ``"auto"``.
    """

    chosen: Candidate
    tile: tuple[int, int]
    parallel: int
    memory: int
    held: int
    working: int
    candidates: tuple[Candidate, ...]
    direct: Plan | None = None
    about: bool = False
    accelerators: str | None = None

    @property
    def engine(self) -> str:
        return self.chosen.engine

    @property
    def problem(self) -> Problem:
        return self.chosen.problem

    def seconds_of(self, rows: int, cols: int) -> float:
        """What the engine takes for so many windows."""
        problem = self.problem
        pixels = tiles.extent((rows, cols), problem.kernel[:2], problem.stride)
        part = replace(problem, image=(*pixels, problem.image[2]))
        return considered.seconds(self.engine, part)

    def __str__(self) -> str:
        problem = self.problem
        rows, cols = problem.map_shape
        count = -(-rows // self.tile[0]) * -(-cols // self.tile[1])
        sides = "x".join(map(str, (problem.kernel[1], problem.kernel[0], problem.kernel[2])))
        shared = f", {problem.together} kernels together" if problem.together > 1 else ""
        lines = [
            f"{self.engine} on {problem.device}, {problem.threads} threads{shared},"
            f" about {considered.duration(self.chosen.seconds)}{' each' if shared else ''}",
            f"{'at most ' * self.about}{cols * rows:,} windows of {sides} {problem.dtype}"
            f" = {problem.differences:.2e} differences; map {cols}x{rows}",
            f"{count:,} tiles of at most {self.tile[1]}x{self.tile[0]} windows,"
            f" {self.parallel} at a time",
            f"memory: {format_size(self.held)} for pictures, maps and outputs,"
            f" {format_size(self.working)} for tiles, of {format_size(self.memory)}"
            + (f"; {format_size(free)} on the device" if (free := self.chosen.free) else ""),
            *(f"considered {candidate}" for candidate in self.candidates),
        ]
        if self.accelerators:
            lines.append(self.accelerators)
        return "\n".join(lines)


def make(
    problem: Problem,
    *,
    engine: str,
    device: str,
    memory: int,
    held: int,
    searching: int | None = None,
) -> Plan:
    """Ask the engines: first who can, then who is fastest.

    Parameters
    ----------
    problem : Problem
        On the CPU; the plan's problem has the device that was chosen.
    engine, device : str
        A name, or ``"auto"``.
    memory : int
        Bytes the whole search may take.
    held : int
        Bytes of it that pictures, maps and outputs take.
    searching : int, optional
        The same with an engine that draws no map, if that is not as much.

    Raises
    ------
    InputError
        If the engine or device named is not here or refuses, or memory does not suffice for one
        window.
    """
    names = choices.ENGINES if engine == "auto" else (engine,)
    wanted = "cpu" if device == "auto" else devices.require_all(device)
    candidates = considered.consider_on(wanted, problem, names)
    accelerators = None
    if device == "auto" and all(c.work > _WORTH_A_LOOK_SECONDS for c in candidates):
        found = devices.accelerators()
        for alike in devices.group_by_kind(found):
            candidates += considered.consider_on(alike, problem, names)
        if not found:
            accelerators = "looked for an accelerator: torch sees none"
    elif device == "auto":
        limit = considered.duration(_WORTH_A_LOOK_SECONDS)
        accelerators = f"looked for no accelerator: the CPU takes less than {limit}"
    able = [c for c in candidates if c.refusal is None]
    if not able:
        raise InputError(f"no engine can do this as asked: {'; '.join(map(str, candidates))}")

    def holding(candidate: Candidate) -> int:
        return held if searching is None or engines.load(candidate.engine).HAS_MAP else searching

    # The fastest that memory suffices for, or else the least that would.
    least = [holding(c) + considered.working_bytes(considered.alone(c), (1, 1), 1) for c in able]
    fitting = [c for c, needed in zip(able, least, strict=True) if needed <= memory]
    if not fitting:
        raise InputError(
            f"memory {format_size(memory)} does not suffice for one window;"
            f" {format_size(min(least))} is the least for these pictures and outputs\n"
            "allow more with --memory (memory=), or search for fewer kernels at a time"
        )
    chosen = min(fitting, key=lambda c: c.seconds)
    held = holding(chosen)
    allowed = memory if chosen.free is None else min(memory, held + chosen.free)
    chosen = _as_many(chosen, allowed, held)
    tile, parallel, working = _tiling(chosen, allowed, held)
    plan = Plan(chosen, tile, parallel, memory, held, working, tuple(candidates))
    direct = _direct(problem, memory, held)
    return replace(plan, direct=direct, accelerators=accelerators)


def _as_many(chosen: Candidate, memory: int, held: int) -> Candidate:
    """With as many kernels together as memory suffices for, with the tile that wastes least."""
    best = engines.load(chosen.engine).best_tile(chosen.problem) or (1, 1)
    # Half of them take little more time than all, and the threads that there are much less.
    for threads, least in ((chosen.problem.threads, _WORTH_THREADS), (1, 1)):
        while (
            chosen.problem.together > least
            and held + considered.working_bytes(chosen, best, threads) > memory
        ):
            fewer = max(least, chosen.problem.together // 2)
            chosen = replace(chosen, problem=replace(chosen.problem, together=fewer))
    return chosen


def _direct(problem: Problem, memory: int, held: int) -> Plan | None:
    alone = replace(problem, exact=True, tolerance=0.0, together=1)
    candidates = considered.consider(alone, choices.ENGINES)
    able = [c for c in candidates if c.refusal is None]
    if not able:
        return None
    chosen = min(able, key=lambda c: c.seconds)
    rows, cols = problem.map_shape
    block = min(BLOCK, rows), min(BLOCK, cols)
    # Whole blocks, as many as suit the engine or one thread's work, or fewer.
    down, across = engines.load(chosen.engine).best_tile(chosen.problem) or _shares(chosen)
    while True:
        tile = _whole_blocks(down, rows), _whole_blocks(across, cols)
        for parallel in range(problem.threads, 0, -1):
            working = considered.working_bytes(chosen, tile, parallel)
            if held + working <= memory:
                return Plan(chosen, tile, parallel, memory, held, working, tuple(candidates))
        if tile == block:
            return None
        down, across = down // 2, across // 2


def _shares(chosen: Candidate) -> tuple[int, int]:
    """Rows for each thread, of as many columns as take little time."""
    rows, cols = chosen.problem.map_shape
    down = min(4 * BLOCK, -(-rows // chosen.problem.threads))
    alone = chosen.work * chosen.problem.threads * min(1, _up(down) / rows)
    across = int(cols * min(1, _TILE_SECONDS / alone)) if alone > 0 else cols
    return _up(down), across


def _up(cells: int) -> int:
    return -(-cells // BLOCK) * BLOCK


def _whole_blocks(cells: int, most: int) -> int:
    whole = max(1, cells // BLOCK) * BLOCK
    return most if cells >= most else min(most, whole)


def _tiling(chosen: Candidate, memory: int, held: int) -> tuple[tuple[int, int], int, int]:
    """Tile, tiles at a time, and their bytes: the largest that time and memory allow."""
    engine, problem = engines.load(chosen.engine), chosen.problem
    rows, cols = problem.map_shape
    parallel = 1 if engine.OWN_THREADS else problem.threads

    tile = engine.best_tile(problem)
    square = tile is not None  # so that little of a tile is its border
    if tile is None:
        # A tile is one thread's work; a search too short to share is one tile.
        alone = chosen.work * (parallel if problem.device == "cpu" else len(problem.devices))
        pieces = max(alone / _TILE_SECONDS, min(parallel, alone / _WORTH_SHARING_SECONDS), 1)
        cells = max(1, int(rows * cols / pieces))
        if pieces > 1:  # as many for each thread, of about one height
            pieces = math.ceil(pieces / parallel) * parallel
        bands = min(rows, math.ceil(pieces))
        tile = -(-rows // bands), min(cols, cells)
    parallel = min(parallel, -(-rows // tile[0]) * -(-cols // tile[1]))
    while parallel > 1 and held + considered.working_bytes(chosen, (1, 1), parallel) > memory:
        parallel -= 1
    while held + considered.working_bytes(chosen, tile, parallel) > memory:
        if square and parallel > 1:
            parallel -= 1
        elif square and tile[1] > tile[0]:
            tile = tile[0], -(-tile[1] // 2)
        # Rows first: a tile as wide as the map reads each pixel row once.
        elif tile[0] > 1:
            tile = -(-tile[0] // 2), tile[1]
        else:
            tile = 1, -(-tile[1] // 2)
    return tile, parallel, considered.working_bytes(chosen, tile, parallel)


def map_bytes(problem: Problem, *, kept: bool) -> int:
    """Bytes that a kernel's scores hold until the matches are settled, and its map if `kept`."""
    rows, cols = tiles.map_shape(problem.image[:2], problem.kernel[:2], problem.stride)
    # Scores, whether they are settled, the map; or bounds and, where those do not help, scores.
    return rows * cols * (8 + 1 + 4 if kept else 2 + 8 + 1)
