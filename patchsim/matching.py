"""`match()`: the whole search in one screen."""

from __future__ import annotations

import math
import operator
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

from patchsim import (
    budget,
    devices,
    images,
    metrics,
    outputs,
    peaks,
    plan,
    search,
    tiles,
    unify,
)
from patchsim.engines import Problem
from patchsim.errors import InputError, OutputError, shown
from patchsim.observer import Observer
from patchsim.plan import Plan
from patchsim.report import KernelReport, Match, Report

if TYPE_CHECKING:
    from patchsim.images import Source
    from patchsim.metrics import Pixels
    from patchsim.outputs import Outputs, PathLike
    from patchsim.tiles import Tile

DEFAULT_TOP = 5
DEFAULT_OVERLAP = 0.3


def match(
    image: Source,
    kernel: Source | Sequence[Source],
    *,
    stride: int | tuple[int, int] = 1,
    metric: str = metrics.DEFAULT,
    device: str = "auto",
    engine: str = "auto",
    top: int | None = None,
    threshold: float | None = None,
    overlap: float = DEFAULT_OVERLAP,
    map: bool | PathLike = False,
    heatmap: PathLike | None = None,
    overlay: PathLike | None = None,
    tolerance: float = 0.0,
    data_range: tuple[float, float] | None = None,
    max_pixels: int = images.DEFAULT_MAX_PIXELS,
    memory: int | str | None = None,
    threads: int | None = None,
    observer: Observer | None = None,
) -> Report:
    """Find a kernel image, or several, in an image.

    Every window of the image that the kernel fits gets a score over its pixels and channels, 1 if
    it is identical: by default ``1 - mean(|window - kernel|) / R``, R being the data range.

    Parameters
    ----------
    image : path, PIL image, or array [H, W] or [H, W, C]
        uint8, uint16 or floating point. The path ``-`` reads standard input.
    kernel : the same, or a list of them
        No larger than the image. Grey is compared with grey, otherwise as RGB; 8 with 16 bits as
        16, integers with floats as floats.
    stride : int or (y, x)
        Step between windows in pixels.
    metric : str
        ``sad``, the formula above; ``ssd``, ``1 - mean((window - kernel)**2) / R**2``; ``ncc``,
        the cosine between window and kernel; ``zncc``, their correlation: the cosine after each
        channel's mean is taken off both. A window without contrast scores 0 in `zncc`, a black
        one in `ncc`.
    device : str
        ``auto``, ``cpu``, ``cuda``, ``cuda:1``, ``mps``, ``xpu``.
    engine : str
        ``auto`` or the name of an engine, which is then used or refuses.
    top : int, optional
        How many matches at the most, over all kernels: 5, or with a threshold all.
    threshold : float, optional
        The lowest score of a match, -1 to 1.
    overlap : float
        Of two windows with a larger intersection over union the lower one is dropped, 0 to 1.
    map : bool or path
        Keep the scores of all windows in the report; with a path also write them as .npy.
    heatmap, overlay : path, optional
        PNG files to write: the map in colours; the image with numbered boxes. With several
        kernels the paths of `heatmap` and `map` contain ``{kernel}``.
    tolerance : float
        How far the map's scores may be off, beside rounding; with some a search for a large kernel
        is faster. The matches are exact all the same.
    data_range : (low, high), optional
        The range of the pixel values, R being its width: by default 0 to 255 for uint8, 65535 for
        uint16 and 1 for floats. With it all values are taken as they are.
    max_pixels : int
        The largest picture to decode.
    memory : int or str, optional
        Bytes, or a size such as ``"512MB"``, that the search may take: by default a quarter of
        what is available.
    threads : int, optional
        By default the CPUs that this process may use.
    observer : Observer, optional
        Told of notices, plans, progress and files as they come.

    Returns
    -------
    Report

    Raises
    ------
    InputError
        A ValueError: what was asked cannot be done.
    OutputError
        A file could not be written; its `report` has the matches.

    Examples
    --------
    >>> import numpy as np, patchsim
    >>> image = np.arange(200, dtype=np.uint8).reshape(10, 20)
    >>> best = patchsim.match(image, image[4:7, 5:9]).best
    >>> best.x, best.y, best.score
    (5, 4, 1.0)
    """
    started = time.perf_counter()
    observer = observer or Observer()
    options = _Options.checked(
        stride, metric, device, top, threshold, overlap, tolerance, memory, threads, max_pixels
    )
    pictures = _open(image, _as_list(kernel), options)
    notices = tuple(dict.fromkeys(text for picture in pictures for text in picture.notices))
    for text in notices:
        observer.notice(text)
    names = [picture.name for picture in pictures]
    wanted = outputs.check(pictures, map, heatmap, overlay)
    unified, low, span = unify.unify(pictures, data_range)
    for kernel_pixels, name in zip(unified[1:], names[1:], strict=True):
        metrics.check_kernel(kernel_pixels, options.metric, name)
    del pictures  # the unified pixels replace them
    plans = _plans(unified, names, span, options, engine, wanted)
    for number, chosen in enumerate(plans):
        observer.planned(chosen, names[1 + number])

    fields = _score(plans, unified, wanted.keeps_map, observer)
    best = peaks.resolve(
        fields, top=options.top, threshold=options.threshold, overlap=options.overlap
    )
    maps = [field.map for field in fields if field.map is not None]
    for field, chosen, name in zip(fields, plans, names[1:], strict=True):
        observer.resolved(field, chosen, name)
    height, width, _ = unified[0].shape
    report = Report(
        image=names[0],
        width=width,
        height=height,
        metric=options.metric,
        stride=options.stride,
        device=plans[0].problem.device,
        kernels=_kernel_reports(plans, fields, names[1:], wanted),
        matches=tuple(_match(peak, unified[1:], names[1:]) for peak in best),
        maps=tuple(maps) if map is not False else (),
        plans=tuple(plans),
        notices=notices,
        seconds=time.perf_counter() - started,
    )
    try:
        wanted.write(report, maps, unified[0], span, low, observer)
    except OutputError as error:
        error.report = report
        raise
    return replace(report, seconds=time.perf_counter() - started)


