"""How well a pose scores: against all of a picture, halved or not, or around a place."""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.engines import Bounds, Problem
from patchsim.errors import InputError
from patchsim.execution import runner
from patchsim.geometry import tiles
from patchsim.geometry.tiles import Tile
from patchsim.machine.memory import format_size
from patchsim.metrics import Kernel, Visibility
from patchsim.options import Options
from patchsim.planning import planner
from patchsim.planning.planner import Plan
from patchsim.poses.warp import Pose, PoseRenderer
from patchsim.ranking.score_map import ScoreMap
from patchsim.scene.build import Scene
from patchsim.search import jobs
from patchsim.search.jobs import Job
from patchsim.search.pyramid import Pyramid
from patchsim.types import Pixels

if TYPE_CHECKING:
    from patchsim.output.targets import Outputs

# What a kernel must keep when it is halved: pixels that count, along a side, and of its variance.
_LEAST_AREA = 100
_LEAST_SIDE = 4
_LEAST_VARIANCE = 0.2

_REACH = 2  # pixels around a place that are searched
_CACHED = 64  # posed kernels at full size, if memory suffices
_SHARE = 4  # part of the memory that is left for them


@dataclass(frozen=True)
class Spot:
    """A window: its score, and the middle of its box in pixels of the picture at full size.

    `window` is, at full size, its top-left pixel in what `Views.sought` has.
    """

    score: float
    y: float
    x: float
    window: tuple[int, int] | None = None


