"""Whether a kernel that was not found is there at another scale, by a look that costs little."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import PatchsimError, printable
from patchsim.machine.memory import default_limit, parse_size
from patchsim.matching.match import match
from patchsim.options import Given
from patchsim.output.report import Report
from patchsim.output.report_parts import Match
from patchsim.pictures import reader
from patchsim.pictures.reader import Picture

if TYPE_CHECKING:
    from patchsim.geometry.area import Region
    from patchsim.pictures.reader import Source

SCALES = "0.5:2"
# The options of a search that the look has, too.
_KEPT = (
    "region", "metric", "color", "ignore_profile", "alpha", "transparent", "ignore", "nan",
    "ignore_alpha", "invert",
    "min_visible", "channel_weights", "data_range", "threads", "memory", "max_pixels",
)  # fmt: skip
_MOST_PIXELS = 2_500_000  # of the picture that is looked at, about a full-HD screen
_LEAST_PIXELS = 150  # of a kernel; a smaller one is found everywhere
# Kernels whose sides have so many pixels are looked at in smaller pictures, by these factors.
_REDUCED = ((64, 4), (32, 2))
# How far the pose must be on the way from an empty area to an identical window, and which share of
# what the best place of the search lacks it must not lack.
_SURE, _BETTER = 0.7, 0.5
# A scale found in smaller pictures may be off by so much; the place by this part of its size.
_NEAR, _ROOM = 0.1, 6
_SAME = 0.04  # scales that differ by less from 1 are no other scale
_FIRST: Any = {"top": 1, "margin": False}


def hint(
    image: Source,
    kernel: Source,
    masks: Mapping[str, Source | None],
    options: Given,
    report: Report,
) -> str | None:
    """Return that a kernel seems to be there at another scale, as a hint of two lines, or None.

    Nothing is looked for where poses or a frame were asked for, of many kernels, and in pictures
    so large that it would take long.

    Parameters
    ----------
    image, kernel : path, PIL image or array
    masks : mapping
        ``mask`` and ``image_mask``, as of `match`.
    options : Given
        The options of the search.
    report : Report
        That of the search, which found nothing or what is poor.
    """
    is_other_kind = report.posed or report.frames or len(report.kernels) != 1
    given: Any = {name: one for name, one in masks.items() if one is not None}
    if is_other_kind or not all(map(_can_be_read_again, [image, kernel, *given.values()])):
        return None
    one = report.kernels[0]
    if one.width * one.height < _LEAST_PIXELS:
        return None
    if _region_pixels(report) > _MOST_PIXELS * _REDUCED[0][1] ** 2:
        return None
    try:
        is_exact_size = given or report.region is not None or options.get("ignore") is not None
        reduced = (image, kernel, 1) if is_exact_size else _reduced(image, kernel, options)
        small, small_kernel, factor = reduced
        if _region_pixels(report) > _MOST_PIXELS * factor**2:
            return None
        kept: Any = {name: value for name, value in options.items() if name in _KEPT}
        other = match(small, small_kernel, scales=SCALES, **given, **_FIRST, **kept)
        if factor > 1 and other.best is not None:
            near, scales = _around(other.best, factor)
            other = match(image, kernel, **{**kept, "region": near}, scales=scales, **_FIRST)
    except PatchsimError:
        return None  # what windows can be searched for may be impossible in poses
    at = other.best
    if at is None or not _is_other(at, other.kernels[0].empty_score, report):
        return None
    x, y = round(at.x_subpixel or 0), round(at.y_subpixel or 0)
    return (
        f"{printable(one.name)} seems to be there at about {at.scale:.2f} times its size, at"
        f" {x},{y};\ntry --scales {SCALES}, or --scales {at.scale:.2f}"
    )


def _around(at: Match, factor: int) -> tuple[Region, str]:
    """Return the region and the scales near a place in smaller pictures."""
    room = max(at.width, at.height) // _ROOM + 2
    x, y = at.x - room, at.y - room
    width, height = at.width + 2 * room, at.height + 2 * room
    low, high = at.scale * (1 - _NEAR), at.scale * (1 + _NEAR)
    return (x * factor, y * factor, width * factor, height * factor), f"{low:.4f}:{high:.4f}"


def _is_other(at: Match, empty: float, report: Report) -> bool:
    """Return whether a pose is surely the kernel, and far more so than what was found."""
    way = 1 - empty
    if abs(at.scale - 1) < _SAME or way <= 0 or 1 - at.score > (1 - _SURE) * way:
        return False
    before = report.best or report.best_below
    score = None if before is None else before.score
    # Where a quick look found no better place, `at_most` bounds what there may be.
    return score is None or 1 - at.score <= (1 - _BETTER) * (1 - score)


def _can_be_read_again(source: Source) -> bool:
    """Return whether a picture is in memory, or a file: a pipe is used up, a URL takes long."""
    return not isinstance(source, str | os.PathLike) or Path(source).is_file()


def _region_pixels(report: Report) -> int:
    width, height = report.region[2:] if report.region else (report.width, report.height)
    return width * height


def _reduced(image: Source, kernel: Source, options: Given) -> tuple[Source, Source, int]:
    """Return smaller pictures, and by which factor, of opaque ones of 8 bits."""
    memory = options.get("memory")
    limits: Any = {
        "max_pixels": options.get("max_pixels", reader.DEFAULT_MAX_PIXELS),
        "memory": default_limit() if memory is None else parse_size(memory),
    }
    opened = [reader.open_picture(one, name="picture", **limits) for one in (image, kernel)]
    side = min(opened[1].pixels.shape[:2])
    factor = next((by for min_side, by in _REDUCED if side >= min_side), 1)
    is_plain = all(one.alpha is None and one.pixels.dtype == np.uint8 for one in opened)
    if factor == 1 or not is_plain:
        return image, kernel, 1
    small_image, small_kernel = (_means(one, factor) for one in opened)
    return small_image, small_kernel, factor


def _means(picture: Picture, factor: int) -> NDArray[np.uint8]:
    """Return the means of squares of pixels; what is left at the right and below is cut off."""
    height, width, channels = picture.pixels.shape
    rows, cols = height // factor, width // factor
    squares = picture.pixels[: rows * factor, : cols * factor].reshape(
        rows, factor, cols, factor, channels
    )
    means: NDArray[np.uint8] = np.rint(squares.mean(axis=(1, 3))).astype(np.uint8)
    return means
