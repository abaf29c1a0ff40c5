"""Plans that go on with the work of an earlier process: its engine, device, tiles and groups.

The scores of an engine with an error may differ in their last bits from tile to tile, and a map is
kept in chunks of whole tiles. So the tiles of an earlier plan stay, whatever the memory and the
threads of this process would lead to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from patchsim import engines
from patchsim.checks import whole_number
from patchsim.engines import Problem
from patchsim.errors import InputError
from patchsim.geometry.tiles import Tile
from patchsim.machine.memory import format_size
from patchsim.planning import batching
from patchsim.planning import candidates as considered
from patchsim.planning.batching import Group
from patchsim.planning.planner import Plan


class PlanMarks(NamedTuple):
    """The part of a kernel's plan on which the scores of its map depend.

    Attributes
    ----------
    engine, device : str
    tile : (rows, cols)
    group : tuple of int
        The numbers of the kernels that are searched together, in ascending order.
    """

    engine: str
    device: str
    tile: tuple[int, int]
    group: tuple[int, ...]

    @classmethod
    def of(cls, plan: Plan, group: Sequence[int]) -> PlanMarks:
        """Return the marks of a plan of these kernels."""
        return cls(plan.engine, plan.problem.device, plan.tile, tuple(sorted(group)))

    @classmethod
    def from_json(cls, given: Any) -> PlanMarks | None:
        """Return the marks that `to_json` gave, or None if it did not give this."""
        if not isinstance(given, Mapping):
            return None
        names = given.get("engine"), given.get("device")
        numbers = given.get("tile"), given.get("group")
        if not all(isinstance(name, str) for name in names):
            return None
        if not all(isinstance(one, list) and all(map(_is_whole, one)) for one in numbers):
            return None
        tile, group = map(tuple, numbers)  # type: ignore[arg-type] # they are lists
        if len(tile) != 2 or min(tile) < 1 or not group:
            return None
        return cls(str(names[0]), str(names[1]), (tile[0], tile[1]), group)

    def to_json(self) -> dict[str, Any]:
        """Return the marks as a JSON object."""
        return {
            "engine": self.engine,
            "device": self.device,
            "tile": list(self.tile),
            "group": list(self.group),
        }


def make(
    problems: Sequence[Problem],
    marks: Sequence[PlanMarks | None],
    *,
    engine: str,
    device: str,
    memory: int,
    resident: int,
    resident_without_map: int | None = None,  # noqa: ARG001 - as `batching.make` has it
) -> list[Group]:
    """Plan all problems as `batching.make` does, those with marks as their marks say.

    Raises
    ------
    InputError
        If memory does not suffice for the same tiles and groups, or the engine or device is not
        there any more.
    """
    plan = partial(batching.make, memory=memory, resident=resident)
    marked = {number: one for one in marks if one is not None for number in one.group}
    groups = []
    for one in dict.fromkeys(marked.values()):
        made = plan([problems[i] for i in one.group], engine=one.engine, device=one.device)
        if len(made) != 1:
            raise _too_little(memory, f"{len(one.group)} kernels together")
        groups.append(_renumbered(_with_tile(made[0], one.tile), one.group))
    rest = [i for i in range(len(problems)) if i not in marked]
    if rest:
        made = plan([problems[i] for i in rest], engine=engine, device=device)
        groups += [_renumbered(group, rest) for group in made]
    return groups


def _renumbered(group: Group, numbers: Sequence[int]) -> Group:
    """Return a group whose members are the numbers of some of all problems."""
    return group._replace(members=tuple(numbers[member] for member in group.members))


def _with_tile(group: Group, tile: tuple[int, int]) -> Group:
    """Return a group with other tiles, as many in parallel as memory suffices for."""
    plan = group.common
    chosen, resident, free = plan.chosen, plan.resident, plan.chosen.free_bytes
    memory = plan.memory if free is None else min(plan.memory, resident + free)
    rows, cols = plan.problem.map_shape
    tiles = -(-rows // tile[0]) * -(-cols // tile[1])
    parallel = 1 if engines.load(plan.engine).OWN_THREADS else min(plan.problem.threads, tiles)
    while parallel > 1 and resident + considered.working_bytes(chosen, tile, parallel) > memory:
        parallel -= 1
    working = considered.working_bytes(chosen, tile, parallel)
    if resident + working > memory:
        windows = Tile(0, 0, *tile)
        raise _too_little(
            memory,
            f"tiles of {windows.cols}x{windows.rows} windows",
            format_size(resident + working),
        )
    changed = partial(replace, tile=tile, parallel=parallel, working=working)
    return group._replace(common=changed(plan), plans=tuple(changed(one) for one in group.plans))


def _too_little(memory: int, what: str, needed: str | None = None) -> InputError:
    takes = "" if needed is None else f", which take {needed}"
    return InputError(
        f"memory {format_size(memory)} does not suffice for {what} as in the run that this one"
        f" goes on with{takes};\nallow more with --memory (memory=)"
    )


def _is_whole(value: object) -> bool:
    return whole_number(value) is not None
