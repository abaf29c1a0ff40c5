"""`Matcher` and `match`: the whole way from pictures to matches, as a table of contents."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

from patchsim.checks import positive_integer
from patchsim.errors import InputError, OutputError
from patchsim.events import Observer, check_observer
from patchsim.geometry.area import Region, check_region
from patchsim.machine import extensions
from patchsim.machine.memory import default_limit
from patchsim.machine.threads import clamp
from patchsim.matching import assemble, each_frame, inputs, nothing_found, unsupported
from patchsim.options import Given, Options, check_keywords, with_signature_of_options
from patchsim.output import targets
from patchsim.output.contract import Finished
from patchsim.output.notebook import ImageDisplay
from patchsim.output.report import Report
from patchsim.output.targets import Asked, Outputs
from patchsim.pictures.limits import MemoryNeed
from patchsim.pictures.reader import DEFAULT_MAX_PIXELS, Picture, is_stdin
from patchsim.scene import advice, empty_area, flatness, profiles, uncounted
from patchsim.scene.build import Scene
from patchsim.scene.comparison import Comparisons
from patchsim.search import criteria, jobs, place_count
from patchsim.search.criteria import Criteria
from patchsim.search.exhaustive import Exhaustive
from patchsim.search.jobs import Found, Scored
from patchsim.search.prepared import KeptKernels

if TYPE_CHECKING:
    from patchsim.output.targets import PathLike
    from patchsim.pictures.reader import Source
    from patchsim.search.fitted_windows import FittedWindows
    from patchsim.search.posed import Posed


# The keywords of `match` that `Matcher.match` takes.
OUTPUTS = ("map", "heatmap", "overlay", "report", "force", "observer")


@with_signature_of_options
def match(
    image: Source,
    kernel: Source | Sequence[Source],
    *,
    mask: Source | None = None,
    image_mask: Source | None = None,
    map: bool | PathLike | None = None,
    heatmap: PathLike | None = None,
    overlay: PathLike | None = None,
    report: PathLike | None = None,
    force: bool = False,
    observer: Observer | None = None,
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
        Keep the scores of all windows in the report; with a path also write them as .npy.
    heatmap, overlay : path, optional
        PNG files to write: the map in colours; the image with numbered boxes. With several
        kernels the paths of `heatmap` and `map` contain ``{kernel}``.
    report : path, optional
        An HTML page to write: image, matches, kernels and plan, and the map where one is kept.
    force : bool
        Replace files that are read-only, too.
    observer : Observer, optional
        Its methods are told of notices, plans, progress and files as they come.
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
        not. `zncc` leaves the offsets out, `ncc` does not.
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
        The lowest score that any block of a match may have, by `sad` or `ssd`, 0 to 1: a block is
        about 8 pixels wide and high, as `patchsim.metrics.local_differences` describes. A digit
        that differs hardly shows in the mean, but in its block. A window that fails is no match
        and suppresses no other. With this or `max_differing` a place that was refused has no part
        in a margin.
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
    scales, angles : str, number or sequence of numbers, optional
        The kernel is also searched scaled and turned, every scale with every angle. All values of a
        range ``"0.5:2"`` are searched; a step, as in ``"0.5:2:0.1"``, is the coarsest spacing that
        the search begins with. Those of a list ``"0.5,1,2"`` are searched as they are. Angles are
        degrees, counter-clockwise as seen; ``"any"`` is ``"0:360"``. Without the scale 1 or the
        angle 0 in them the kernel is not searched as it is. Poses are fitted between the pixels and
        scored there (`patchsim.registration.score`), unless they are quarter turns alone. A stride,
        an engine and a device other than the CPU are then refused without `exhaustive`.
    flips : str or sequence of str, optional
        ``"h"``, ``"v"`` or ``"h,v"``: also mirrored, so that left and right, or top and bottom,
        change sides; before it is scaled and turned.
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
        `zncc` do not depend on it, so that they need none, but in the colours `hsv` and `lab`.
    max_pixels : int
        The largest picture to read whole, in pixels. A larger image, or one that does not fit the
        memory, is read by windows if it is a PNG, JPEG, TIFF or a .npy file in C order, and refused
        otherwise; maps, overlays and poses beside quarter turns are refused of it, and its heatmap
        is reduced.
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
        raise inputs.whole_need(error, [image, *kernels, mask, image_mask], most) from error
    return matcher.match(
        image,
        map=map,
        heatmap=heatmap,
        overlay=overlay,
        report=report,
        force=force,
        observer=observer,
    )


class Matcher:
    """Find the same kernel images in one image after another.

    What depends on the kernels and the options alone is done once: options are checked, kernels and
    mask are opened. Kernels are converted once for images of one type and number of channels; plans
    are kept for images of one shape, too, and so are the transforms of small kernels (up to 16 MiB,
    and up to 1/64 of `memory`). A matcher gives the same answers at any time, so that several
    threads may use it at once, and it can be pickled. It does not copy arrays: they must not change
    while it is used.

    Parameters
    ----------
    kernel : path, PIL image or array, or a list of them
        As for `match`.
    mask, image_mask : path, PIL image or array [h, w], optional
        As for `match`.
    **options
        The options of `match` that describe the search: all but `map`, `heatmap`, `overlay`,
        `report`, `force` and `observer`, which `Matcher.match` takes.

    Attributes
    ----------
    options : Options
        The checked options. They cannot be changed.

    Raises
    ------
    InputError
        If an option, a kernel or a mask cannot be used.
    TypeError
        If a keyword is unknown.

    Examples
    --------
    >>> import numpy as np, patchsim
    >>> image = np.arange(200, dtype=np.uint8).reshape(10, 20)
    >>> matcher = patchsim.Matcher(image[4:7, 5:9], threshold=0.99)
    >>> [(match.x, match.y) for match in matcher.match(image)]
    [(5, 4)]
    >>> bool(matcher.match(image[:4]))
    False
    """

    __module__ = "patchsim"

    def __init__(
        self,
        kernel: Source | Sequence[Source],
        *,
        mask: Source | None = None,
        image_mask: Source | None = None,
        **options: Unpack[Given],
    ) -> None:
        for name in OUTPUTS:
            if name in options:
                raise TypeError(
                    f"Matcher() takes no {name!r}: it differs from image to image; give it to"
                    " Matcher.match()"
                )
        check_keywords(options, "Matcher", ("mask", "image_mask"))
        sources = inputs.as_list(kernel)
        self._options = self._latest = Options.checked(
            len(sources), image_mask is not None, **options
        )
        self._has_own_memory = options.get("memory") is not None
        self._kernels = inputs.Kernels.opened(sources, mask, self.options, image_mask)
        self._comparisons = Comparisons(self._kernels.pictures, self._kernels.weights, self.options)
        self._kept = KeptKernels()
        self._in_srgb: Comparisons | None = None  # once an image has another colour profile

    @property
    def options(self) -> Options:
        """The checked options, which cannot be changed."""
        return self._options

    @property
    def fingerprint(self) -> dict[str, str]:
        """What the matches depend on beside the image, as texts: kernels, mask and options.

        Pictures are told by the SHA-256 of their pixels, not by their names. Matchers with equal
        fingerprints find the same matches.
        """
        return {**self._kernels.digests, **self.options.texts}

    def __repr__(self) -> str:
        changed = self._options.changed(with_memory=self._has_own_memory)
        parts = [self._kernels.description, *([changed] if changed else [])]
        return f"<patchsim.Matcher: {'; '.join(parts)}>"

    def match(
        self,
        image: Source,
        *,
        map: bool | PathLike | None = None,
        heatmap: PathLike | None = None,
        overlay: PathLike | None = None,
        report: PathLike | None = None,
        force: bool = False,
        observer: Observer | None = None,
        region: Region | None = None,
        threads: int | None = None,
    ) -> Report:
        """Find the kernels in an image.

        Parameters
        ----------
        image : path, PIL image, or array [H, W] or [H, W, C]
            As for `match`.
        map : bool or path, optional
            Keep the scores of all windows in the report; with a path also write them as .npy.
        heatmap, overlay : path, optional
            PNG files to write.
        report : path, optional
            An HTML page to write.
        force : bool
            Replace files that are read-only, too.
        observer : Observer, optional
            Told of notices, plans, progress and files as they come.
        region : (x, y, width, height), optional
            In place of the option, for this image.
        threads : int, optional
            In place of the option, for this image.

        Returns
        -------
        Report
            The matches, best first, and how they were found.

        Raises
        ------
        InputError
            If the image cannot be used with these kernels and options.
        OutputError
            If a file could not be written; its `report` has the matches.
        """
        started = time.perf_counter()
        observer = check_observer(observer)
        options = self._options_now(region, threads)
        files = {"heatmap": heatmap, "overlay": overlay, "report": report}
        asked = Asked(False if map is None else map, files, force)

        def in_picture(opened: inputs.Opened, told: Observer, says_why: bool) -> Report:
            has_file = not isinstance(image, Picture) and not is_stdin(image)
            shown = image if has_file and options.frame is None else None
            return self._match(opened, options, asked, told, shown, started, says_why=says_why)

        if options.frame is None:
            return in_picture(inputs.Opened.of(image, self._kernels, options), observer, True)
        return each_frame.search(
            image, self._kernels, options, observer, in_picture, is_drawn=asked.is_drawn
        )

    def _match(
        self,
        opened: inputs.Opened,
        options: Options,
        asked: Asked,
        observer: Observer,
        shown: Source | None,
        started: float,
        *,
        says_why: bool,
    ) -> Report:
        """Find the kernels in an opened image.

        Parameters
        ----------
        opened : Opened
        options : Options
        asked : Asked
        observer : Observer
        shown : path, PIL image or array, or None
            What the report shows of itself.
        started : float
            When the search began.
        says_why : bool
            Tell why nothing was found.
        """
        notices = _tell(observer, self._kernels.notices(opened.about, options))
        comparisons, texts = self._comparisons_with(opened.picture, options)
        notices += _tell(observer, texts)
        outputs = targets.check(
            [opened.about, *self._kernels.pictures],
            asked.map,
            asked.files,
            self._kernels.masks,
            force=asked.force,
        )
        _check_maps(options, outputs)
        unsupported.check_image(opened.picture, outputs)
        small = advice.small_values(opened.picture, self._kernels.pictures, options)
        mixed = advice.grey_beside_color(opened.picture, self._kernels.pictures, options)
        scene = Scene.of(
            opened.take(in_srgb=comparisons is self._in_srgb),
            comparisons,
            options,
            overlay=outputs.needs_image,
            image_mask=self._kernels.image_mask,
        )
        scene = jobs.with_room(scene, options)
        unsupported.check_search(scene, options, has_maps=asked.has_maps)
        outputs = outputs.of_kernels(scene.numbers)
        criteria.check(options)
        search = _search(scene, options, outputs, self._kept)
        # Only once the search is sure to run: an error stands alone.
        notices += _tell(observer, scene.area.notices(options.region))
        ignored = uncounted.notices(options.ignore, opened.size, opened.about.name)
        notices += _tell(observer, ignored)
        notices += _tell(observer, self._kernels.left_out(scene.unusable))
        flat = flatness.flat_notices(
            scene.image, scene.area, scene.flat_kernels, scene.names[1:], options.metric
        )
        notices += _tell(observer, flat)
        notices += _tell(observer, small)
        empty = empty_area.threshold_notices(
            options.numeric_threshold, scene.empty_scores, scene.flat_kernels, scene.names[1:]
        )
        notices += _tell(observer, empty)
        too_few: tuple[str, ...] = ()
        if isinstance(search, Exhaustive) and not outputs.keeps_map:
            too_few = tuple(place_count.notices(search.jobs, scene, options))
        notices += _tell(observer, too_few)
        found = Found([]) if too_few else search.run(observer)
        margin = options.wants_margin(keeps_map=outputs.keeps_map)
        strict = Criteria.of([one.job for one in found.scored], options, scene.span)
        selections = assemble.select(found, options, scene, margin=margin, criteria=strict)
        notices += _tell(observer, assemble.explanations(selections, options, scene))
        notices += _tell(observer, extensions.notices())
        notices += _tell(observer, assemble.grey_notices(mixed, selections, found, scene))
        below = None
        if strict is None:
            below = nothing_found.best_below(found, selections, scene, options)
        else:
            notices += _tell(observer, strict.notices(is_found=nothing_found.found_any(selections)))
        if says_why and strict is None:
            why = nothing_found.reason(found, selections, scene, options, below)
            notices += _tell(observer, why)
        assemble.tell_resolved(found.scored, scene, observer)
        made = assemble.report(
            found,
            selections,
            scene,
            options,
            outputs,
            opened.size,
            notices,
            skipped=self._kernels.skipped(scene.unusable),
            best_below=below,
            margin=margin,
            criteria=strict,
            has_maps=asked.has_maps,
            display=ImageDisplay(shown),
            started=started,
        )
        if not outputs.paths:
            return made
        pictures = [self._kernels.pictures[number] for number in scene.numbers]
        return _written(made, found.scored, scene, outputs, pictures, observer)

    def _comparisons_with(
        self, image: Picture, options: Options
    ) -> tuple[Comparisons, tuple[str, ...]]:
        """Return how kernels are compared with an image, by the colour profiles; and notices."""
        pictures = [image, *self._kernels.pictures]
        if options.ignore_profile:
            return self._comparisons, ()
        is_converted = options.data_range is None
        notices = profiles.notices(pictures, is_converted=is_converted)
        if not is_converted or not profiles.differ(pictures):
            return self._comparisons, notices
        if self._in_srgb is None:
            kernels = [profiles.in_srgb(picture) for picture in self._kernels.pictures]
            self._in_srgb = Comparisons(kernels, self._kernels.weights, self.options)
        return self._in_srgb, notices

    def _opened(self, path: PathLike) -> Picture:
        """Decode the picture of a file as `match` does, which takes the result, too."""
        return inputs.open_image(path, self._kernels, self._options_now())

    def _options_now(self, region: Region | None = None, threads: int | None = None) -> Options:
        """Return the options of an image; memory not given is what there is to spare now."""
        spare = self.options.memory if self._has_own_memory else default_limit()
        if spare != self._latest.memory:
            self._latest = replace(self.options, memory=spare)
        options = self._latest
        if region is not None:
            options = replace(options, region=check_region(region))
        if threads is not None:
            options = replace(options, threads=clamp(positive_integer(threads, "threads")))
        return options


def _search(
    scene: Scene, options: Options, outputs: Outputs, kept: KeptKernels
) -> Exhaustive | FittedWindows | Posed:
    """Choose how the kernels are searched for: in windows, in fitted poses, or one by the other."""
    poses = options.poses
    if poses is None or poses.are_whole:
        # Kernels that are turned or mirrored are made anew for each image.
        return Exhaustive(scene, options, outputs, kept if poses is None else None)
    # The pose search takes as long to import as a search of small pictures.
    if options.exhaustive or outputs.keeps_map:
        from patchsim.search.fitted_windows import FittedWindows

        return FittedWindows(scene, options, outputs)
    from patchsim.search.posed import Posed

    return Posed(scene, options, outputs)


def _check_maps(options: Options, outputs: Outputs) -> None:
    poses = options.poses
    if poses and poses.count != 1 and outputs.keeps_map:
        asked = "a range is" if poses.count is None else f"{poses.count:,} are"
        raise InputError(f"a map is of one pose, and {asked} asked for; leave out heatmap and map")


def _tell(observer: Observer, notices: Iterable[str]) -> tuple[str, ...]:
    """Tell the observer of notices, and return them."""
    told = tuple(notices)
    for text in told:
        observer.notice(text)
    return told


def _written(
    report: Report,
    scored: Sequence[Scored],
    scene: Scene,
    outputs: Outputs,
    kernels: Sequence[Picture],
    observer: Observer,
) -> Report:
    """Write the files of a finished search and add their time; an error keeps the report."""
    started = time.perf_counter()
    try:
        factors = [one.reduced.factor for one in scored if one.reduced is not None]
        maps = assemble.maps(scored)
        # What is no subclass of Observer may lack it.
        command = getattr(observer, "command", None)
        finished = Finished(report, maps, *scene.drawn, factors, pictures=kernels, command=command)
        outputs.write(finished, observer)
    except OutputError as error:
        error.report = report
        raise
    return replace(report, seconds=report.seconds + time.perf_counter() - started)
