"""Colour profiles: pictures that were stored in different colour spaces are brought to sRGB.

The values of pictures with one profile are compared as they are. Where profiles differ, Pillow's
ImageCms (LittleCMS) converts the values with the relative colorimetric intent of ICC.1. It takes
8 bits; `cms_transform` of imagecodecs, which is LittleCMS too, takes 16 bits and floats.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from patchsim.errors import printable
from patchsim.pictures import windowed
from patchsim.pictures.reader import Picture
from patchsim.types import Pixels

if TYPE_CHECKING:
    from collections.abc import Callable

_UNTAGGED = b""  # a picture without a profile is taken as sRGB
_STRIP = 64  # rows that are converted at a time
_LEVELS = 9  # of each channel, of the colours by which profiles are compared
_ALIKE = 1  # levels of Lab of 8 bits that the same colour may differ by
_RELATIVE = 1  # the relative colorimetric intent of imagecodecs
_UNOPTIMIZED = 0x0100  # cmsFLAGS_NOOPTIMIZE: no table of 33 values, which 16 bits would see
_MOST_NAMED = 3  # pictures
_SPACES = {"RGB": (1, 3), "GRAY": (1,)}  # channels of the pictures that they may describe
_PACKAGE = "imagecodecs"


class _Profile(NamedTuple):
    """A profile that LittleCMS could read: its description and its colour space."""

    name: str
    space: str


def has_several_spaces(pictures: Sequence[Picture]) -> bool:
    """Return whether pictures have different colour spaces; those of arrays are not known."""
    known = [picture for picture in pictures if picture.profile is not None]
    if not _has_several(known) or all(_is_srgb(picture) for picture in known):
        return False
    if len({_channels(picture) for picture in known}) > 1:
        return True
    first, *others = (_colors(_usable(picture), _channels(picture)) for picture in known)
    return not all(_is_close(first, other) for other in others)


def _has_several(pictures: Sequence[Picture]) -> bool:
    return len({picture.profile for picture in pictures} - {None}) > 1


def in_srgb(picture: Picture, *, in_place: bool = False) -> Picture:
    """Return a picture with its values in sRGB; itself if they are, or cannot be converted.

    Parameters
    ----------
    picture : Picture
    in_place : bool
        Its pixels may be overwritten.
    """
    if picture.profile is None or _is_srgb(picture) or _obstacle(picture):
        return picture
    if picture.pixels.dtype.kind == "f" and not _is_within_one(
        windowed.with_extremes(picture.pixels)
    ):
        return picture  # it will be refused, or has no colours
    pixels = picture.pixels
    if windowed.of(pixels) is not None:
        of_window = _converter(_usable(picture), _channels(picture), pixels.dtype)
        return picture._replace(pixels=windowed.each(pixels, of_window), profile=_UNTAGGED)
    converted = pixels if in_place and pixels.flags.writeable else np.empty_like(pixels)
    convert = _converter(_usable(picture), _channels(picture), pixels.dtype)
    for top in range(0, len(pixels), _STRIP):
        strip = np.ascontiguousarray(pixels[top : top + _STRIP])
        converted[top : top + _STRIP] = convert(strip)
    return picture._replace(pixels=converted, profile=_UNTAGGED)


def notices(pictures: Sequence[Picture], *, is_converted: bool) -> tuple[str, ...]:
    """Return what the user should know of the profiles of pictures that are compared.

    Parameters
    ----------
    pictures : sequence of Picture
    is_converted : bool
        Values are brought to sRGB where profiles differ, as without a data range.
    """
    told, named = _unapplied(pictures), []
    if not _has_several(pictures):
        return tuple(told)
    is_mixed = has_several_spaces(pictures)
    for picture in {id(picture): picture for picture in pictures}.values():
        if not picture.profile:
            continue
        problem = _problem(picture)
        if problem is None and is_mixed and not _is_srgb(picture):
            problem = _obstacle(picture)
            if problem is None:
                named.append(f"{printable(picture.name)} ({_name(picture)})")
        if problem is not None:
            told.append(f"{printable(picture.name)} has {problem}")
    if named:
        more = len(named) - _MOST_NAMED
        names = ", ".join(named[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        names += " is" if len(named) == 1 else " are"
        what = (
            "converted to sRGB; --ignore-profile (ignore_profile=True) compares values as they are"
            if is_converted
            else "not sRGB; with --data-range values are compared as they are"
        )
        told.append(f"the colour profiles differ: {names} {what}")
    return tuple(dict.fromkeys(told))


def _unapplied(pictures: Sequence[Picture]) -> list[str]:
    """Return which pictures have colours that are not applied, unless all state the same."""
    keys = [picture.profile if picture.unapplied is None else picture.unapplied.key
            for picture in pictures]  # fmt: skip
    if len(set(keys) - {None}) < 2:
        return []
    unapplied = {picture.name: picture.unapplied.what for picture in pictures if picture.unapplied}
    return [f"{printable(name)} has {what}" for name, what in unapplied.items()]


def _problem(picture: Picture) -> str | None:
    """Return why a profile is not used: it is damaged, or describes other values."""
    assert picture.profile is not None
    known = _read(picture.profile)
    if known is None:
        return "a damaged colour profile, which is ignored"
    if _channels(picture) not in _SPACES.get(known.space, ()):
        return f"a colour profile for {known.space}, which is not applied to the values as read"
    if _colors(picture.profile, _channels(picture)) is None:
        return "a colour profile that cannot be applied, which is ignored"
    return None


def _obstacle(picture: Picture) -> str | None:
    """Return why the values of a picture with a sound profile cannot be converted, if so."""
    assert picture.profile is not None
    dtype, name = picture.pixels.dtype, _name(picture)
    if picture.shift:
        return f"the colour profile {name}, which is not applied to signed values"
    if dtype == np.uint8:
        return None
    try:
        import imagecodecs

        if imagecodecs.CMS.available:
            return None
    except ImportError:
        pass
    return (
        f"the colour profile {name}, which is not applied to {dtype}: the package for it is not"
        f" installed; pip install {_PACKAGE}"
    )


def _name(picture: Picture) -> str:
    known = _read(picture.profile or _UNTAGGED)
    return printable(known.name) if known else ""


def _channels(picture: Picture) -> int:
    return int(picture.pixels.shape[2])


def _usable(picture: Picture) -> bytes:
    """Return the profile, or that of an untagged picture if it cannot be used."""
    if not picture.profile or _problem(picture):
        return _UNTAGGED
    return picture.profile


def _is_srgb(picture: Picture) -> bool:
    usable, channels = _usable(picture), _channels(picture)
    if usable == _UNTAGGED:
        return True
    return _is_close(_colors(usable, channels), _colors(_UNTAGGED, channels))


def _is_close(first: NDArray[np.uint8] | None, second: NDArray[np.uint8] | None) -> bool:
    if first is None or second is None:
        return first is second
    light = first[:, 0].astype(np.int16) - second[:, 0]
    # a* and b* are bytes around 0, whatever the offset that Pillow gives them.
    hue = (first[:, 1:] - second[:, 1:]).view(np.int8).astype(np.int16)
    return max(int(np.abs(light).max()), int(np.abs(hue).max())) <= _ALIKE


@lru_cache(maxsize=32)
def _read(content: bytes) -> _Profile | None:
    """Read a profile; None if it is damaged."""
    try:
        from PIL import ImageCms

        profile = _opened(content)
        space = profile.profile.xcolor_space.strip()
        return _Profile(ImageCms.getProfileDescription(profile).strip() or "unnamed", space)
    except Exception:  # LittleCMS' errors, and those of text that is no text
        return None


def _opened(content: bytes) -> Any:
    from PIL import ImageCms

    if content == _UNTAGGED:
        return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
    return ImageCms.ImageCmsProfile(io.BytesIO(content))


@lru_cache(maxsize=64)
def _colors(content: bytes, channels: int) -> NDArray[np.uint8] | None:
    """Return colours of a profile [N, 3] in Lab of 8 bits; None if it gives none."""
    from PIL import ImageCms

    if channels == 1:
        values = np.arange(256, dtype=np.uint8)[:, None]
    else:
        levels = np.linspace(0, 255, _LEVELS).round().astype(np.uint8)
        values = np.stack(np.meshgrid(*[levels] * 3, indexing="ij"), -1).reshape(-1, 3)
        greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, 1)
        values = np.concatenate([values, greys])
    try:
        mode, values = _as_mode(content, values[None])
        transform = ImageCms.buildTransform(
            _opened(content),
            ImageCms.createProfile("LAB"),
            mode,
            "LAB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
        )
        colors: NDArray[np.uint8] = np.array(transform.apply(Image.fromarray(values)))[0]
        return colors
    except Exception:  # a profile without what it needs
        return None


def _as_mode(content: bytes, values: Pixels) -> tuple[str, Pixels]:
    """Return Pillow's mode of values [H, W, C] for a profile, and the values in it."""
    known = _read(content)
    if known is not None and known.space == "GRAY":
        return "L", values[..., 0]
    return "RGB", np.repeat(values, 3, 2) if values.shape[2] == 1 else values