class Views:
    """A scene's kernels in any pose, over its picture at full size, half of it, and so on.

    Parameters
    ----------
    scene : Scene
    options : Options
    engine : str
    wanted : Outputs
    largest : float
        The largest scale of a pose.
    halved : bool
        The picture will be halved.

    Raises
    ------
    InputError
        If memory does not suffice.
    """

    def __init__(
        self,
        scene: Scene,
        options: Options,
        engine: str,
        wanted: Outputs,
        largest: float,
        *,
        halved: bool,
    ) -> None:
        self._scene, self._options = scene, options
        sides = [math.hypot(*size) * largest for size in scene.sizes]
        around = (math.ceil(max(sides)) + 1,) * 2
        self._start = scene.area.origin(around)
        held = jobs.holding(scene, [around], wanted, 0)
        if halved:
            held = held * 4 // 3
        if held > options.memory:
            raise InputError(
                f"memory {format_size(options.memory)} does not suffice;"
                f" {format_size(held)} is the least for these pictures and poses"
            )
        # Posed kernels, and what they are made of, may take a part of what is left.
        share = (options.memory - held) // _SHARE
        held += share
        size = max(kernel.nbytes for kernel in scene.kernels) * max(1.0, largest) ** 2
        planes = max(kernel.pixels.size for kernel in scene.kernels) * max(1.0, largest) ** 2 * 16
        each = share // 3
        kept = _within(each // (planes * len(scene.kernels)), 1)
        self._posings = [PoseRenderer(kernel, kept) for kernel in scene.kernels]
        image = scene.area.padded_views(scene.image, [around], scene.zero)[0]
        self._sizes = Pyramid(image, scene.seen([around])[0])

        @lru_cache(1024)
        def plan_of(problem: Problem) -> Plan:
            memory = held + (options.memory - held) // options.threads
            return planner.make(
                problem, engine=engine, device=options.device, memory=memory, resident=held
            )

        self._plan_of = plan_of
        # A turned kernel's box has up to twice its pixels; halved, it has a quarter.
        self.sought = lru_cache(_within(each // (2 * size), 2))(self._sought)
        self._shown = lru_cache(_within(each // (size / 2), 2, 16))(self._posed_at)

    def _sought(self, number: int, pose: Pose) -> Job | None:
        """A pose at full size; None where it does not fit the picture."""
        scene, area = self._scene, self._scene.area
        kernel = jobs.fitting(scene, self._posings[number], pose, self._options.metric)
        if kernel is None:
            return None
        size = kernel.pixels.shape[:2]
        (top, left), (rows, cols) = self._first(size), area.extent(size)
        pixels = self._sizes.levels[0][top : top + rows, left : left + cols]
        problem = self._problem(kernel, (rows, cols), None)
        visible = self._sizes.visible(0, np.s_[top : top + rows, left : left + cols])
        origin = area.origin(size)
        return Job(number, pose, kernel, pixels, origin, self._plan(problem), visible)

    def _first(self, size: tuple[int, int]) -> tuple[int, int]:
        """Row and column in the full image of the first window of this (height, width)."""
        origin = self._scene.area.origin(size)
        return origin[0] - self._start[0], origin[1] - self._start[1]

    def _problem(
        self, kernel: Kernel, extent: tuple[int, int], stride: tuple[int, int] | None = (1, 1)
    ) -> Problem:
        found = jobs.problem(
            self._scene, self._options, kernel, extent, stride=stride, map_wanted=True, threads=1
        )
        return replace(found, tolerance=0.0)

    def _plan(self, problem: Problem) -> Plan:
        """One for all problems that differ by their weights' sum alone."""
        if problem.weight_sum is None:
            return self._plan_of(problem)
        found = self._plan_of(replace(problem, weight_sum=1, min_visible_weight=0))
        return replace(
            found, chosen=replace(found.chosen, problem=problem), exact_plan=None, direct_plan=None
        )

    def _posed_at(self, number: int, pose: Pose, level: int) -> Kernel | None:
        return self._posings[number](replace(pose, scale=pose.scale / 2**level))

    def first_level(self, number: int, scale: float) -> int:
        """How often the picture is halved for the first look at a kernel."""
        kernel = self._scene.kernels[number]
        height, width = kernel.pixels.shape[:2]
        counted = height * width if kernel.weights is None else np.count_nonzero(kernel.weights)
        level, variance = 0, _variance(kernel)
        while True:
            by = scale / 2 ** (level + 1)
            if counted * by * by < _LEAST_AREA or min(height, width) * by < _LEAST_SIDE:
                return level
            shown = self._posings[number](Pose(scale=by)) if by < 1 else kernel
            if shown is None or _variance(shown) < _LEAST_VARIANCE * variance:
                return level
            if min(self._sizes.levels[level].shape[:2]) < 2 * _LEAST_SIDE:
                return level
            level += 1
            self._sizes.reach(level)

    @property
    def levels(self) -> int:
        """Sizes of the picture that were asked for."""
        return len(self._sizes.levels)

    def everywhere(self, number: int, pose: Pose, level: int, most: int) -> list[Spot]:
        """The best windows of a pose, at most one of each part of the picture."""
        kernel = self._shown(number, pose, level)
        if kernel is None:
            return []
        factor = 2**level
        height, width = kernel.pixels.shape[:2]
        # With padding, smaller poses have no windows far outside.
        box = pose.box(self._scene.sizes[number])
        (top, left), (rows, cols) = self._first(box), self._scene.area.extent(box)
        down, across = top // factor, left // factor
        where = np.s_[
            down : max(-(-(top + rows) // factor), down + height),
            across : max(-(-(left + cols) // factor), across + width),
        ]
        view, visible = self._sizes.levels[level][where], self._sizes.visible(level, where)
        if view.shape[0] < height or view.shape[1] < width:
            # As large as the picture, and rounded up when both were halved.
            return [Spot(-1.0, top + rows / 2, left + cols / 2)]
        stride = tiles.clamp_stride(self._options.stride, (rows, cols)) if level == 0 else (1, 1)
        problem = self._problem(kernel, view.shape[:2], stride)
        if not metrics.has_scores(kernel, problem.metric):
            return []
        found = []
        side = max(2, min(height // stride[0], width // stride[1]) // 2)
        chosen = self._plan(problem)
        prepared = runner.prepare(chosen, kernel)
        with closing(runner.run(chosen, view, prepared, visible=visible)) as scored:
            for tile, bounds in scored:
                for row, col, score in _block_maxima(_shown(bounds), side, most):
                    y = down + (tile.top + row) * stride[0] + height / 2
                    x = across + (tile.left + col) * stride[1] + width / 2
                    found.append(Spot(score, y * factor, x * factor))
        return sorted(found, key=lambda spot: -spot.score)[:most]

    def near(self, number: int, pose: Pose, level: int, spot: Spot) -> Spot | None:
        """The best window of a pose around a place, at full size with its exact score."""
        if level == 0:
            return self._exactly(number, pose, spot)
        kernel = self._shown(number, pose, level)
        if kernel is None:
            return None
        image, factor = self._sizes.levels[level], 2**level
        height, width = kernel.pixels.shape[:2]
        top, rows = _span(spot.y / factor - height / 2, image.shape[0] - height)
        left, cols = _span(spot.x / factor - width / 2, image.shape[1] - width)
        if rows < 1 or cols < 1:
            return None
        where = np.s_[top : top + rows - 1 + height, left : left + cols - 1 + width]
        view = image[where]
        problem = self._problem(kernel, view.shape[:2])
        if not metrics.has_scores(kernel, problem.metric):
            return None
        visible = self._sizes.visible(level, where)
        scores = _shown(self._scored(problem, kernel, view, visible))
        row, col = divmod(int(scores.argmax()), scores.shape[1])
        if scores[row, col] == -np.inf:
            return None
        y, x = (top + row + height / 2) * factor, (left + col + width / 2) * factor
        return Spot(float(scores[row, col]), y, x)

    def _exactly(self, number: int, pose: Pose, spot: Spot) -> Spot | None:
        """Return the best spot near another at full size, where scores are exact."""
        full = self.sought(number, pose)
        if full is None:
            return None
        problem = full.plan.problem
        height, width = problem.kernel[:2]
        # The middle of the box, in pixels of what the pose is searched in.
        down, across = self._first(full.size)
        y, x = spot.y - down, spot.x - across
        rows, cols = problem.map_shape
        top, tall = _span(y - height / 2, rows - 1, problem.stride[0])
        left, wide = _span(x - width / 2, cols - 1, problem.stride[1])
        if tall < 1 or wide < 1:
            return None
        tile = Tile(top, left, tall, wide)
        where = tile.source(problem.kernel[:2], problem.stride)
        view = full.pixels[where]
        visible = full.visible and full.visible.crop(where)
        part = self._problem(full.kernel, view.shape[:2], problem.stride)
        exact = metrics.exact(
            view,
            full.kernel.pixels,
            problem.metric,
            problem.data_range,
            full.kernel.weights,
            visible,
        )
        field = ScoreMap((tall, wide), problem.kernel[:2], problem.stride, exact)
        field.put(Tile(0, 0, tall, wide), self._scored(part, full.kernel, view, visible))
        best = field.best(-math.inf)
        if best is None:  # too little is visible
            return None
        row, col = where[0].start + best[0], where[1].start + best[1]
        return self.spot(full, row, col, best[2])

    def spot(self, full: Job, y: int, x: int, score: float) -> Spot:
        """The window of a pose at full size whose top-left pixel is there."""
        (down, across), (height, width) = self._first(full.size), full.size
        return Spot(score, y + down + height / 2, x + across + width / 2, (y, x))

    def _scored(
        self, problem: Problem, kernel: Kernel, view: Pixels, visible: Visibility | None
    ) -> Bounds:
        prepared = runner.prepare(self._plan(problem), kernel)
        return prepared(view) if visible is None else prepared(view, visible.levels)


def _within(count: float, least: int, times: int = 1) -> int:
    """How many posed kernels to keep, of those that memory has room for."""
    return max(least, min(times * _CACHED, int(count)))


def _shown(bounds: Bounds) -> NDArray[np.float64]:
    """The scores; of windows of which too little is visible -inf."""
    scores = bounds.map.astype(np.float64, copy=False)
    return scores if bounds.hidden is None else np.where(bounds.hidden, -np.inf, scores)


def _variance(kernel: Kernel) -> float:
    """Return the variance of the values that count, of all channels together."""
    pixels = kernel.pixels.astype(np.float64)
    if kernel.weights is not None:
        weights = kernel.weights.reshape(*kernel.pixels.shape[:2], -1)
        counted = np.broadcast_to(weights > 0, pixels.shape)
        spread = [pixels[..., c][counted[..., c]].var() for c in range(pixels.shape[2])
                  if counted[..., c].any()]  # fmt: skip
        return float(np.sum(spread))
    return float(pixels.var((0, 1)).sum())


def _block_maxima(
    scores: NDArray[np.float64], side: int, most: int
) -> list[tuple[int, int, float]]:
    """Row, column and score of the best cell of each block, the best `most` of them."""
    rows, cols = scores.shape
    down, across = -(-rows // side), -(-cols // side)
    padded = np.full((down * side, across * side), -np.inf)
    padded[:rows, :cols] = scores
    blocks = padded.reshape(down, side, across, side).transpose(0, 2, 1, 3).reshape(-1, side**2)
    cells = blocks.argmax(1)
    values = blocks[np.arange(len(blocks)), cells]
    first = np.argsort(-values, kind="stable")[:most]
    first = first[values[first] > -np.inf]
    top, left = np.divmod(first, across)
    row, col = np.divmod(cells[first], side)
    return list(
        zip(
            (top * side + row).tolist(),
            (left * side + col).tolist(),
            values[first].tolist(),
            strict=True,
        )
    )


def _span(start: float, last: int, stride: int = 1) -> tuple[int, int]:
    """First and number of the cells within `_REACH` pixels of a place, and within 0 to `last`."""
    first = max(0, math.ceil((start - max(_REACH, stride)) / stride))
    final = min(last, math.floor((start + max(_REACH, stride)) / stride))
    return first, final - first + 1
