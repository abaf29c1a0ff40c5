"""The search of windows: every kernel, as it is or in every pose, against every window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from patchsim import metrics
from patchsim.engines import Problem
from patchsim.engines.common.sad_terms import Counting, Fitting
from patchsim.metrics import Kernel
from patchsim.options import AUTO, Options
from patchsim.pictures import windowed
from patchsim.planning import batching
from patchsim.planning.batching import Group
from patchsim.ranking.block_cache import BlockCache
from patchsim.scene.build import Scene
from patchsim.search import contender_share, jobs, posed_kernels, windows
from patchsim.search.jobs import Found, Job, Scored
from patchsim.search.memory_plan import Room
from patchsim.search.posed_kernels import PosedKernel
from patchsim.search.prepared import KeptKernels, PreparedKernels
from patchsim.search.progress import Tell, part_of, untold

if TYPE_CHECKING:
    from patchsim.events import Observer
    from patchsim.geometry.tiles import Tile
    from patchsim.output.streamed_maps import StreamedMaps
    from patchsim.output.targets import Outputs
    from patchsim.search.bands import BandBounds, BandSource


_POSING = 0.5  # the share of the preparation of kernels that makes their poses


class Exhaustive:
    """Every kernel as it is, or in every pose of lists and steps, against every window.

    Parameters
    ----------
    scene : Scene
    options : Options
    outputs : Outputs
    kept : KeptKernels, optional
        What other images of the kernels left prepared.
    streamed : StreamedMaps, optional
        Where maps are written that are too large to be kept.
    bands : BandSource, optional
        Where the scores come from, if not from here; no map is made then.
    by_bands : bool
        `score_band` is called in place of `run`, perhaps for another process.
    is_repeated : bool
        The image is like the one before, so that more are expected than `kept` says.
    tell : share -> None
        Told of the share of the preparation that is done, which takes seconds for thousands of
        poses.

    Raises
    ------
    InputError
        If a kernel fits in no pose, or memory does not suffice.
    """

    def __init__(
        self,
        scene: Scene,
        options: Options,
        outputs: Outputs,
        kept: KeptKernels | None = None,
        streamed: StreamedMaps | None = None,
        bands: BandSource | None = None,
        *,
        by_bands: bool = False,
        is_repeated: bool = False,
        tell: Tell = untold,
    ) -> None:
        self._kept, self._bands = kept, bands
        self._prepared = PreparedKernels(kept)
        by_bands |= bands is not None
        if bands is not None:  # a few blocks are scored here: a device is where the bands are
            options = _on_this_cpu(options)
        # The map of an image that is not held in memory is not either.
        resumes = streamed is not None and streamed.is_resumed
        is_kept = windowed.of(scene.image) is None and not resumes
        keeps_map = outputs.keeps_map and is_kept
        self._names, self._keeps_map = scene.labels, keeps_map
        posed = list(posed_kernels.of(scene, options, part_of(tell, 0, _POSING)))
        kernels = [one.kernel for one in posed]
        sizes = [kernel.size for kernel in kernels]
        fitting = contender_share.fitting(kernels, is_repeated=is_repeated)
        problems = partial(
            _problems,
            scene,
            kernels,
            options,
            outputs,
            by_bands=by_bands,
            image_count=1 if kept is None else kept.image_count,
            fitting=fitting,
            tell=part_of(tell, _POSING, 1 - _POSING),
        )
        # Pixels are looked at only where an engine is chosen without whose time depends on them.
        chooses = is_kept and options.engine == "auto"
        quickly = partial(problems, counting="fewest") if chooses else problems
        room = Room(scene, options, outputs, kernels, quickly, by_bands)
        planned = room.plan(streamed, is_kept=is_kept)
        if chooses:
            planned = contender_share.chosen_anew(planned, room, problems, fitting)
        self._groups, self._block_cache, self._maps = planned
        self._jobs = _jobs(scene, options, posed, sizes, self._groups)
        self._opposites = _opposites(scene, options, self._jobs)

    @property
    def jobs(self) -> Sequence[Job]:
        """The jobs, one for each kernel in each pose."""
        return self._jobs

    @property
    def block_cache(self) -> BlockCache | None:
        """Where open blocks are kept if not all scores are."""
        return self._block_cache

    def run(
        self, observer: Observer, tell: Tell | None = None, seconds: float | None = None
    ) -> Found:
        """Score all windows of all jobs.

        Parameters
        ----------
        observer : Observer
        tell : share -> None, optional
            Told of the share of the windows that are done, in place of the observer.
        seconds : float, optional
            As for `jobs.warn`.
        """
        self.tell_plans(observer, seconds)
        if self._bands is not None:
            return self._gathered(self._bands, observer)
        return Found(self._score(observer, tell))

    def tell_plans(self, observer: Observer, seconds: float | None = None) -> None:
        """Tell the observer how the jobs are scored."""
        jobs.warn(self._jobs, observer, seconds)
        for plan, numbers in jobs.by_plan(self._jobs):
            observer.planned(plan, [self._jobs[i].label(self._names) for i in numbers])

    def score_band(self, numbers: Sequence[int], top: int, rows: int) -> list[BandBounds]:
        """Score a band of the maps of jobs, given by their numbers.

        Parameters
        ----------
        numbers : sequence of int
            Of jobs; one whose scores are those of another with the other sign comes with that.
        top, rows : int
            The first row, a multiple of `geometry.blocks.BLOCK`, and the number of rows.

        Returns
        -------
        list of BandBounds
            One for each of the jobs whose map has rows in the band.
        """
        from patchsim.search import bands as band_scores  # few searches are of bands

        wanted = set(numbers)
        bands: list[BandBounds] = []
        for together in self.parts:
            members = [i for i in together if i in wanted]
            if members:
                bands += band_scores.score(
                    self._jobs, members, top, rows, self._prepared, self._opposites
                )
        return bands

    def _gathered(self, source: BandSource, observer: Observer) -> Found:
        """Take the bounds of all blocks from elsewhere; blocks are scored again when asked for."""
        assert self._block_cache is not None
        total = sum(math.prod(job.plan.problem.map_shape) for job in self._jobs)
        done = 0
        missing = set()
        stores = [
            windows.unscored(
                job.plan, job.pixels, job.kernel, job.visible, self._block_cache, self._prepared
            )
            for job in self._jobs
        ]
        with closing(source.bounds(self._jobs, self.parts)) as bands:
            for band in bands:
                stores[band.job].put_bounds(band.top, band.upper_bounds, band.error)
                if band.is_missing:
                    missing.add(band.box(self._jobs[band.job]))
                done += band.rows * self._jobs[band.job].plan.problem.map_shape[1]
                observer.progress(done, total)
        scored = [Scored(job, store) for job, store in zip(self._jobs, stores, strict=True)]
        return Found(scored, missing=tuple(sorted(missing, key=lambda box: (box[1], box[0], box))))

    def _score(self, observer: Observer, tell: Tell | None) -> list[Scored]:
        total = sum(math.prod(job.plan.problem.map_shape) for job in self._jobs)
        done = 0

        def advance(tile: Tile) -> None:
            nonlocal done
            done += tile.cells
            if tell is None:
                observer.progress(done, total)
            else:
                tell(done / total)

        scored: dict[int, Scored] = {}
        for numbers in self.parts:
            members = [self._jobs[i] for i in numbers]
            place_of = {i: place for place, i in enumerate(numbers)}
            maps = self._maps and self._maps.begin(members, numbers, observer)
            windows_of_jobs = windows.windows(
                [job.plan for job in members],
                members[0].pixels,
                [job.kernel for job in members],
                members[0].visible,
                keeps_map=self._keeps_map,
                advance=advance,
                block_cache=self._block_cache,
                prepared=self._prepared,
                opposites={
                    place: place_of[self._opposites[i]]
                    for place, i in enumerate(numbers)
                    if i in self._opposites
                },
                takers=maps.takers if maps else (),
                known=maps.known if maps else (),
            )
            for place, (i, job, one) in enumerate(
                zip(numbers, members, windows_of_jobs, strict=True)
            ):
                reduced = maps.reduced[place] if maps and maps.reduced else None
                scored[i] = Scored(job, one, reduced)
        return [scored[i] for i in range(len(self._jobs))]

    @property
    def parts(self) -> list[list[int]]:
        """The numbers of jobs that are scored together, each beside one with the same scores."""
        if not self._opposites:
            return [[*group.members] for group in self._groups]
        copies = {other: number for number, other in self._opposites.items()}
        parts = []
        for group in self._groups:
            members = [i for i in group.members if i not in self._opposites]
            parts.append(members + [copies[i] for i in members if i in copies])
        return list(filter(None, parts))


def _problems(
    scene: Scene,
    kernels: Sequence[Kernel],
    options: Options,
    outputs: Outputs,
    *,
    by_bands: bool,
    image_count: int,
    fitting: Fitting,
    tell: Tell,
    counting: Counting = "exact",
) -> list[Problem]:
    # `auto` asks for many places with low scores, which take longer to find than a map to make.
    is_auto = options.engine == "auto" and options.threshold == AUTO
    has_map = outputs.keeps_map or is_auto or by_bands
    problems = []
    for count, kernel in enumerate(kernels, 1):
        problem = jobs.problem(
            scene,
            options,
            kernel,
            scene.area.extent(kernel.size),
            map_wanted=has_map,
            # Only engines that draw no map differ by it.
            share_wanted=0.0 if has_map else _share_wanted(scene, kernel, options),
            counting=counting,
            fitting=fitting,
            image_count=image_count,
        )
        problems.append(problem)
        tell(count / len(kernels))
    return problems


def _share_wanted(scene: Scene, kernel: Kernel, options: Options) -> float:
    from patchsim.search import threshold_share  # as the engines are that draw no map

    return threshold_share.share(scene, kernel, options)


def _jobs(
    scene: Scene,
    options: Options,
    posed: Sequence[PosedKernel],
    sizes: Sequence[tuple[int, int]],
    groups: Sequence[Group],
) -> list[Job]:
    common = {number: group.common for group in groups for number in group.members}
    areas = scene.padded(sizes)
    plans, seen = batching.plans(groups), scene.seen(sizes)
    made = []
    for i, one in enumerate(posed):
        down, across = plans[i].problem.skipped
        visible = seen[i]
        if visible is not None:
            from patchsim.pictures import plane  # where something is hidden

            levels = plane.without_first(visible.levels, down, across)
            visible = visible._replace(levels=levels)
        made.append(
            Job(
                number=one.number,
                pose=one.pose,
                kernel=one.kernel,
                pixels=windowed.without_first(areas[i], down, across),
                origin=jobs.origin(scene, one.kernel, options),
                plan=plans[i],
                visible=visible,
                common=common[i],
            )
        )
    return made


def _on_this_cpu(options: Options) -> Options:
    """Return options for single blocks, which other engines than a device's can score."""
    if options.device in ("auto", "cpu"):
        return replace(options, device="cpu")
    return replace(options, device="cpu", engine="auto")


def _opposites(scene: Scene, options: Options, jobs: Sequence[Job]) -> dict[int, int]:
    """Return which jobs are of inverted kernels, and the jobs whose scores tell theirs, too.

    A metric that takes the means off gives both the same scores with another sign. Kernels that
    were resampled are rounded, so that they are no exact opposites.
    """
    if not scene.has_inverted or not metrics.formula_of(options.metric).subtracts_means:
        return {}
    number_of = {(job.number, job.pose): number for number, job in enumerate(jobs)}
    return {
        number: number_of[job.number - scene.given, job.pose]
        for number, job in enumerate(jobs)
        if (job.number - scene.given, job.pose) in number_of
        and job.pose.scales == (1.0, 1.0)
        and job.pose.angle % 90 == 0
    }
