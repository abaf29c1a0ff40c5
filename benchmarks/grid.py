"""Times patchsim beside the nearest mode of OpenCV over a grid of sizes, types, metrics and tasks.

Run it as ``python benchmarks/grid.py [TABLE]``, with the extra ``bench`` installed. Each cell of
the grid is a row of TABLE, a TSV file (by default ``grid.tsv``). Rows are appended as they are
measured and cells that have one are skipped, so that a run may be stopped and taken up again; start
a new table for another machine or version. ``--quick`` measures a hundred cells, one of each
metric, type, task and number of channels. ``--only zncc,uint8,512x512`` chooses cells: words of one
kind are alternatives, and ``--help`` lists them. ``--picture OUT.png`` measures nothing, but draws
TABLE.

Times are CPU times of one thread, medians of rounds in which both run in turn. patchsim searches
through a `Matcher` that is kept, and OpenCV has the kernel in the type that it needs. A ratio is
OpenCV's time over patchsim's: above 1 patchsim is faster. OpenCV has no `sad`, and computes the
squared difference in its place. It takes no uint16, so that its time is also that of a conversion
of the image to float32. It has one way to do all tasks: the map, and its extremes.

First the answers are checked. patchsim's best score, and its map in some windows, must be those of
the formula in float64, and OpenCV's best window must not score more; otherwise the cell gets no
row, and the run fails. A row says ``same`` if both found the same window (with scores that differ
by less than 0.001, where both compute the same); ``tie`` if the scores of their windows differ by
less than a millionth; ``off`` if OpenCV's window scores less or its score is further off, by
rounding; ``other-metric`` if its window is another one because it does not compute `sad`.

A cell whose rounds would take longer than ``--cap`` seconds is measured once. Where patchsim alone
would take six times that, its time is estimated, and the row says ``estimated``.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import math
import platform
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage.data
from comparison import timing
from comparison.cases import FULL_HD, UHD, noisy, photographs
from numpy.typing import NDArray

import patchsim
from patchsim.metrics import INTEGER_RANGE
from patchsim.output.report import Report
from patchsim.planning.planner import Plan
from patchsim.types import Pixels

STRIP = (128, 2048)
SIZES = [*((side, side) for side in (64, 128, 256, 512, 1024, 2048, 4096)), STRIP, FULL_HD, UHD]
KERNELS = (4, 8, 16, 32, 64, 128, 256, 512)
COLOURS = {"grey": 1, "rgb": 3}
TYPES = ("uint8", "uint16", "float32")
MODES = {
    "sad": cv2.TM_SQDIFF,
    "ssd": cv2.TM_SQDIFF,
    "ncc": cv2.TM_CCORR_NORMED,
    "zncc": cv2.TM_CCOEFF_NORMED,
}
TOLERANCE = 0.02
TASKS = {
    "map": "the whole map",
    "map02": f"a map within {TOLERANCE}",
    "best": "the best match alone",
    "absent": "the same of a kernel that is not there",
}
QUICK = [  # their number has no factor in common with those of types, metrics, tasks and colours
    ((64, 64), 8),
    ((256, 256), 32),
    ((512, 512), 16),
    ((512, 512), 128),
    (STRIP, 32),
    (FULL_HD, 4),
    (FULL_HD, 64),
]

LEAST_ROUNDS, MOST_ROUNDS = 3, 30
CELL_SECONDS = 0.5  # after this there are no more rounds than the least
BURST_SECONDS = 0.005  # what takes less runs several times in a row
CAP_SECONDS = 5.0
ESTIMATED = 6  # times the cap: what takes longer is not waited for

NEAR_ONE = 1e-6  # scores of the best windows
NEAR_OPENCV = 1e-3  # its sums have the precision of float32
NEAR_MAP = 1e-4  # beside the tolerance
CHECKED_WINDOWS = 8


@dataclass(frozen=True)
class Cell:
    """One search of the grid."""

    height: int
    width: int
    kernel: int
    channels: int
    dtype: str
    metric: str
    task: str

    def __str__(self) -> str:
        size = f"{self.height}x{self.width}/{self.kernel}"
        return f"{size} {self.colour} {self.dtype} {self.metric} {self.task}"

    @property
    def colour(self) -> str:
        return next(name for name, count in COLOURS.items() if count == self.channels)

    @property
    def words(self) -> tuple[str, ...]:
        """What `--only` may say of this cell."""
        size = f"{self.height}x{self.width}"
        return size, f"/{self.kernel}", self.colour, self.dtype, self.metric, self.task

    @property
    def order(self) -> tuple[Any, ...]:
        """Small pictures first, and cells of one picture together."""
        picture = (self.height * self.width, self.height, self.channels, self.dtype)
        places = (list(MODES).index(self.metric), list(TASKS).index(self.task))
        return *picture, self.kernel, *places

    @property
    def tolerance(self) -> float:
        return TOLERANCE if self.task == "map02" else 0.0

    @property
    def has_map(self) -> bool:
        return self.task.startswith("map")

    @property
    def span(self) -> int:
        return INTEGER_RANGE.get(self.dtype, 1)


@dataclass(frozen=True)
class Row:
    """What was measured in a cell; without rounds patchsim's time is an estimate."""

    cell: Cell
    patchsim_ms: float
    opencv_ms: float
    engine: str
    answer: str
    rounds: int

    @property
    def ratio(self) -> float:
        return self.opencv_ms / self.patchsim_ms


