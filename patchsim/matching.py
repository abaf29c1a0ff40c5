"""`match()`: the whole search in one screen."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import numpy as np
from numpy.typing import NDArray

from patchsim import budget, devices, files, images, metrics, peaks, plan, render, tiles, walk
from patchsim.engines import Problem
from patchsim.errors import InputError, OutputError
from patchsim.observer import Observer
from patchsim.plan import Plan
from patchsim.report import KernelReport, Match, Report

if TYPE_CHECKING:
    from patchsim.images import Source
    from patchsim.metrics import Pixels

    PathLike = str | os.PathLike[str]

DEFAULT_TOP = 5
DEFAULT_OVERLAP = 0.3

# What drawing takes beside the map and the picture: a byte a cell, seven bytes a pixel.
_HEATMAP_BYTES = 1
_OVERLAY_BYTES = 7


def match(
    image: Source,
    kernel: Source | Sequence[Source],
    *,
    stride: int | tuple[int, int] = 1,
    device: str = "auto",
    engine: str = "auto",
    top: int | None = None,
    threshold: float | None = None,
    overlap: float = DEFAULT_OVERLAP,
    map: bool | PathLike = False,
    heatmap: PathLike | None = None,
    overlay: PathLike | None = None,
    data_range: tuple[float, float] | None = None,
    max_pixels: int = images.DEFAULT_MAX_PIXELS,
    memory: int | str | None = None,
    threads: int | None = None,
    observer: Observer | None = None,
) -> Report:
    """Find a kernel image, or several, in an image.

    Every window of the image that the kernel fits scores ``1 - mean(|window - kernel|) / R`` over
    its pixels and channels, R being the data range.

    Parameters
    ----------
    image : path, PIL image, or array [H, W] or [H, W, C]
        uint8, uint16 or floating point. The path ``-`` reads standard input.
    kernel : the same, or a list of them
        No larger than the image. Grey is compared with grey, otherwise as RGB; 8 with 16 bits as
        16, integers with floats as floats.
    stride : int or (y, x)
        Step between windows in pixels.
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
    options = _Options.checked(stride, device, top, threshold, overlap, memory, threads, max_pixels)
    pictures = _open(image, _as_list(kernel), options)
    notices = tuple(dict.fromkeys(text for picture in pictures for text in picture.notices))
    for text in notices:
        observer.notice(text)
    names = [picture.name for picture in pictures]
    outputs = _Outputs.checked(pictures, map, heatmap, overlay)
    unified, span = images.unify(pictures, data_range)
    del pictures  # the unified pixels replace them
    plans = _plans(unified, names, span, options, engine, outputs)
    for number, chosen in enumerate(plans):
        observer.planned(chosen, names[1 + number])

    scores = _score(plans, unified, span, outputs.keeps_map, observer)
    best = peaks.resolve(
        scores.fields, top=options.top, threshold=options.threshold, overlap=options.overlap
    )
    height, width, _ = unified[0].shape
    report = Report(
        image=names[0],
        width=width,
        height=height,
        metric=metrics.DEFAULT,
        stride=options.stride,
        device=plans[0].problem.device,
        kernels=outputs.kernel_reports(plans, names[1:]),
        matches=tuple(_match(peak, unified[1:], names[1:]) for peak in best),
        maps=tuple(scores.maps) if map is not False else (),
        plans=tuple(plans),
        notices=notices,
        seconds=time.perf_counter() - started,
    )
    try:
        low = data_range[0] if data_range else 0.0
        outputs.write(report, scores.maps, unified[0], span, low, observer)
    except OutputError as error:
        error.report = report
        raise
    return replace(report, seconds=time.perf_counter() - started)


