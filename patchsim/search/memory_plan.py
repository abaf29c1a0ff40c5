"""The plans of a search of windows, in the memory that pictures and outputs leave."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from patchsim.engines import Problem
from patchsim.metrics import Kernel
from patchsim.options import Options
from patchsim.pictures import windowed
from patchsim.planning import batching
from patchsim.planning.batching import Group
from patchsim.planning.planner import NoRoomError
from patchsim.ranking.block_cache import BlockCache
from patchsim.ranking.reduced_map import MOST_SIDE
from patchsim.ranking.score_memory import budget_of, largest_bytes
from patchsim.scene.build import Scene
from patchsim.search import jobs

if TYPE_CHECKING:
    from patchsim.output.streamed_maps import StreamedMaps
    from patchsim.output.targets import Outputs
    from patchsim.search.unkept_maps import UnkeptMaps

_SHARE_OF_REDUCED = 4  # the part of the memory that reduced maps of all kernels take at most
_ANY = 1 << 60  # bytes, of which no share is too small
_LEAST_SIDE = 256  # cells of a reduced map where memory is short


class Planned(NamedTuple):
    """The plans of a search.

    Attributes
    ----------
    groups : list of Group
        Kernels that are searched for together.
    block_cache : BlockCache or None
        Of blocks that are scored again.
    maps : UnkeptMaps or None
        The maps, if they are not kept.
    """

    groups: list[Group]
    block_cache: BlockCache | None
    maps: UnkeptMaps | None


class Room(NamedTuple):
    """The pictures, kernels and outputs of a search of windows, which take memory.

    Attributes
    ----------
    scene : Scene
    options : Options
    outputs : Outputs
    kernels : sequence of Kernel
    problems : () -> list of Problem
        Describes the search for each kernel; how the image is read may change.
    by_blocks : bool
        The bounds of blocks are known, or wanted.
    """

    scene: Scene
    options: Options
    outputs: Outputs
    kernels: Sequence[Kernel]
    problems: Callable[[], list[Problem]]
    by_blocks: bool

    def plan(self, streamed: StreamedMaps | None, *, is_kept: bool) -> Planned:
        """Plan the search.

        Where memory is short, fewer decoded chunks of an image that is read by windows are kept,
        and then reduced maps become smaller.

        Parameters
        ----------
        streamed : StreamedMaps or None
            The files of maps that are not kept.
        is_kept : bool
            Maps are kept, if any are wanted.

        Raises
        ------
        InputError
            If memory does not suffice, or no engine can do it.
        """
        cache = windowed.cache_of(self.scene.image)
        side, share = self.outputs.heatmap_size or MOST_SIDE, self.options.memory
        while True:
            problems, maps = self.problems(), None
            if not is_kept:
                from patchsim.search.unkept_maps import UnkeptMaps

                maps = UnkeptMaps(
                    problems, self.outputs, streamed, side, share // _SHARE_OF_REDUCED
                )
            try:
                return Planned(*self._grouped(problems, maps, is_kept=is_kept), maps)
            except NoRoomError:
                if cache is not None and cache.shrink():
                    continue
                if maps is None or not maps.nbytes or share == _ANY:
                    raise
                # The smallest ones do not depend on the memory: neither does what is named then.
                side, share = (side // 2, share) if side > _LEAST_SIDE else (side, _ANY)

    def planned_anew(self, problems: list[Problem]) -> Planned:
        """Plan the search of an image in memory, of which more is known now."""
        return self._replace(problems=lambda: problems).plan(None, is_kept=True)

    def _held(self, problems: Sequence[Problem]) -> int:
        """Return the bytes that pictures and drawings take during the whole search."""
        sizes = [kernel.size for kernel in self.kernels]
        largest = max(math.prod(problem.map_shape) for problem in problems)
        held = jobs.holding(self.scene, sizes, self.outputs, largest)
        held += sum(kernel.nbytes for kernel in self.kernels) if self.options.poses else 0
        if self.options.subpixel:
            from patchsim.search import subpixel

            held += max(largest_bytes(subpixel.cell(problem)) for problem in problems)
        return held

    def _grouped(
        self, problems: Sequence[Problem], maps: UnkeptMaps | None, *, is_kept: bool
    ) -> tuple[list[Group], BlockCache | None]:
        """Plan which kernels are searched for together, and how their scores are kept.

        With the marks of plans the work of an earlier run goes on, of which the bounds of blocks
        are known.
        """
        marks = None if maps is None else maps.marks
        keeps_map = self.outputs.keeps_map and is_kept
        plan = partial(batching.make, problems)
        if marks is not None:
            from patchsim.planning import replanning  # few maps are resumed

            plan = partial(replanning.make, problems, marks)
        options = self.options
        make = partial(plan, engine=options.engine, device=options.device, memory=options.memory)
        held = self._held(problems) + (0 if maps is None else maps.nbytes)
        # Where tiles find no room beside scores that are kept at ease, as few of these as can be.
        spare = max(0, self.options.memory - held)
        budget = partial(
            budget_of,
            problems,
            kept=keeps_map,
            by_blocks=self.by_blocks or marks is not None,
            by_windows=windowed.of(self.scene.image) is not None,
        )
        score_budget = budget(spare)
        try:
            made = make(
                resident=held + score_budget.resident,
                resident_without_map=held + score_budget.resident_without_map,
            )
        except NoRoomError:
            score_budget = budget(0)
            made = make(
                resident=held + score_budget.resident,
                resident_without_map=held + score_budget.resident_without_map,
            )
        cache = (
            None
            if score_budget.cache is None
            else BlockCache(score_budget.cache, users=len(problems))
        )
        return made, cache