@dataclass(frozen=True)
class _Options:
    """What was asked, checked and with its defaults."""

    stride: tuple[int, int]
    metric: str
    device: str
    top: int | None
    threshold: float | None
    overlap: float
    tolerance: float
    memory: int
    threads: int
    max_pixels: int

    @classmethod
    def checked(
        cls,
        stride: int | tuple[int, int],
        metric: str,
        device: str,
        top: int | None,
        threshold: float | None,
        overlap: float,
        tolerance: float,
        memory: int | str | None,
        threads: int | None,
        max_pixels: int,
    ) -> _Options:
        top = None if top is None else _whole(top, "top")
        threshold = None if threshold is None else _number(threshold, "threshold")
        overlap, tolerance = _number(overlap, "overlap"), _number(tolerance, "tolerance")
        threads = devices.cpu_count() if threads is None else _whole(threads, "threads")
        max_pixels = _whole(max_pixels, "max-pixels")
        if threshold is not None and not -1 <= threshold <= 1:
            raise InputError(f"threshold {threshold} cannot be a score; give one from -1 to 1")
        if not 0 <= overlap <= 1:
            raise InputError(f"overlap {overlap} is not a share; give one from 0 to 1")
        if not 0 <= tolerance <= 1:
            raise InputError(f"tolerance {tolerance} is not possible; give one from 0 to 1")
        return cls(
            stride=tiles.stride_pair(stride),
            metric=metrics.check_name(metric),
            device=devices.check_name(device),
            top=DEFAULT_TOP if top is None and threshold is None else top,
            threshold=threshold,
            overlap=overlap,
            tolerance=tolerance,
            memory=budget.default() if memory is None else budget.parse(memory),
            threads=threads,
            max_pixels=max_pixels,
        )


def _whole(value: object, option: str) -> int:
    """A whole number from 1."""
    try:
        count = operator.index(value)  # type: ignore[arg-type]
    except TypeError:
        count = 0
    if count < 1:
        raise InputError(f"{option} {value!r} is not possible; give a whole number from 1")
    return count