# -- cells -----------------------------------------------------------------------------------


def grid() -> list[Cell]:
    """All cells; a kernel fits where it has more than one window in each direction."""
    return sorted(
        (
            Cell(*size, kernel, channels, dtype, metric, task)
            for size, kernel, channels, dtype, metric, task in itertools.product(
                SIZES, KERNELS, COLOURS.values(), TYPES, MODES, TASKS
            )
            if kernel < min(size)
        ),
        key=lambda cell: cell.order,
    )


def quick() -> list[Cell]:
    """One cell for each metric, type, task and number of channels; sizes take turns."""
    kinds = itertools.product(MODES, TYPES, TASKS, COLOURS.values())
    cells = []
    for number, (metric, dtype, task, channels) in enumerate(kinds):
        size, kernel = QUICK[number % len(QUICK)]
        cells.append(Cell(*size, kernel, channels, dtype, metric, task))
    return sorted(cells, key=lambda cell: cell.order)


def words() -> list[list[str]]:
    """The words of `--only`, by kind."""
    sizes = [f"{height}x{width}" for height, width in SIZES]
    kernels = [f"/{kernel}" for kernel in KERNELS]
    return [sizes, kernels, list(COLOURS), list(TYPES), list(MODES), list(TASKS)]


def chosen(cells: Iterable[Cell], only: Sequence[str]) -> list[Cell]:
    """Cells of which some word of each kind that is among these is true."""
    asked = [set(kind) & set(only) for kind in words()]
    return [
        cell
        for cell in cells
        if all(not some or word in some for word, some in zip(cell.words, asked, strict=True))
    ]


# -- pictures --------------------------------------------------------------------------------


def typed(pixels: Pixels, dtype: str, channels: int) -> Pixels:
    """Convert photographs of bytes, with digits of their own where a type has more of them."""
    pixels = pixels if channels == 3 else np.ascontiguousarray(pixels[..., 1])
    if dtype == "uint8":
        return pixels
    digits = np.random.default_rng(pixels.shape).integers(-128, 129, pixels.shape, np.int16)
    wide: NDArray[np.uint16] = np.clip(pixels * np.int32(257) + digits, 0, 65535).astype(np.uint16)
    if dtype == "uint16":
        return wide
    floats: NDArray[np.float32] = wide.astype(np.float32) / np.float32(65535)
    return floats


@functools.lru_cache(maxsize=1)
def image_of(height: int, width: int, dtype: str, channels: int) -> Pixels:
    return typed(photographs(height, width), dtype, channels)


