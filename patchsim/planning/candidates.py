"""The engines that could do a search, with their estimated time and memory, or their refusals."""

from __future__ import annotations

import math
from typing import NamedTuple

from patchsim import engines
from patchsim.engines import Bounds, Problem
from patchsim.geometry import tiles
from patchsim.geometry.blocks import BLOCK
from patchsim.machine import devices, threads
from patchsim.machine.memory import format_size

# The share of a device's free memory that tiles may take: libraries allocate some of it, and it is
# fragmented.
_SHARE_OF_FREE = 0.8
# A device with this many times less free memory than the emptiest one is left out, as all devices
# get tiles of one size.
_FULL = 4
# The windows of a tile on the CPU, whose sums in float64 fit the cache of a core.
_CACHED_WINDOWS = 1 << 17
# The time of a block that is ranked, beside its scores; measured with kernels of 128x128.
_BLOCK_SECONDS = 1.5e-4
_ONE_SECOND, _MINUTES = 0.9995, 100  # seconds below which milliseconds and seconds are written
_TWO_DIGITS = 9.95  # milliseconds from which they are whole


class Candidate(NamedTuple):
    """An engine on a device: its estimated time, or why it refuses.

    Attributes
    ----------
    engine : str
    problem : Problem
        It has the device and its threads.
    start_up, work : float
        The estimated seconds of the first use of the engine, and of each kernel.
    refusal : str or None
    free_bytes : int or None
        The bytes of tiles that fit the devices, where these report their free memory.
    """

    engine: str
    problem: Problem
    start_up: float
    work: float
    refusal: str | None
    free_bytes: int | None = None

    @property
    def seconds(self) -> float:
        """The estimated seconds for each kernel."""
        return self.start_up / self.problem.kernel_count + self.work

    def __str__(self) -> str:
        verdict = self.refusal or f"about {duration(self.seconds)}"
        return f"{self.engine} on {self.problem.device}: {verdict}"


def consider_on(device: str, problem: Problem, names: tuple[str, ...]) -> list[Candidate]:
    """Return candidates on the CPU, or on those of some devices that are not almost full."""
    if device == "cpu":
        return consider(problem._replace(device=device), names)
    free = {name: devices.free_memory(name) for name in device.split(",")}
    most = max((size for size in free.values() if size is not None), default=0)
    kept = [name for name, size in free.items() if size is None or size * _FULL >= most]
    on_devices = problem._replace(device=",".join(kept), threads=devices.feeding_threads(kept))
    sizes = [size for name in kept if (size := free[name]) is not None]
    if not sizes:
        return consider(on_devices, names)
    # Tiles take the same on each device, so the fullest one sets the limit.
    free_bytes = int(min(sizes) * len(kept) * _SHARE_OF_FREE)
    return [_limit_memory(candidate, free_bytes) for candidate in consider(on_devices, names)]


def _limit_memory(candidate: Candidate, free_bytes: int) -> Candidate:
    """Refuse the candidate if no block of windows fits the devices, as smaller tiles are slow."""
    rows, cols = candidate.problem.map_shape
    count = len(candidate.problem.devices)
    if candidate.refusal is None:
        needed = working_bytes(for_one_kernel(candidate), (min(BLOCK, rows), min(BLOCK, cols)), 1)
        if needed * count > free_bytes:
            refusal = (
                f"{format_size(free_bytes)} are free there, and {format_size(needed)} are needed"
            )
            return candidate._replace(start_up=0.0, work=math.inf, refusal=refusal)
    return candidate._replace(free_bytes=free_bytes)


def for_one_kernel(candidate: Candidate) -> Candidate:
    """Return the candidate for a search of one kernel at a time."""
    return candidate._replace(problem=candidate.problem._replace(kernel_count=1))


def seconds(engine: str, problem: Problem) -> float:
    """Return the estimated seconds of an engine, which all devices of the problem share."""
    return engines.load(engine).seconds(problem) / len(problem.devices)


def consider(problem: Problem, names: tuple[str, ...]) -> list[Candidate]:
    """Return a candidate for each engine named."""
    candidates = []
    for name in names:
        engine = engines.load(name)
        takes_several = engine.SHARES or not engine.HAS_MAP
        solved = problem if takes_several else problem._replace(kernel_count=1)
        refusal = engine.refuse(solved)
        if refusal is None:
            start_up, work = engine.start_up(solved), seconds(name, solved)
        else:
            start_up, work = 0.0, math.inf
        candidates.append(Candidate(name, solved, start_up, work, refusal))
    return _with_ranking(candidates, problem.open_share) if problem.open_share else candidates