@dataclass(frozen=True)
class _Options:
    """What was asked, checked and with its defaults."""

    stride: tuple[int, int]
    device: str
    top: int | None
    threshold: float | None
    overlap: float
    memory: int
    threads: int
    max_pixels: int

    @classmethod
    def checked(
        cls,
        stride: int | tuple[int, int],
        device: str,
        top: int | None,
        threshold: float | None,
        overlap: float,
        memory: int | str | None,
        threads: int | None,
        max_pixels: int,
    ) -> _Options:
        if top is not None and top < 1:
            raise InputError(f"top {top} asks for no match; give a whole number from 1")
        if threshold is not None and not -1 <= threshold <= 1:
            raise InputError(f"threshold {threshold} cannot be a score; give one from -1 to 1")
        if not 0 <= overlap <= 1:
            raise InputError(f"overlap {overlap} is not a share; give one from 0 to 1")
        if threads is not None and threads < 1:
            raise InputError(f"threads {threads} is no thread; give a whole number from 1")
        if max_pixels < 1:
            raise InputError(f"max-pixels {max_pixels} allows no picture; give a number from 1")
        return cls(
            stride=tiles.stride_pair(stride),
            device=devices.check_name(device),
            top=DEFAULT_TOP if top is None and threshold is None else top,
            threshold=threshold,
            overlap=overlap,
            memory=budget.default() if memory is None else budget.parse(memory),
            threads=threads or devices.cpu_count(),
            max_pixels=max_pixels,
        )


@dataclass(frozen=True)
class _Outputs:
    """The files to write; of maps and heatmaps one a kernel."""

    maps: list[str]
    heatmaps: list[str]
    overlay: str | None
    keeps_map: bool

    @classmethod
    def checked(
        cls,
        pictures: Sequence[images.Picture],
        map: bool | PathLike,
        heatmap: PathLike | None,
        overlay: PathLike | None,
    ) -> _Outputs:
        stems = [picture.stem for picture in pictures[1:]]
        map_path = None if isinstance(map, bool) else map
        maps, heatmaps = _per_kernel(map_path, "map", stems), _per_kernel(heatmap, "heatmap", stems)
        drawn = None if overlay is None else os.fspath(overlay)
        inputs = [picture.file for picture in pictures if picture.file]
        for path in maps:
            files.check_target(path, ".npy", inputs)
        for path in [*heatmaps, *([drawn] if drawn else [])]:
            files.check_target(path, ".png", inputs)
        files.check_distinct([*maps, *heatmaps, *([drawn] if drawn else [])])
        return cls(maps, heatmaps, drawn, map is not False or heatmap is not None)

    def kernel_reports(self, plans: list[Plan], names: list[str]) -> tuple[KernelReport, ...]:
        def nth(paths: list[str], number: int) -> str | None:
            return paths[number] if paths else None

        return tuple(
            KernelReport(
                name=name,
                width=chosen.problem.kernel[1],
                height=chosen.problem.kernel[0],
                engine=chosen.engine,
                tolerance=0.0,
                heatmap=nth(self.heatmaps, number),
                map=nth(self.maps, number),
            )
            for number, (name, chosen) in enumerate(zip(names, plans, strict=True))
        )

    def write(
        self,
        report: Report,
        maps: list[NDArray[np.float32]],
        pixels: Pixels,
        span: float,
        low: float,
        observer: Observer,
    ) -> None:
        for path, scores in zip(self.heatmaps, maps, strict=bool(self.heatmaps)):
            with files.writing(path) as file:
                least, most = render.heatmap(scores, file)
            observer.wrote(f"heatmap {path}: scores {least:.6f} (dark) to {most:.6f} (bright)")
        for path, scores in zip(self.maps, maps, strict=bool(self.maps)):
            with files.writing(path) as file:
                # Through a view: on what has a descriptor NumPy seeks, which a pipe cannot.
                np.lib.format.write_array_header_1_0(
                    file, np.lib.format.header_data_from_array_1_0(scores)
                )
                file.write(scores.data)
            observer.wrote(f"map {path}: float32, {scores.shape[0]} rows x {scores.shape[1]} cols")
        if self.overlay:
            with files.writing(self.overlay) as file:
                render.overlay(pixels, span, low, report.matches, file)
            observer.wrote(f"overlay {self.overlay}: {len(report.matches)} boxes")