def kernel_of(cell: Cell) -> Pixels:
    """A patch of the image with noise of its own, or one of another photograph."""
    side = cell.kernel
    image, top, left = photographs(cell.height, cell.width), cell.height // 3, cell.width // 2
    if cell.task == "absent":
        image, top, left = skimage.data.retina(), 300, 300
    top, left = min(top, image.shape[0] - side), min(left, image.shape[1] - side)
    patch = noisy(image[top : top + side, left : left + side], np.random.default_rng(side))
    return typed(patch, cell.dtype, cell.channels)


# -- contestants -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Found:
    """The best window (x, y) of OpenCV, and its score by patchsim's formula."""

    x: int
    y: int
    score: float


class Opencv:
    """OpenCV's search for a kernel, which has the type that it needs."""

    def __init__(self, kernel: Pixels, cell: Cell) -> None:
        self.mode = MODES[cell.metric]
        self.kernel = kernel.astype(np.float32) if cell.dtype == "uint16" else kernel
        self.most = float(kernel.size) * cell.span**2  # of a sum of squared differences

    def search(self, image: Pixels) -> Found:
        if image.dtype == np.uint16:
            image = image.astype(np.float32)
        scores = cv2.matchTemplate(image, self.kernel, self.mode)
        lowest, highest, first, last = cv2.minMaxLoc(scores)
        if self.mode == cv2.TM_SQDIFF:
            return Found(first[0], first[1], 1 - lowest / self.most)
        return Found(last[0], last[1], highest)


def matcher_of(kernel: Pixels, cell: Cell) -> patchsim.Matcher:
    return patchsim.Matcher(
        kernel, metric=cell.metric, tolerance=cell.tolerance, top=1, margin=False, threads=1
    )


class EndlessError(Exception):
    """A search that would take too long.

    Attributes
    ----------
    seconds : float
        The estimate.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


class Limit(patchsim.Observer):
    """Ends a search that would take longer than some seconds."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.started = time.process_time()
        self.engine = ""

    def planned(self, plan: Plan, kernels: Sequence[str]) -> None:
        del kernels
        self.engine = plan.engine
        # What `pruned` takes depends on the pixels; its estimate is that of the worst.
        if plan.engine != "pruned" and plan.chosen.seconds > self.seconds:
            raise EndlessError(plan.chosen.seconds)

    def progress(self, done: int, total: int) -> None:
        spent = time.process_time() - self.started
        if spent > self.seconds:
            raise EndlessError(spent * total / done)


# -- answers ---------------------------------------------------------------------------------


def formula(cell: Cell, image: Pixels, kernel: Pixels, x: int, y: int) -> float:
    """The score of one window in float64."""
    side = cell.kernel
    window, own = (
        pixels.astype(np.float64).reshape(side * side, -1)
        for pixels in (image[y : y + side, x : x + side], kernel)
    )
    if cell.metric in ("sad", "ssd"):
        power = 1 if cell.metric == "sad" else 2
        return float(1 - np.mean((np.abs(window - own) / cell.span) ** power))
    if cell.metric == "zncc":
        window, own = window - window.mean(0), own - own.mean(0)
    norm = math.sqrt(float((window**2).sum()) * float((own**2).sum()))
    return float((window * own).sum()) / norm if norm else 0.0


class WrongError(Exception):
    """An answer of patchsim is not that of the formula."""


def check_map(cell: Cell, image: Pixels, kernel: Pixels, report: Report) -> None:
    """Compare the map with the formula in some windows.

    Raises
    ------
    WrongError
        If it is further off than was asked.
    """
    scores: NDArray[np.float32] = report.maps[0]
    random = np.random.default_rng(0)
    for _ in range(CHECKED_WINDOWS):
        y, x = (int(random.integers(count)) for count in scores.shape)
        right = formula(cell, image, kernel, x, y)
        if not abs(scores[y, x] - right) <= cell.tolerance + NEAR_MAP:
            raise WrongError(f"map {scores[y, x]:.6f}, not {right:.6f}, at {x},{y}")


