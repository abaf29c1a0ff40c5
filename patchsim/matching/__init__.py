"""`match()`: the whole search in one screen.

It uses `search`, `output` and what lies below; the command line and scripts use `match`. `inputs`
opens the pictures, `assemble` makes the report of what was found.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from patchsim import metrics
from patchsim.errors import InputError, OutputError
from patchsim.events import Observer
from patchsim.geometry.area import DEFAULT_PADDING, Region
from patchsim.matching import assemble, inputs
from patchsim.options import DEFAULT_OVERLAP, Options
from patchsim.output import targets
from patchsim.output.contract import Finished
from patchsim.output.report import Report
from patchsim.pictures import reader
from patchsim.poses.grid import DEFAULT_MAX_POSES, Poses
from patchsim.scene import color as colors
from patchsim.scene import flatness, masks
from patchsim.scene.build import Scene
from patchsim.search import jobs
from patchsim.search.coarse_to_fine import Sweep
from patchsim.search.exhaustive import FEW, Exhaustive

if TYPE_CHECKING:
    from patchsim.output.targets import PathLike
    from patchsim.pictures.reader import Source


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
    threshold: float | str | None = None,
    overlap: float = DEFAULT_OVERLAP,
    margin: bool = True,
    mask: Source | None = None,
    ignore_alpha: bool = False,
    min_visible: float | None = None,
    channel_weights: Sequence[float] | None = None,
    per_kernel: bool = False,
    subpixel: bool = False,
    scales: str | float | Sequence[float] | None = None,
    angles: str | float | Sequence[float] | None = None,
    flips: str | Sequence[str] | None = None,
    max_poses: int = DEFAULT_MAX_POSES,
    exhaustive: bool = False,
    map: bool | PathLike = False,
    heatmap: PathLike | None = None,
    overlay: PathLike | None = None,
    tolerance: float = 0.0,
    data_range: tuple[float, float] | None = None,
    max_pixels: int = reader.DEFAULT_MAX_PIXELS,
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
        The picture to search, of uint8, uint16 or floating point. A file is a picture or a .npy;
        the path ``-`` reads standard input.
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
        ``cpu``; ``cuda``, ``xpu`` or ``mps``, all of that kind; ``cuda:1``, one of them;
        ``cuda:0,cuda:2``, some. ``auto`` looks for one where the CPU would take long. Several
        devices take tiles in turn.
    engine : str
        ``auto`` or the name of an engine, which is then used or refuses.
    top : int, optional
        The largest number of matches over all kernels. The default is 5, or with a threshold all.
    threshold : float or "auto", optional
        The lowest score of a match, -1 to 1. ``auto`` ends the matches at a gap that is too large
        for chance among the scores of the best windows that do not overlap, if there is one; see
        `patchsim.matches.auto_threshold`. The report has it, and a notice says how it was found.
    overlap : float
        The largest intersection over union that two matches may have, 0 to 1. The window with the
        lower score is dropped if it overlaps a match by more.
    margin : bool
        Also find how much more each match scores than its best rival: the best window, of any
        kernel, that overlaps neither it nor a better match (by more than `overlap`), whether it
        reaches the threshold or not. Without a map that can take longer than to find the matches.
    mask : path, PIL image or array [h, w], optional
        How much each pixel of the kernel counts, in grey: white counts, black does not. With
        several kernels it is the mask of all. It replaces the kernel's alpha channel, which is its
        mask otherwise.
    ignore_alpha : bool
        Count transparent pixels of kernels and image like the opaque ones.
    min_visible : float, optional
        The smallest visible share of a match, above 0 and up to 1, in an image with transparent
        pixels. A window of such an image is scored over its visible part: the opacity of its pixels
        is a factor of the kernel's mask in all sums and means. A window with a smaller visible
        share is no match, and has the score 0 in a map. The share is that of the kernel's weights
        which opacity leaves, relative to the most opaque pixel of the image. The default is 0.5.
        The parameter is refused with `ignore_alpha`, where it has no meaning.
    channel_weights : sequence of float, optional
        How much each channel counts, of those that `color` compares: not negative, one above 0.
        They are a factor of the mask, too; a channel of weight 0 is left out. Only their ratios
        count, in whole numbers up to 255; beyond that they are rounded relative to the largest.
    per_kernel : bool
        Each kernel has matches of its own, `top` of them: they do not compete with those of other
        kernels, and come in the order of the kernels.
    subpixel : bool
        Also find where each match lies between the pixels, by least squares on the pixels from the
        best window within the stride: `x_subpixel`, `y_subpixel`, the window's top-left corner.
        Both are None where the pixels do not tell it to a tenth of a pixel, as without texture in
        both directions.
    scales, angles : str, number or sequence of numbers, optional
        The kernel is also searched scaled and turned, every scale with every angle: a list
        ``"0.5,1,2"``, or a range ``"0.5:2:0.1"``, its end included, between whose steps the best
        poses are refined. Angles are degrees, counter-clockwise as seen. Without the scale 1 or
        the angle 0 in them it is not searched as it is.
    flips : str or sequence of str, optional
        ``"h"``, ``"v"`` or ``"h,v"``: also mirrored, so that left and right, or top and bottom,
        change sides; before it is scaled and turned.
    max_poses : int
        The largest number of poses, of all kernels together; more are refused.
    exhaustive : bool
        Compare every pose with every window. Otherwise more than eight poses are searched coarse
        to fine, in pictures halved as often as the kernel allows; the scores of what is found are
        exact, but a match may be missed whose detail does not show there.
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
        The largest picture to decode, in pixels; a larger one is refused.
    memory : int or str, optional
        The memory that the search may take, in bytes or as a size such as ``"512MB"``. The default
        is a quarter of what is available.
    threads : int, optional
        The number of threads. The default is the number of CPUs that this process may use.
    observer : Observer, optional
        Its methods are told of notices, plans, progress and files as they come.

    Returns
    -------
    Report
        The matches, best first, with what was searched and how; its ``best`` is the best match.

    Raises
    ------
    InputError
        A ValueError: what was asked cannot be done.
    MachineError
        A RuntimeError: the machine could not do it, as without memory.
    OutputError
        A MachineError: a file could not be written. The `report` of the error has the matches.

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
        min_visible,
        channel_weights,
        ignore_alpha=ignore_alpha,
    )
    given = inputs.as_list(kernel)
    asked = Poses.checked(scales, angles, flips, max_poses, len(given))
    pictures = inputs.opened(image, given, mask, options)
    shades = pictures.pop() if mask is not None else None
    notices = inputs.notices(pictures, shades, ignore_alpha=ignore_alpha)
    for text in notices:
        observer.notice(text)
    names = [picture.name for picture in pictures]
    height, width, _ = pictures[0].pixels.shape
    wanted = targets.check(pictures, map, {"heatmap": heatmap, "overlay": overlay}, shades)
    if asked and asked.count > 1 and wanted.keeps_map:
        raise InputError(
            f"a map is of one pose, and {asked.count:,} are asked for; leave out heatmap and map"
        )
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
        overlay=wanted.needs_image,
        ignore_alpha=ignore_alpha,
        channel_weights=options.channel_weights,
    )
    flat = tuple(flatness.notices(scene.pixels, [scene.area.name, *names[1:]], options.metric))

    searching: Exhaustive | Sweep
    if asked is None or exhaustive or asked.count <= FEW:
        searching = Exhaustive(
            scene, asked, options, engine, wanted, per_kernel=per_kernel, subpixel=subpixel
        )
    else:
        searching = Sweep(scene, asked, options, engine, wanted, per_kernel=per_kernel)
    # Not before the search is sure to run: an error stands alone.
    for text in flat:
        observer.notice(text)
    found = searching.run(observer)
    selected = assemble.select(found, options, scene, per_kernel=per_kernel, margin=margin)
    cuts = tuple(assemble.told(selected, scene))
    for text in cuts:
        observer.notice(text)
    matches = assemble.matches(selected, found, scene, subpixel=subpixel, posed=bool(asked))
    each = [one for one, _ in found]
    maps = [field.map for _, field in found if field.map is not None]
    for common, which in jobs.by_plan(each):
        fields = [found[i][1] for i in which]
        observer.resolved(fields, common, [each[i].label(names) for i in which])
    report = Report(
        image=names[0],
        width=width,
        height=height,
        metric=options.metric,
        stride=options.stride,
        device=found[0][0].plan.problem.device,
        kernels=assemble.kernel_reports(found, wanted, scene, selected),
        matches=matches,
        maps=tuple(maps) if map is not False else (),
        plans=tuple(one.plan for one, _ in found),
        notices=notices + flat + cuts,
        seconds=time.perf_counter() - started,
        color=options.color,
        subpixel=bool(subpixel),
        region=scene.area.region,
        padding=scene.area.padding,
        margin=bool(margin),
        threshold=selected[0].threshold if len(selected) == 1 else options.given_threshold,
        min_visible=None if scene.visible is None else options.min_visible,
        channel_weights=options.channel_weights,
        poses=assemble.poses_report(asked, exhaustive=isinstance(searching, Exhaustive)),
    )
    try:
        wanted.write(Finished(report, maps, *scene.drawn), observer)
    except OutputError as error:
        error.report = report
        raise
    return replace(report, seconds=time.perf_counter() - started)