def _is_within_one(pixels: Pixels) -> bool:
    return bool(pixels.min() >= 0 and pixels.max() <= 1)  # not with a NaN


def _converter(
    content: bytes, channels: int, dtype: np.dtype[Any]
) -> Callable[[Pixels], NDArray[Any]]:
    """Return the function that converts strips [H, W, C]; greys stay greys."""
    mode, _ = _as_mode(content, np.zeros((1, 1, channels), dtype))
    transform = _of_bytes(content, mode) if dtype == np.uint8 else _of_more(content, mode, dtype)

    def convert(strip: Pixels) -> NDArray[Any]:
        _, values = _as_mode(content, strip)
        converted = transform(values)
        return converted if channels == 3 else converted[..., 1:2]

    return convert


def _of_bytes(content: bytes, mode: str) -> Callable[[Pixels], NDArray[Any]]:
    from PIL import ImageCms

    transform = ImageCms.buildTransform(
        _opened(content),
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
    )
    return lambda values: np.asarray(transform.apply(Image.fromarray(values)))


def _of_more(content: bytes, mode: str, dtype: np.dtype[Any]) -> Callable[[Pixels], NDArray[Any]]:
    import imagecodecs

    srgb, space = _opened(_UNTAGGED).tobytes(), "gray" if mode == "L" else "rgb"

    def transform(values: Pixels) -> NDArray[Any]:
        converted: NDArray[Any] = imagecodecs.cms_transform(
            values, content, srgb, colorspace=space, outcolorspace="rgb", intent=_RELATIVE,
            flags=_UNOPTIMIZED,
        )  # fmt: skip
        return np.clip(converted, 0, 1) if dtype.kind == "f" else converted

    return transform
