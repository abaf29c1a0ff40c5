"""`match`: one call from pictures to matches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from patchsim.events import Observer
from patchsim.matching import inputs
from patchsim.matching.matcher import OUTPUTS, Matcher
from patchsim.options import Given, check_keywords, with_signature_of_options
from patchsim.output.report import Report
from patchsim.pictures.limits import MemoryNeed
from patchsim.pictures.reader import DEFAULT_MAX_PIXELS
from patchsim.search.prepared import KeptKernels

if TYPE_CHECKING:
    from patchsim.matching.delegated import DelegatedSearch
    from patchsim.output.targets import PathLike
    from patchsim.pictures.reader import Source


@with_signature_of_options
def match(
    image: Source,
    kernel: Source | Sequence[Source],
    *,
    mask: Source | None = None,
    image_mask: Source | None = None,
    map: bool | PathLike | None = None,
    resume: PathLike | None = None,
    heatmap: PathLike | None = None,
    blend: PathLike | None = None,
    overlay: PathLike | None = None,
    heatmap_size: int | None = None,
    labels: str | Sequence[str] | None = None,
    report: PathLike | None = None,
    force: bool = False,
    observer: Observer | None = None,
    cluster: DelegatedSearch | None = None,
    **options: Unpack[Given],
) -> Report:
    """Find a kernel image, or several, in an image.

    Every window of the image that the kernel fits gets a score over its pixels and channels, 1 if
    it is identical: by default ``1 - mean(|window - kernel|) / R``, R being the data range.

    Parameters
    ----------
    image : path, PIL image, or array [H, W] or [H, W, C]
        The picture to search, of uint8, uint16, floating point or bool, which is black and white
        of 8 bits: 0 and 255. Other integers of up to 32 bits need `data_range`, except with `ncc`
        and `zncc`. A tensor on the CPU, or another object with ``__array__`` or ``__dlpack__``, is
        taken as an array. A file is a picture or a .npy; the path ``-`` reads standard input.
    kernel : the same, or a list of them
        What counts of it is no larger than the image, unless `padding` lets it hang over. 8 bits
        are compared with 16 as 16, integers with floats as floats.
    mask : path, PIL image or array [h, w], optional
        How much each pixel of the kernel counts, in grey: white counts, black does not. With
        several kernels it is the mask of all. It replaces the kernel's alpha channel, which is its
        mask otherwise.
    image_mask : path, PIL image or array [H, W], optional
        How much each pixel of the image counts, in grey, as far as its alpha lets it: what is black
        is like transparent pixels (see `min_visible`).
    map : bool or path, optional
        Keep the scores of all windows in the report; with a path also write them as float32: a
        .npy, a .tif, which is a BigTIFF in tiles (with the package tifffile), or a .zarr (with the
        package zarr), a folder that replaces nothing. The map of an image that is read by windows
        is written while it is made, and not kept in the report.
    resume : path, optional
        A .zarr to write the map into, in place of `map`, which a later call goes on with if this
        one ends early, however it does: the matches and the map are the same then. Until it is
        complete, its name ends in ``.zarr.partial``. Another image, kernel or option is refused.
        The map is written while it is made, and not kept in the report. Poses are refused.
    heatmap : path, optional
        A PNG to write: the map in colours, by the rank of the scores, with rings around matches and
        a bar that says which score has which colour. With several kernels the paths of `heatmap`,
        `blend` and `map` contain ``{kernel}``. The path ``-`` of one file is standard output.
    blend : path, optional
        A PNG, JPEG or WebP to write: these colours over the image, each at its window's center.
    overlay : path, optional
        A PNG, JPEG or WebP to write: the image with a box around each match.
    heatmap_size : int, optional
        The most pixels of a heatmap's side. A larger map is reduced: a pixel is the best score of a
        square of windows, whose side is `score_reduced` in the PNG's text. The default is the map's
        own size, and 8192 for an image that is read by windows.
    labels : str or sequence of str, optional
        What stands beside the boxes of `overlay`, where there is room: ``number``, the default, the
        number of the match's row; ``score``; ``kernel``, its name; several with commas, or
        ``none``.
    report : path, optional
        An HTML page to write: image, matches, kernels and plan, and the map where one is kept.
    force : bool
        Replace files that are read-only, too.
    observer : Observer, optional
        Its methods are told of notices, plans, progress and files as they come.
    cluster : Cluster, optional
        Score the windows on its workers, which open the image by its path. The answer is the same.
        Maps, heatmaps, `blend` and frames, and scales and angles other than quarter turns are
        refused.
    stride : int or (y, x)
        Step between windows in pixels.
    region : (x, y, width, height), optional
        Search only windows that lie inside this part of the image, x and y of its top-left pixel
        first, as in the results. The first window, from which strides count, is in its top-left
        corner, and so is the first cell of map and heatmap. Positions are those in the whole image
        all the same.
    frame : int or "all", optional
        The frame of an animated GIF, PNG or WebP as displayed, or the page of a TIFF that is no
        small copy of another, to search in, from 0. With ``"all"`` each is searched by itself: the
        matches come frame by frame, `top` counts in each, and the report's `frames` tell of each.
        Matches have their `frame`. Without it the first frame is searched.
    level : int
        The level of a pyramidal TIFF, such as a COG or OME-TIFF, or of OME-Zarr: 0 is the largest
        picture, others are smaller copies of it. Positions are pixels of that level.
    padding : str
        ``valid``: windows lie inside the image. With the others they may hang over its border as
        long as a pixel of it is under them, and it goes on there with the nearest pixel (``edge``),
        with its mirror image that does not repeat the outermost pixels (``reflect``), or with 0
        (``zero``), as in `numpy.pad`; or what hangs over does not count (``transparent``), like the
        transparent pixels of an image (see `min_visible`). The first window, and so the map's first
        cell, then is at x = 1 - width, y = 1 - height of the kernel, which may be larger than the
        image. A region is padded like a picture of its own: what lies around it is not used.
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
        not. `zncc` leaves the offsets out, `ncc` does not. ``edges``: the gradients of the luma,
        for other colours of the same forms, in units of R like these: with the central differences
        gx and gy, each half of the difference of the two neighbours, beyond the border with the
        nearest pixel, their magnitude m and direction t, ``(128 + 127 sqrt(2) m cos 2t) / 255,
        (128 + 127 sqrt(2) m sin 2t) / 255``; dark on light and light on dark are the same. The
        outermost pixels of a kernel, and neighbours of what does not count in kernel or image,
        then do not count. Poses, `invert`, padding other than ``transparent`` and images that are
        read by windows are refused.
    ignore_profile : bool
        Compare the values as they are, whatever the colour profiles of the pictures. Otherwise, if
        the profiles of image and kernels differ, pictures whose ICC profile is not sRGB are
        converted to sRGB, and a notice names them; with one profile they are left as they are.
        A file without a profile is taken as sRGB, an array as what the others are. With
        `data_range` nothing is converted.
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
        lower score is dropped if it overlaps a match by more. Frames of poses count as large as at
        the smaller of their scales, so that a small pose inside a large one overlaps it entirely
        (`patchsim.matches.pose_selection`).
    margin : bool, optional
        Also find how much more each match scores than the best place that is no match: the best
        window, of any kernel, that overlaps none of the matches (by more than `overlap`), whether
        it reaches the threshold or not. That can take several times as long as to find the matches
        by `sad` and `ssd` without a map. So it is not found there by default, unless the threshold
        is ``auto`` or poses are fitted, and is found otherwise.
    alpha : bool
        Take the fourth channel of arrays of uint8 with four, and of such .npy files, as alpha, as
        that of other files is; where it is 0 throughout, it is left out as unused. With False it is
        a channel like the others, as it always is in arrays of other types.
    transparent : str, optional
        A colour of the kernels that does not count, whatever mask or alpha they have: ``"RRGGBB"``
        in hexadecimal digits, of 8 bits; with ``"~N"`` behind it also colours whose channels differ
        from it by up to N of 255. Values of other types are scaled by their `data_range`.
    ignore : (x, y, width, height), or a list of them, optional
        Boxes of the image that do not count, like transparent pixels: a clock, a cursor.
    nan : str
        ``refuse`` pictures with NaN, or ``ignore``: pixels with a NaN in any channel do not count,
        in the image like transparent pixels, in a kernel like masked ones.
    worst : float, optional
        The lowest score that any block of a match may have, 0 to 1: a block is about 8 pixels wide
        and high, as `patchsim.metrics.local_differences` describes. A digit that differs hardly
        shows in the mean, but in its block. A window that fails is no match and suppresses no
        other. With this or `max_differing` a place that was refused has no part in a margin, and
        ``threshold="auto"`` is found without them. A scaled or turned pose is measured by the
        pixels that its score compares (`patchsim.registration.score`).
    pixel_tolerance : float, optional
        Count the pixels of each match of which a channel differs by more, in 255ths of the data
        range: `differing` and `max_difference` of the match.
    max_differing : int or float, optional
        The largest number of such pixels in a match, or as a float their largest share by weight.
        Without `pixel_tolerance` pixels that differ at all are counted.
    ignore_alpha : bool
        Count transparent pixels of kernels and image like the opaque ones.
    trim : bool
        Rows and columns along the sides of a kernel in which no pixel counts, as in icons with
        a transparent margin, may hang over the border of the image or region, whatever the
        `padding`: what counts must lie inside. `x`, `y`, `width` and `height` are those of the
        whole kernel; `x` and `y` may be negative. The map has a cell for each of these windows, the
        strides count as without them, and `report.kernels` tell where the first lies. False: the
        whole kernel lies inside.
    min_visible : float, optional
        The smallest visible share of a match, above 0 and up to 1, in an image with pixels that are
        transparent or do not count, or with `padding` ``transparent``. A window there is scored
        over its visible part: the opacity of its pixels is a factor of the kernel's mask in all
        sums and means. A window with a smaller visible share is no match, and has the score 0 in a
        map. The share is that of the kernel's weights which opacity leaves, relative to the most
        opaque pixel of the image. The default is 0.5. The parameter is refused where all of the
        image counts because of `ignore_alpha`.
    channel_weights : sequence of float, optional
        How much each channel counts, of those that `color` compares: not negative, one above 0.
        They are a factor of the mask, too; a channel of weight 0 is left out. Only their ratios
        count, in whole numbers up to 255; beyond that they are rounded relative to the largest.
    per_kernel : bool
        Each kernel has matches of its own, `top` of them: they do not compete with those of other
        kernels, and come in the order of the kernels.
    strict : bool
        Refuse several kernels if one of them cannot be used: it is unreadable, larger than the
        image, or flat under `zncc`. Otherwise that one is left out, with a notice, and stands in
        the report's `skipped`; if none is left, it is an error.
    sort : str
        The order of the matches: ``score``, the best first, or ``reading``, line by line from the
        top, each from the left, whatever the kernel. `top` keeps the best in either order.
    subpixel : bool
        Also find where each match lies between the pixels, by least squares on the pixels from the
        best window within the stride: `x_subpixel`, `y_subpixel`, the window's top-left corner.
        Both are None where the pixels do not tell it to a tenth of a pixel, as without texture in
        both directions. Scaled and turned poses have both in any case.
    scales, angles : str, number or sequence of numbers or pairs, optional
        The kernel is also searched scaled and turned, every scale with every angle. All values of a
        range ``"0.5:2"`` are searched; a step, as in ``"0.5:2:0.1"``, is the coarsest spacing
        that a search over several scales begins with. Those of a list ``"0.5,1,2"`` are searched as
        they are; a list of scales may have pairs, (y, x) along the kernel's height and width,
        ``"1.25x1"`` with x first in a text. Angles are degrees, counter-clockwise as seen;
        ``"any"`` is ``"0:360"``. Without the scale 1 or the angle 0 in them the kernel is not
        searched as it is. Poses are fitted between the pixels and scored there
        (`patchsim.registration.score`), unless they are quarter turns alone. A stride, an engine
        and a device other than the CPU are then refused without `exhaustive`.
    flips : str or sequence of str, optional
        ``"h"``, ``"v"`` or ``"h,v"``: also mirrored, so that left and right, or top and bottom,
        change sides; before it is scaled and turned.
    invert : bool
        Also search each kernel in the other polarity, light on dark, in all of its poses: a value v
        becomes low + high - v of the data range, in each channel that is compared; floats under
        `zncc` become -v, which scores the same. Both compete, and matches have `inverted`. It is
        refused in the colours `hsv`, `lab` and `edges`, with a map, and with `ncc` where values lie
        beyond the default range and no `data_range` is given.
    max_poses : int, optional
        The largest number of poses of lists and steps, of all kernels together; more are refused.
        The default is 10000. This, `same_scale` and `exhaustive` are refused without poses.
    same_scale : bool
        All matches have one scale: the one for which there is most evidence.
    exhaustive : bool
        Compare every pose of lists and steps with every window, and fit those that score best; a
        range without a step has a pose for each pixel that a corner of the kernel moves. Otherwise
        poses are searched coarse to fine, in pictures halved as often as the kernel allows; the
        scores of what is found are those of `exhaustive`, but a match may be missed whose detail
        does not show there.
    tolerance : float
        How far the map's scores may be off, beside rounding; with some a search for a large kernel
        is faster. The matches are exact all the same. The default is 0; that of the command is
        0.02, unless it writes the map as numbers.
    data_range : (low, high), optional
        The range of the pixel values, R being its width: by default 0 to 255 for uint8, 65535 for
        uint16 and 1 for floats. With it all values are taken as they are. The scores of `ncc` and
        `zncc` do not depend on it, so that they need none, but in the colours `hsv`, `lab` and
        `edges`.
    max_pixels : int
        The largest picture to read whole, in pixels. A larger image, or one that does not fit the
        memory, is read by windows if it is a PNG, JPEG, TIFF, Zarr or a .npy file in C order, and
        refused otherwise; poses beside quarter turns are refused of it, the pictures that show it
        and its map are reduced, and its map is only written to a file.
    memory : int or str, optional
        The memory that the search may take, in bytes or as a size such as ``"512MB"``. The default
        is a quarter of what is available.
    threads : int, optional
        The number of threads, at most 256 or the number of CPUs, if that is larger. The default is
        the number of CPUs that this process may use.

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
    TypeError
        A keyword is unknown.

    Examples
    --------
    >>> import numpy as np, patchsim
    >>> image = np.arange(200, dtype=np.uint8).reshape(10, 20)
    >>> best = patchsim.match(image, image[4:7, 5:9]).best
    >>> best.x, best.y, best.score
    (5, 4, 1.0)
    """
    check_keywords(options, "match", ("mask", "image_mask", *OUTPUTS))
    kernels = inputs.as_list(kernel)
    # Before any is read: standard input can be read once.
    others = [one for one in (mask, image_mask) if one is not None]
    inputs.count_streams([image, *kernels, *others])
    try:
        matcher = Matcher(kernels, mask=mask, image_mask=image_mask, **options)
    except MemoryNeed as error:
        most = options.get("max_pixels", DEFAULT_MAX_PIXELS)
        raise inputs.whole_need(error, image, [*kernels, mask, image_mask], most) from error
    matcher._kept = KeptKernels(image_count=1)  # of this room; no other image follows
    return matcher.match(
        image,
        map=map,
        resume=resume,
        heatmap=heatmap,
        heatmap_size=heatmap_size,
        blend=blend,
        overlay=overlay,
        labels=labels,
        report=report,
        force=force,
        observer=observer,
        cluster=cluster,
    )