def compared(cell: Cell, image: Pixels, kernel: Pixels, report: Report, found: Found) -> str:
    """How OpenCV's answer compares with patchsim's: the word in the row.

    Raises
    ------
    WrongError
        If patchsim's is not right.
    """
    best = report.best
    assert best is not None
    right = formula(cell, image, kernel, best.x, best.y)
    if not abs(best.score - right) <= NEAR_ONE:
        raise WrongError(f"score {best.score:.7f}, not {right:.7f}, at {best.x},{best.y}")
    if cell.has_map:
        check_map(cell, image, kernel, report)
    theirs = formula(cell, image, kernel, found.x, found.y)
    if theirs > right + NEAR_ONE:
        raise WrongError(f"{found.x},{found.y} scores {theirs:.7f}, more than {right:.7f}")
    if cell.metric != "sad" and abs(found.score - theirs) > NEAR_OPENCV:
        return "off"
    if (found.x, found.y) == (best.x, best.y):
        return "same"
    if theirs >= right - NEAR_ONE:
        return "tie"
    return "other-metric" if cell.metric == "sad" else "off"


# -- times -----------------------------------------------------------------------------------


def measured(cell: Cell, cap: float) -> Row:
    """Check the answers of a cell, then time both in turn.

    Raises
    ------
    WrongError
        If patchsim's answer is not right.
    """
    image, kernel = image_of(cell.height, cell.width, cell.dtype, cell.channels), kernel_of(cell)
    matcher, opencv = matcher_of(kernel, cell), Opencv(kernel, cell)

    def ours() -> None:
        matcher.match(image, map=cell.has_map)

    def theirs() -> None:
        opencv.search(image)

    start = time.process_time()
    found = opencv.search(image)
    opencv_seconds = time.process_time() - start
    limit = Limit(ESTIMATED * cap)
    try:
        report = matcher.match(image, map=cell.has_map, observer=limit)
    except EndlessError as endless:
        seconds = endless.seconds
        return Row(cell, seconds * 1e3, opencv_seconds * 1e3, limit.engine, "estimated", 0)
    patchsim_seconds = time.process_time() - limit.started
    answer = compared(cell, image, kernel, report, found)
    rounds = [(patchsim_seconds, opencv_seconds)]
    if sum(rounds[0]) * LEAST_ROUNDS <= cap:
        rounds = list(interleaved(ours, theirs))
    patchsim_ms, opencv_ms = (statistics.median(side) * 1e3 for side in zip(*rounds, strict=True))
    return Row(cell, patchsim_ms, opencv_ms, report.plans[0].engine, answer, len(rounds))


def interleaved(
    ours: Callable[[], None], theirs: Callable[[], None]
) -> Iterator[tuple[float, float]]:
    """CPU seconds of both, round by round."""
    counts = [max(1, int(BURST_SECONDS / least_seconds(run))) for run in (ours, theirs)]
    start = time.perf_counter()
    for number in range(MOST_ROUNDS):
        if number >= LEAST_ROUNDS and time.perf_counter() - start > CELL_SECONDS:
            return
        yield cpu_seconds(ours, counts[0]), cpu_seconds(theirs, counts[1])


def least_seconds(run: Callable[[], None]) -> float:
    """CPU seconds of the quickest of some runs: the first one finds the caches of others."""
    return min(cpu_seconds(run) for _ in range(LEAST_ROUNDS))


def cpu_seconds(run: Callable[[], None], times: int = 1) -> float:
    start = time.process_time()
    for _ in range(times):
        run()
    return (time.process_time() - start) / times


# -- tables ----------------------------------------------------------------------------------

COLUMNS = (
    *(field.name for field in fields(Cell)),
    *("patchsim_ms", "opencv_ms", "ratio", "engine", "answer", "rounds"),
)


def line(values: Iterable[object]) -> str:
    return "\t".join(map(str, values)) + "\n"