def _with_ranking(candidates: list[Candidate], open_share: float) -> list[Candidate]:
    """Add the time in which the fastest other engine ranks what a tolerance leaves open."""
    has_errors = [has_tolerated_errors(candidate) for candidate in candidates]
    both = list(zip(candidates, has_errors, strict=True))
    fastest = min((c.work for c, has_error in both if not has_error), default=math.inf)
    if math.isinf(fastest):  # no other engine was asked for
        return candidates
    blocks = math.prod(candidates[0].problem.map_shape) / BLOCK**2
    ranking = open_share * (fastest + blocks * _BLOCK_SECONDS)
    return [c._replace(work=c.work + ranking) if has_error else c for c, has_error in both]


def has_tolerated_errors(candidate: Candidate) -> bool:
    """Return whether the scores have errors for which the engine needs a tolerance."""
    exactly = candidate.problem._replace(tolerance=0.0)
    is_refused = engines.load(candidate.engine).refuse(exactly) is not None
    return candidate.refusal is None and is_refused


def working_bytes(chosen: Candidate, tile: tuple[int, int], at_once: int) -> int:
    """Return the bytes of tiles in flight and of their scores, until `runner` yields them."""
    engine, problem = engines.load(chosen.engine), chosen.problem
    piece = piece_of(chosen, tile)
    for_tiles = at_once * (engine.working_bytes(problem, *piece) + _read_bytes(problem, tile))
    bounds = Bounds.estimate_bytes(*piece) if engine.HAS_MAP else 0
    if problem.kernel_count > 1 and engines.can_share(engine):
        # The scores of a tile are taken for one kernel after another, by the thread that made them.
        for_kernels = problem.kernel_count * engine.kernel_bytes(problem, *piece)
        if problem.device != "cpu":  # each device has its own
            for_kernels *= at_once
        return for_tiles + at_once * bounds + for_kernels
    return for_tiles + threads.results_held(at_once) * bounds


def piece_of(chosen: Candidate, tile: tuple[int, int]) -> tuple[int, int]:
    """Return the piece of a tile (rows, cols) that is scored at once.

    A tile of an image that is not held in memory is large, so that few pixels are read twice. It is
    scored in the tiles that an image in memory would have.
    """
    problem = chosen.problem
    is_square = engines.load(chosen.engine).best_tile(problem) is not None
    if problem.reading is None or problem.device != "cpu" or is_square:
        return tile
    return cached_tile(tile)


def cached_tile(tile: tuple[int, int]) -> tuple[int, int]:
    """Return a part of a tile, of whole blocks, whose scores stay in the processor's cache.

    Those of larger tiles are written to new pages of memory, which takes as long as a kernel of
    16x16 takes to be compared.
    """
    wide = min(tile[1], _CACHED_WINDOWS // BLOCK)
    tall = max(1, _CACHED_WINDOWS // (BLOCK * wide)) * BLOCK
    return min(tile[0], tall), wide


def _read_bytes(problem: Problem, tile: tuple[int, int]) -> int:
    """Return the bytes of a tile's pixels where these are read for it."""
    if problem.reading is None:
        return 0
    height, width = tiles.extent(tile, problem.kernel[:2], problem.stride)
    return height * width * problem.reading.pixel_bytes


def kernel_bytes(chosen: Candidate, tile: tuple[int, int]) -> int:
    """Return the bytes of a prepared kernel, which are part of `working_bytes` for one kernel."""
    engine = engines.load(chosen.engine)
    assert engines.has_map(engine), "others prepare no kernel"
    return engine.kernel_bytes(chosen.problem, *tile)


def duration(value: float) -> str:
    """Return seconds as text, such as ``0.4 ms``, ``12 ms``, ``1.5 s`` or ``3 min``."""
    if value < _ONE_SECOND:
        milliseconds = 1000 * value
        return f"{milliseconds:.1f} ms" if milliseconds < _TWO_DIGITS else f"{milliseconds:.0f} ms"
    return f"{value:.1f} s" if value < _MINUTES else f"{value / 60:.0f} min"