def _number(value: object, option: str) -> float:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InputError(f"{option} {value!r} is not a number") from None


def _as_list(kernel: Source | Sequence[Source]) -> list[Source]:
    if isinstance(kernel, list | tuple):
        kernels: list[Source] = list(kernel)
    else:
        kernels = [cast("Source", kernel)]
    if not kernels:
        raise InputError("there is no kernel; give at least one")
    return kernels


def _open(image: Source, kernels: list[Source], options: _Options) -> list[images.Picture]:
    """The image, then the kernels."""
    streams = sum(images.is_stdin(source) for source in (image, *kernels))
    if streams > 1:
        raise InputError(f"standard input '-' is asked for {streams} pictures; it can hold one")
    several = len(kernels) > 1
    names = ["image", *(f"kernel-{i}" if several else "kernel" for i in range(1, len(kernels) + 1))]
    opened: list[images.Picture] = []
    for name, source in zip(names, (image, *kernels), strict=True):
        # What is already decoded stays.
        left = options.memory - sum(picture.pixels.nbytes for picture in opened)
        opened.append(
            images.open_picture(
                source, name=name, max_pixels=options.max_pixels, memory=max(0, left)
            )
        )
    return opened


def _plans(
    pixels: list[Pixels],
    names: list[str],
    span: float,
    options: _Options,
    engine: str,
    wanted: Outputs,
) -> list[Plan]:
    image, *kernels = pixels
    problems = []
    for kernel, name in zip(kernels, names[1:], strict=True):
        if kernel.shape[0] > image.shape[0] or kernel.shape[1] > image.shape[1]:
            raise InputError(
                f"kernel {shown(name)} is {kernel.shape[1]}x{kernel.shape[0]} pixels,"
                f" larger than the image {shown(names[0])} with {image.shape[1]}x{image.shape[0]};"
                " give a smaller kernel, or swap the two"
            )
        problems.append(
            Problem(
                image=image.shape,
                kernel=kernel.shape,
                dtype=image.dtype.name,
                stride=tiles.clamped(options.stride, image.shape[:2]),
                metric=options.metric,
                span=span,
                device="cpu",
                threads=options.threads,
                tolerance=options.tolerance,
                map_wanted=wanted.keeps_map,
            )
        )
    held = sum(array.nbytes for array in pixels)
    held += sum(plan.map_bytes(problem, kept=wanted.keeps_map) for problem in problems)
    largest = max(math.prod(problem.map_shape) for problem in problems)
    held += wanted.drawing_bytes(largest, image.shape[0] * image.shape[1])
    return [
        plan.make(problem, engine=engine, device=options.device, memory=options.memory, held=held)
        for problem in problems
    ]


def _score(
    plans: list[Plan], pixels: list[Pixels], keeps_map: bool, observer: Observer
) -> list[peaks.Windows]:
    image, *kernels = pixels
    total = sum(math.prod(chosen.problem.map_shape) for chosen in plans)
    done = 0

    def advance(tile: Tile) -> None:
        nonlocal done
        done += tile.cells
        observer.progress(done, total)

    return [
        search.windows(chosen, image, kernel, keeps_map=keeps_map, advance=advance)
        for chosen, kernel in zip(plans, kernels, strict=True)
    ]


def _kernel_reports(
    plans: list[Plan], fields: list[peaks.Windows], names: list[str], wanted: Outputs
) -> tuple[KernelReport, ...]:
    return tuple(
        KernelReport(
            name=name,
            width=chosen.problem.kernel[1],
            height=chosen.problem.kernel[0],
            engine=chosen.engine,
            tolerance=fields[number].error,
            heatmap=wanted.heatmaps[number] if wanted.heatmaps else None,
            map=wanted.maps[number] if wanted.maps else None,
        )
        for number, (name, chosen) in enumerate(zip(names, plans, strict=True))
    )


def _match(peak: peaks.Peak, kernels: list[Pixels], names: list[str]) -> Match:
    height, width, _ = kernels[peak.field].shape
    return Match(peak.x, peak.y, width, height, peak.score, names[peak.field])