def read(path: Path) -> list[Row]:
    """Read a table, without a last line that was not finished."""
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    heading, *rest = text[: text.rfind("\n") + 1].splitlines(keepends=True) or [""]
    if text and heading != line(COLUMNS):
        raise SystemExit(f"{path} is no table of this benchmark; give another path")
    return [row_of(dict(zip(COLUMNS, each.split(), strict=True))) for each in rest]


def row_of(values: Mapping[str, str]) -> Row:
    return Row(
        Cell(
            int(values["height"]), int(values["width"]), int(values["kernel"]),
            int(values["channels"]), values["dtype"], values["metric"], values["task"],
        ),
        float(values["patchsim_ms"]),
        float(values["opencv_ms"]),
        values["engine"],
        values["answer"],
        int(values["rounds"]),
    )  # fmt: skip


def write(path: Path, rows: Iterable[Row], mode: str = "a") -> None:
    """Add rows to a table; with the mode ``w`` begin it with them."""
    with path.open(mode, encoding="utf-8", newline="") as file:
        if mode == "w":
            file.write(line(COLUMNS))
        for row in rows:
            times = (f"{row.patchsim_ms:.4f}", f"{row.opencv_ms:.4f}", f"{row.ratio:.3f}")
            file.write(line((*astuple(row.cell), *times, row.engine, row.answer, row.rounds)))


def summary(rows: Sequence[Row]) -> Iterator[str]:
    """Every cell that patchsim lost, and the medians."""
    lost = sorted((row for row in rows if row.ratio < 1), key=lambda row: row.ratio)
    yield f"\n{len(lost)} of {len(rows)} cells below 1"
    for row in lost:
        yield described(row)
    yield f"\n{'':30}{'median':>8}{'lowest':>8}{'lost':>10}"
    groups: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for row in rows:
        groups[row.cell.metric, row.cell.dtype, row.cell.task].append(row.ratio)
    for kind in itertools.product(MODES, TYPES, TASKS):
        ratios = groups.get(kind)
        if ratios:
            share = f"{sum(ratio < 1 for ratio in ratios)} of {len(ratios)}"
            middle = statistics.median(ratios)
            yield f"{' '.join(kind):30}{middle:8.2f}{min(ratios):8.2f}{share:>10}"
    answers = [row.answer for row in rows]
    counts = ", ".join(f"{word} {answers.count(word)}" for word in sorted(set(answers)))
    yield f"\nanswers: {counts}"


def described(row: Row) -> str:
    times = f"{row.patchsim_ms:10.2f} ms, OpenCV {row.opencv_ms:9.2f} ms"
    mark = "" if row.answer == "same" else f", {row.answer}"
    return f"{row.ratio:8.2f}x  {row.cell!s:42}{times}  {row.engine}{mark}"