@dataclass
class _Scores:
    fields: list[peaks.Field]
    maps: list[NDArray[np.float32]]


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
    streams = sum(isinstance(source, str) and source == "-" for source in (image, *kernels))
    if streams > 1:
        raise InputError(f"standard input '-' is asked for {streams} pictures; it can hold one")
    several = len(kernels) > 1
    names = ["image", *(f"kernel-{i}" if several else "kernel" for i in range(1, len(kernels) + 1))]
    return [
        images.open_picture(source, name=name, max_pixels=options.max_pixels, memory=options.memory)
        for name, source in zip(names, (image, *kernels), strict=True)
    ]


def _plans(
    pixels: list[Pixels],
    names: list[str],
    span: float,
    options: _Options,
    engine: str,
    outputs: _Outputs,
) -> list[Plan]:
    image, *kernels = pixels
    problems = []
    for kernel, name in zip(kernels, names[1:], strict=True):
        if kernel.shape[0] > image.shape[0] or kernel.shape[1] > image.shape[1]:
            raise InputError(
                f"kernel {name} is {kernel.shape[1]}x{kernel.shape[0]} pixels, larger than the"
                f" image {names[0]} with {image.shape[1]}x{image.shape[0]};"
                " give a smaller kernel, or swap the two"
            )
        problems.append(
            Problem(
                image=image.shape,
                kernel=kernel.shape,
                dtype=image.dtype.name,
                stride=options.stride,
                metric=metrics.DEFAULT,
                span=span,
                device="cpu",
                threads=options.threads,
            )
        )
    held = sum(array.nbytes for array in pixels)
    held += sum(plan.map_bytes(problem, kept=outputs.keeps_map) for problem in problems)
    largest = max(math.prod(problem.map_shape) for problem in problems)
    held += max(
        _HEATMAP_BYTES * largest if outputs.heatmaps else 0,
        _OVERLAY_BYTES * image.shape[0] * image.shape[1] if outputs.overlay else 0,
    )
    return [
        plan.make(problem, engine=engine, device=options.device, memory=options.memory, held=held)
        for problem in problems
    ]


def _score(
    plans: list[Plan], pixels: list[Pixels], span: float, keeps_map: bool, observer: Observer
) -> _Scores:
    image, *kernels = pixels
    total = sum(math.prod(chosen.problem.map_shape) for chosen in plans)
    done = 0
    scores = _Scores([], [])
    for chosen, kernel in zip(plans, kernels, strict=True):
        problem = chosen.problem
        field = peaks.Field(
            problem.map_shape,
            problem.kernel[:2],
            problem.stride,
            metrics.exact(image, kernel, span),
        )
        drawn = np.full(problem.map_shape if keeps_map else (0, 0), np.nan, dtype=np.float32)
        for tile, bounds in walk.run(chosen, image, kernel):
            field.put(tile, bounds)
            if keeps_map:
                drawn[tile.index] = bounds.map
            done += tile.cells
            observer.progress(done, total)
        scores.fields.append(field)
        if keeps_map:
            scores.maps.append(drawn)
    return scores


def _match(peak: peaks.Peak, kernels: list[Pixels], names: list[str]) -> Match:
    height, width, _ = kernels[peak.field].shape
    return Match(peak.x, peak.y, width, height, peak.score, names[peak.field])


def _per_kernel(path: PathLike | None, option: str, stems: list[str]) -> list[str]:
    """The path for each kernel: ``{kernel}`` is its stem, with -2, -3 where stems repeat."""
    if path is None:
        return []
    text = os.fspath(path)
    if len(stems) > 1 and "{kernel}" not in text:
        raise InputError(
            f"{option} {text} is one file for {len(stems)} kernels; put {{kernel}} into its name"
        )
    taken: set[str] = set()
    paths = []
    for stem in stems:
        unique, count = stem, 1
        while unique in taken:
            count += 1
            unique = f"{stem}-{count}"
        taken.add(unique)
        paths.append(text.replace("{kernel}", unique))
    return paths
