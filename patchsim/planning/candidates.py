"""Which engines can do a search, and where; what each would take of time and memory."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from patchsim import engines
from patchsim.engines import Problem
from patchsim.geometry.blocks import BLOCK
from patchsim.machine import devices
from patchsim.machine.memory import format_size

# Of what is free on a device: libraries there take some, and it comes in pieces.
_SHARE_OF_FREE = 0.8
# A device with so much less than the emptiest is left out: tiles are of one size for all.
_FULL = 4


@dataclass(frozen=True)
class Candidate:
    """An engine on a device: what it would take, or why it cannot.

    Attributes
    ----------
    engine : str
    problem : Problem
        With the device and its threads.
    start_up, work : float
        Estimated seconds.
    refusal : str or None
    free : int or None
        Bytes of tiles that fit the devices, where these say so.
    """

    engine: str
    problem: Problem
    start_up: float
    work: float
    refusal: str | None
    free: int | None = None

    @property
    def seconds(self) -> float:
        """For each kernel."""
        return self.start_up / self.problem.together + self.work

    def __str__(self) -> str:
        verdict = self.refusal or f"about {duration(self.seconds)}"
        return f"{self.engine} on {self.problem.device}: {verdict}"


def consider_on(device: str, problem: Problem, names: tuple[str, ...]) -> list[Candidate]:
    """The engines on the CPU, or on those of some devices that are not almost full."""
    if device == "cpu":
        return consider(replace(problem, device=device), names)
    free = {name: devices.free_memory(name) for name in device.split(",")}
    most = max((room for room in free.values() if room is not None), default=0)
    kept = [name for name, room in free.items() if room is None or room * _FULL >= most]
    there = replace(problem, device=",".join(kept), threads=devices.feeding_threads(kept))
    each = [room for name in kept if (room := free[name]) is not None]
    if not each:
        return consider(there, names)
    # On each as much as on the one that has least.
    room = int(min(each) * len(kept) * _SHARE_OF_FREE)
    return [_within(room, candidate) for candidate in consider(there, names)]


def _within(room: int, candidate: Candidate) -> Candidate:
    """Refused where a device has no room for a block of windows: fewer at a time take ages."""
    rows, cols = candidate.problem.map_shape
    count = len(candidate.problem.devices)
    if candidate.refusal is None:
        needed = working_bytes(alone(candidate), (min(BLOCK, rows), min(BLOCK, cols)), 1)
        if needed * count > room:
            refusal = f"{format_size(room)} are free there, and {format_size(needed)} are needed"
            return replace(candidate, start_up=0.0, work=math.inf, refusal=refusal)
    return replace(candidate, free=room)


def alone(candidate: Candidate) -> Candidate:
    return replace(candidate, problem=replace(candidate.problem, together=1))


def seconds(engine: str, problem: Problem) -> float:
    """Estimated seconds, where all of some devices take their share."""
    return engines.load(engine).seconds(problem) / len(problem.devices)


def consider(problem: Problem, names: tuple[str, ...]) -> list[Candidate]:
    found = []
    for name in names:
        engine = engines.load(name)
        takes_several = engine.SHARES or not engine.HAS_MAP
        own = problem if takes_several else replace(problem, together=1)
        refusal = engine.refuse(own)
        if refusal is None:
            start_up, work = engine.start_up(own), seconds(name, own)
        else:
            start_up, work = 0.0, math.inf
        found.append(Candidate(name, own, start_up, work, refusal))
    return found


def working_bytes(chosen: Candidate, tile: tuple[int, int], at_once: int) -> int:
    """Bytes of tiles in flight, and of scores, in float64 with their error, as `runner` keeps."""
    engine = engines.load(chosen.engine)
    each = engine.working_bytes(chosen.problem, *tile)
    together = chosen.problem.together
    if together > 1 and engines.can_share(engine):
        # Kernels of their own; the scores of one at a time, and the highest that they could be.
        own = together * engine.kernel_bytes(chosen.problem, *tile)
        if chosen.problem.device != "cpu":  # each has its own, and what it makes of a tile for all
            own *= at_once
        return at_once * (each + tile[0] * tile[1] * 24) + own
    waiting = 2 * at_once if at_once > 1 else 1
    return at_once * each + waiting * tile[0] * tile[1] * 16


def duration(value: float) -> str:
    return f"{value:.1f} s" if value < 100 else f"{value / 60:.0f} min"