def draw(rows: Sequence[Row], path: Path) -> None:
    """Draw medians of ratios over the sizes of kernel and picture, by metric and type."""
    try:
        import matplotlib
    except ImportError:
        raise SystemExit("--picture needs matplotlib, from the extra `bench`") from None

    matplotlib.use("Agg")
    from matplotlib import colors, pyplot

    sizes = sorted({(row.cell.height, row.cell.width) for row in rows}, key=math.prod)
    kernels = sorted({row.cell.kernel for row in rows})
    shape = (len(MODES), len(TYPES))
    figure, panels = pyplot.subplots(
        *shape, figsize=(15, 17), sharex=True, sharey=True, squeeze=False, layout="constrained"
    )
    shown = None
    for axes, (metric, dtype) in zip(panels.flat, itertools.product(MODES, TYPES), strict=True):
        cells: dict[tuple[int, int], list[float]] = defaultdict(list)
        for row in rows:
            cell = row.cell
            if (cell.metric, cell.dtype) == (metric, dtype):
                spot = sizes.index((cell.height, cell.width)), kernels.index(cell.kernel)
                cells[spot].append(row.ratio)
        ratios = np.full((len(sizes), len(kernels)), np.nan)
        for spot, values in cells.items():
            ratios[spot] = statistics.median(values)
            lost = sum(value < 1 for value in values)
            text = f"{ratios[spot]:.2g}" + (f"\n{lost}/{len(values)}" if lost else "")
            ink = "white" if abs(math.log2(ratios[spot])) > 2.2 else "black"
            axes.text(*spot[::-1], text, ha="center", va="center", fontsize=7, color=ink)
        shown = axes.imshow(
            ratios, cmap="RdBu", norm=colors.LogNorm(1 / 16, 16), aspect="auto", origin="lower"
        )
        axes.set_title(f"{metric} {dtype}")
        axes.set_xticks(range(len(kernels)), labels=map(str, kernels))
        axes.set_yticks(range(len(sizes)), labels=[f"{h}x{w}" for h, w in sizes])
    figure.supxlabel("kernel side, pixels")
    figure.supylabel("picture")
    figure.suptitle(
        "Time of OpenCV over that of patchsim, CPU time of one thread: medians;"
        " below them how many cells patchsim lost"
    )
    if shown is not None:
        ticks = [1 / 16, 1 / 4, 1, 4, 16]
        bar = figure.colorbar(shown, ax=panels, extend="both", shrink=0.5, ticks=ticks)
        bar.ax.set_yticklabels(["1/16", "1/4", "1", "4", "16"])
        bar.ax.minorticks_off()
    figure.savefig(path, dpi=110)


# -- the command -----------------------------------------------------------------------------


def run(cells: Sequence[Cell], path: Path, cap: float) -> bool:
    """Measure the cells that the table lacks, and say whether all answers were right."""
    rows = read(path)
    if not rows or not path.read_text(encoding="utf-8").endswith("\n"):
        write(path, rows, "w")
    known = {row.cell for row in rows}
    wrong = []
    for number, cell in enumerate(cells, 1):
        if cell in known:
            continue
        try:
            row = measured(cell, cap)
        except WrongError as error:
            wrong.append(f"WRONG: {cell}: {error}")
            print(wrong[-1], flush=True)
            continue
        write(path, [row])
        rows.append(row)
        print(f"{number:5}/{len(cells)} {described(row)}", flush=True)
    asked = set(cells)
    for text in [*summary([row for row in rows if row.cell in asked]), *wrong]:
        print(text)
    return not wrong


def options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").splitlines()[0],
        epilog="Words of --only: " + "; ".join(" ".join(kind) for kind in words()),
    )
    parser.add_argument("table", nargs="?", type=Path, default=Path("grid.tsv"), metavar="TABLE")
    parser.add_argument(
        "--quick", action="store_true", help="a hundred cells, in about three minutes"
    )
    parser.add_argument(
        "--only", default="", metavar="WORDS", help="cells of these sizes, types and so on"
    )
    parser.add_argument(
        "--cap", type=float, default=CAP_SECONDS, metavar="S", help="measure slower cells once"
    )
    parser.add_argument("--picture", type=Path, metavar="OUT.png", help="draw the table instead")
    given = parser.parse_args(arguments)
    given.only = [word for word in given.only.split(",") if word]
    unknown = set(given.only) - {word for kind in words() for word in kind}
    if unknown:
        parser.error(f"--only does not know {', '.join(sorted(unknown))}; see --help")
    return given


def main() -> None:
    given = options(sys.argv[1:])
    cells = chosen(quick() if given.quick else grid(), given.only)
    if given.picture:
        asked = set(cells)
        draw([row for row in read(given.table) if row.cell in asked], given.picture)
        return
    cv2.setNumThreads(1)
    print(timing.machine())
    versions = {
        "python": platform.python_version(),
        "patchsim": patchsim.__version__,
        "numpy": np.__version__,
        "OpenCV": cv2.__version__,
    }
    print(", ".join(f"{name} {version}" for name, version in versions.items()))
    print(f"{len(cells)} cells; ratios above 1: patchsim is faster", flush=True)
    if not run(cells, given.table, given.cap):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
