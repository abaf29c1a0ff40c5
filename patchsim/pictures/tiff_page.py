"""How a page of a TIFF is read: by Pillow if that keeps its values, or else by tifffile."""

from __future__ import annotations

from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

from patchsim.pictures import (
    fax,
    least_bytes,
    nodata,
    pillow_depth,
    pillow_reader,
    tiff,
    tiff_directory,
    tiff_jpeg,
    tiff_tags,
)
from patchsim.pictures.limits import Decoded, Limits


def read(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read a page of a TIFF; what its GDAL_NODATA names is transparent."""
    return nodata.hidden(_tiff_page(stream, limits), stream, limits.name)


def _tiff_page(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read a page of a TIFF by Pillow if that keeps its values, or else by tifffile."""
    tiff_tags.check(stream, limits)
    page = tiff_directory.find_page(stream)
    if page is None:
        return tiff.read(stream, limits, "a TIFF that Pillow cannot read, or damaged")
    width, height = tiff_directory.size(page.tags)
    limits.check_held(width, height, least_bytes.of_tiff(page.tags))
    reason = tiff_directory.unsupported(page.tags) or _pillows_limit(page)
    if reason is not None:
        return tiff.read(stream, limits, reason)
    try:
        image, counted = pillow_reader.open_image(stream, limits)
    except UnidentifiedImageError:
        return tiff.read(stream, limits, "a TIFF that Pillow cannot read, or damaged")
    with image:
        if page.number:
            image.seek(page.number)
        limits.check_pixels(*image.size)
        reason = pillow_depth.unsupported_depth(image, None)
        if reason is not None:
            return tiff.read(stream, limits, reason)
        decoded = pillow_reader.decode(image, limits, counted)
    if page.is_alone:
        return decoded
    return decoded._replace(notices=(tiff_directory.pages_notice(limits.name, page.number),))


def complaints(stream: BinaryIO, limits: Limits, decoded: Decoded) -> list[str]:
    """Return what is wrong with a TIFF that was decoded: Pillow mutes libtiff's warnings."""
    page = tiff_directory.find_page(stream)
    if page is None:
        return []
    if tiff_directory.is_fax(page.tags):
        return fax.complaints(stream, limits, page)
    complaint = tiff_jpeg.complaint(stream, page.tags, decoded.pixels)
    return [] if complaint is None else [complaint]


def _pillows_limit(page: tiff_directory.Page) -> str | None:
    """Return that a page has more pixels than Pillow decodes, if it has; it checks TIFFs twice."""
    most = Image.MAX_IMAGE_PIXELS
    if most is None or tiff_directory.pixel_count(page.tags) <= 2 * most:
        return None
    return f"a TIFF of more than {2 * most:,} pixels, which Pillow refuses"
