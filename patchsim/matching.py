"""`match()`: the whole search in one screen."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, cast

import numpy as np

from patchsim import color as colors
from patchsim import (
    flatness,
    groups,
    images,
    masks,
    metrics,
    outputs,
    peaks,
    plan,
    search,
    tiles,
)
from patchsim.area import DEFAULT_PADDING, Area, Region
from patchsim.engines import Problem
from patchsim.errors import InputError, OutputError, shown
from patchsim.metrics import Kernel
from patchsim.observer import Observer
from patchsim.options import DEFAULT_OVERLAP, Options
from patchsim.plan import Plan
from patchsim.report import KernelReport, Match, Report
from patchsim.scene import Scene
from patchsim.sketch import Shelf, budget_of

if TYPE_CHECKING:
    from patchsim.images import Source
    from patchsim.metrics import Pixels
    from patchsim.outputs import Outputs, PathLike
    from patchsim.tiles import Tile


def match(
    image: Source,
    kernel: Source | Sequence[Source],
    *,
    stride: int | tuple[int, int] = 1,
    region: Region | None = None,
    padding: str = DEFAULT_PADDING,
    metric: str = metrics.DEFAULT,
    color: str = colors.DEFAULT,
    device: str = "auto",
    engine: str = "auto",
    top: int | None = None,
    threshold: float | None = None,
    overlap: float = DEFAULT_OVERLAP,
    mask: Source | None = None,
    ignore_alpha: bool = False,
    per_kernel: bool = False,
    subpixel: bool = False,
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
        uint8, uint16 or floating point. A file is a picture or a .npy; the path ``-`` reads
        standard input.
    kernel : the same, or a list of them
        No larger than the image. 8 bits are compared with 16 as 16, integers with floats as
        floats.
    stride : int or (y, x)
        Step between windows in pixels.
    region : (x, y, width, height), optional
        Search only windows that lie inside this part of the image, x and y of its top-left pixel
        first, as in the results. The first window, from which strides count, is in its top-left
        corner, and so is the first cell of map and heatmap. Positions are those in the whole image
        all the same.
    padding : str
        ``valid``: windows lie inside the image. With the others they may hang over its border as
        long as a pixel of it is under them, and it goes on there with the nearest pixel (``edge``),
        with its mirror image that does not repeat the outermost pixels (``reflect``), or with 0
        (``zero``), as in `numpy.pad`. The first window, and so the map's first cell, then is at
        x = 1 - width, y = 1 - height of the kernel, which may be larger than the image. A region
        is padded like a picture of its own: what lies around it is not used.
    metric : str
        ``sad``, the formula above; ``ssd``, ``1 - mean((window - kernel)**2) / R**2``; ``ncc``,
        the cosine between window and kernel; ``zncc``, their correlation: the cosine after each
        channel's mean is taken off both. A window without contrast scores 0 in `zncc`, a black
        one in `ncc`.
    color : str
        What image and kernels are compared in. ``auto``: grey with grey as grey, otherwise as RGB;
        arrays of another number of channels as they are. Of grey and RGB pictures, ``gray``: luma
        (ITU-R BT.601, as Pillow's mode ``L``); ``rgb``: three channels; ``hsv``: the HSV cone of
        value V and chroma C = S V, ``V, (128 + 127 C cos H) / 255, (128 + 127 C sin H) / 255``;
        ``lab``: CIE L*a*b* of sRGB under D65, ``L / 255, (a + 128) / 255, (b + 128) / 255``, in
        which a difference of R is 255 units of Delta E. The last two are in units of R, from
        pixels scaled to [0, 1] by `data_range`; integers are rounded to their type, floats are
        not. `zncc` leaves the offsets out, `ncc` does not.
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
    mask : path, PIL image or array [h, w], optional
        How much each pixel of the kernel counts, in grey: white counts, black does not. With
        several kernels it is the mask of all. It replaces the kernel's alpha channel, which is its
        mask otherwise.
    ignore_alpha : bool
        Count a kernel's transparent pixels like the opaque ones.
    per_kernel : bool
        Each kernel has matches of its own, `top` of them: they do not compete with those of other
        kernels, and come in the order of the kernels.
    subpixel : bool
        Also find where each match lies between the pixels, by least squares on the pixels from the
        best window within the stride: `x_subpixel`, `y_subpixel`, the window's top-left corner.
        Both are None where the pixels do not tell it to a tenth of a pixel, as without texture in
        both directions.
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
    options = Options.checked(
        stride,
        region,
        padding,
        metric,
        color,
        device,
        top,
        threshold,
        overlap,
        tolerance,
        memory,
        threads,
        max_pixels,
    )
    pictures = _open(image, _as_list(kernel), mask, options)
    shades = pictures.pop() if mask is not None else None
    notices = _notices(pictures, pictures if ignore_alpha else pictures[:1])
    for text in notices:
        observer.notice(text)
    names = [picture.name for picture in pictures]
    height, width, _ = pictures[0].pixels.shape
    wanted = outputs.check(pictures, map, heatmap, overlay, shades)
    weights = [masks.weights(p, shades, ignore_alpha=ignore_alpha) for p in pictures[1:]]
    scene = Scene.of(
        pictures,
        weights,
        options.metric,
        options.color,
        data_range,
        options.region,
        options.padding,
        memory=options.memory,
        overlay=wanted.overlay is not None,
    )
    grouped, shelf = _plans(scene, options, engine, wanted, subpixel=subpixel)
    plans = groups.plans(grouped)
    # Not before the search is sure to run: an error stands alone.
    flat = tuple(flatness.notices(scene.pixels, [scene.area.name, *names[1:]], options.metric))
    for text in flat:
        observer.notice(text)
    for chosen, which in groups.common(grouped):
        observer.planned(chosen, [names[1 + number] for number in which])

    kernels, sizes = scene.kernels, scene.sizes
    origins = [scene.area.origin(size) for size in sizes]
    under = scene.area.under(scene.image, sizes, scene.zero)
    fields = _score(grouped, under, kernels, wanted.keeps_map, shelf, observer)
    resolve = peaks.resolve_each if per_kernel else peaks.resolve
    best = resolve(
        fields,
        origins,
        top=options.top,
        threshold=options.threshold,
        overlap=options.overlap,
    )
    corners = _corners(best, plans, under, kernels, origins) if subpixel else [None] * len(best)
    maps = [field.map for field in fields if field.map is not None]
    for chosen, which in groups.common(grouped):
        observer.resolved(
            [fields[number] for number in which], chosen, [names[1 + number] for number in which]
        )
    report = Report(
        image=names[0],
        width=width,
        height=height,
        metric=options.metric,
        stride=options.stride,
        device=plans[0].problem.device,
        kernels=_kernel_reports(plans, fields, names[1:], wanted, scene.area),
        matches=tuple(
            _match(peak, kernels, names[1:], corner)
            for peak, corner in zip(best, corners, strict=True)
        ),
        maps=tuple(maps) if map is not False else (),
        plans=tuple(plans),
        notices=notices + flat,
        seconds=time.perf_counter() - started,
        color=options.color,
        subpixel=bool(subpixel),
        region=scene.area.region,
        padding=scene.area.padding,
    )
    try:
        wanted.write(report, maps, *scene.drawn, observer)
    except OutputError as error:
        error.report = report
        raise
    return replace(report, seconds=time.perf_counter() - started)


def _as_list(kernel: Source | Sequence[Source]) -> list[Source]:
    if isinstance(kernel, list | tuple):
        kernels: list[Source] = list(kernel)
    else:
        kernels = [cast("Source", kernel)]
    if not kernels:
        raise InputError("there is no kernel; give at least one")
    return kernels


def _open(
    image: Source, kernels: list[Source], mask: Source | None, options: Options
) -> list[images.Picture]:
    """The image, then the kernels, then the mask if there is one."""
    sources = [image, *kernels] + ([] if mask is None else [mask])
    streams = sum(images.is_stdin(source) for source in sources)
    if streams > 1:
        raise InputError(f"standard input '-' is asked for {streams} pictures; it can hold one")
    several = len(kernels) > 1
    names = ["image", *(f"kernel-{i}" if several else "kernel" for i in range(1, len(kernels) + 1))]
    opened: list[images.Picture] = []
    left = options.memory
    for name, source in zip([*names, "mask"], sources, strict=False):
        opened.append(
            images.open_picture(
                source, name=name, max_pixels=options.max_pixels, memory=max(0, left)
            )
        )
        left -= opened[-1].pixels.nbytes  # what is already decoded stays
    return opened


def _notices(pictures: list[images.Picture], ignored: list[images.Picture]) -> tuple[str, ...]:
    """What to know about the pictures, of some of which the alpha is ignored; each thing once."""
    found = [text for picture in pictures for text in picture.notices]
    found += [
        f"{shown(picture.name)} has transparent pixels; alpha is ignored"
        for picture in ignored
        if picture.alpha is not None
    ]
    return tuple(dict.fromkeys(found))


def _plans(
    scene: Scene,
    options: Options,
    engine: str,
    wanted: Outputs,
    *,
    subpixel: bool,
) -> tuple[list[groups.Group], Shelf | None]:
    problems = []
    area, image = scene.area, scene.image
    for one, name in zip(scene.kernels, scene.names[1:], strict=True):
        kernel = one.pixels
        area.check_kernel(kernel.shape[:2], name)
        extent = area.extent(kernel.shape[:2])
        problems.append(
            Problem(
                image=(*extent, image.shape[2]),
                kernel=kernel.shape,
                dtype=image.dtype.name,
                stride=tiles.clamped(options.stride, extent),
                metric=options.metric,
                span=scene.span,
                device="cpu",
                threads=options.threads,
                tolerance=options.tolerance,
                map_wanted=wanted.keeps_map,
                weight=None if one.weights is None else int(one.weights.sum(dtype=np.int64)),
                heaviest=1 if one.weights is None else int(one.weights.max()),
            )
        )
    drawn = scene.drawn[0]
    held = image.nbytes + sum(one.nbytes for one in scene.kernels)
    held += 0 if drawn is image else drawn.nbytes
    held += math.prod(area.padded_size(scene.sizes)) * (image.shape[2] * image.itemsize)
    largest = max(math.prod(problem.map_shape) for problem in problems)
    held += wanted.drawing_bytes(largest, drawn.shape[0] * drawn.shape[1])
    if subpixel:
        from patchsim import subpixel as refinement

        held += max(plan.map_bytes(refinement.cell(p), kept=False) for p in problems)
    # Where tiles find no room beside scores that are kept at ease, as few of these as can be.
    ample, least = (
        budget_of(problems, memory, kept=wanted.keeps_map)
        for memory in (max(0, options.memory - held), 0)
    )
    make = partial(
        groups.make, problems, engine=engine, device=options.device, memory=options.memory
    )
    try:
        scores = ample
        made = make(held=held + scores.held, searching=held + scores.searching)
    except InputError:
        scores = least
        made = make(held=held + scores.held, searching=held + scores.searching)
    return made, None if scores.shelf is None else Shelf(scores.shelf)


def _score(
    grouped: list[groups.Group],
    under: list[Pixels],
    kernels: list[Kernel],
    keeps_map: bool,
    shelf: Shelf | None,
    observer: Observer,
) -> list[peaks.Windows]:
    total = sum(math.prod(chosen.problem.map_shape) for chosen in groups.plans(grouped))
    done = 0

    def advance(tile: Tile) -> None:
        nonlocal done
        done += tile.cells
        observer.progress(done, total)

    found: dict[int, peaks.Windows] = {}
    for group in grouped:
        made = search.windows(
            group.plans,
            under[group.members[0]],
            [kernels[number] for number in group.members],
            keeps_map=keeps_map,
            advance=advance,
            shelf=shelf,
        )
        found.update(zip(group.members, made, strict=True))
    return [found[number] for number in range(len(kernels))]


def _kernel_reports(
    plans: list[Plan], fields: list[peaks.Windows], names: list[str], wanted: Outputs, area: Area
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
            origin=area.origin(chosen.problem.kernel[:2])[::-1],
        )
        for number, (name, chosen) in enumerate(zip(names, plans, strict=True))
    )


def _corners(
    best: list[peaks.Peak],
    plans: list[Plan],
    under: list[Pixels],
    kernels: list[Kernel],
    origins: list[tuple[int, int]],
) -> list[tuple[float, float] | None]:
    """Where the matches lie between the pixels, y and x in the image."""
    starts = [origins[peak.field] for peak in best]
    inside = [
        replace(peak, y=peak.y - top, x=peak.x - left)
        for peak, (top, left) in zip(best, starts, strict=True)
    ]
    from patchsim import subpixel as refinement

    found = refinement.refine(inside, plans, under, kernels)
    return [
        corner and (corner[0] + top, corner[1] + left)
        for corner, (top, left) in zip(found, starts, strict=True)
    ]


def _match(
    peak: peaks.Peak,
    kernels: list[Kernel],
    names: list[str],
    corner: tuple[float, float] | None,
) -> Match:
    height, width, _ = kernels[peak.field].pixels.shape
    y, x = corner or (None, None)
    return Match(peak.x, peak.y, width, height, peak.score, names[peak.field], x, y)
