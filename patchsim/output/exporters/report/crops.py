"""Small pictures of a page: each kernel, each match, and where the two differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageChops

from patchsim.errors import printable
from patchsim.output import reduced_image, rgb, thumbnails
from patchsim.output.contract import Finished
from patchsim.output.exporters.report.layers import url
from patchsim.output.report_parts import Match
from patchsim.pictures.reader import Picture

_MOST = 40  # matches with pictures of their own


def displayed(search: Finished) -> list[Image.Image]:
    """Return each kernel as an RGB picture."""
    return [_displayed(picture, search) for picture in search.pictures]


def kernels(search: Finished, drawn: Sequence[Image.Image]) -> list[dict[str, Any]]:
    """Return each kernel with its picture, in which what does not count is transparent.

    `drawn` are the pictures from `displayed`.
    """
    items = []
    for about, picture, opaque in zip(search.kernels, search.pictures, drawn, strict=False):
        picture_shown = thumbnails.of_kernel(opaque, picture.alpha)
        items.append({"about": about, "name": printable(about.name), "url": url(picture_shown)})
    return items


def of(
    search: Finished, image: Image.Image, drawn: Sequence[Image.Image]
) -> list[dict[str, str] | None]:
    """Return pictures of the first matches and of how they differ from their kernels.

    `image` is the image that was searched, `drawn` are the kernels from `displayed`.
    """
    names = (about.name for about in search.kernels)
    by_name = dict(zip(names, drawn, strict=False))
    matches = search.report.matches
    pairs = [
        _pair(place, by_name.get(match.kernel), crop)
        for match in matches[:_MOST]
        for crop, place in (_part(search, match, image),)
    ]
    return [*pairs, *([None] * (len(matches) - len(pairs)))]


def _part(search: Finished, match: Match, image: Image.Image) -> tuple[Image.Image, Match]:
    """Return a picture with a match in all of its pixels, and the match's place there."""
    if search.reduced is None:
        return image, match
    return reduced_image.excerpt(search.pixels, search.span, search.low, match)


def _pair(match: Match, kernel: Image.Image | None, image: Image.Image) -> dict[str, str] | None:
    if kernel is None:
        return None
    if match.inverted:
        kernel = ImageChops.invert(kernel)
    if match.corners is None:
        box = (match.x, match.y, match.x + match.width, match.y + match.height)
        crop = image.crop(box)
    else:
        # Pillow takes the corners counter-clockwise from the top-left one.
        one, two, three, four = match.corners
        crop = image.transform(
            kernel.size,
            Image.Transform.QUAD,
            (*one, *four, *three, *two),
            Image.Resampling.BILINEAR,
        )
    urls = {"match": url(thumbnails.small(crop)), "kernel": url(thumbnails.small(kernel))}
    if crop.size == kernel.size:
        urls["difference"] = url(thumbnails.small(ImageChops.difference(crop, kernel)))
    return urls


def _displayed(picture: Picture, search: Finished) -> Image.Image:
    """Return a kernel as an RGB picture, in the image's range if it has the image's type."""
    pixels = picture.pixels
    if pixels.dtype == search.pixels.dtype:
        return rgb.picture(pixels, search.span, search.low)
    if pixels.dtype.kind == "u":
        return rgb.picture(pixels, float(np.iinfo(pixels.dtype).max), 0.0)
    return thumbnails.stretched(pixels)
