"""The pictures of a search: image, kernels and mask, opened within its memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from patchsim.errors import InputError, shown
from patchsim.options import Options
from patchsim.pictures import reader

if TYPE_CHECKING:
    from patchsim.pictures.reader import Source


def as_list(kernel: Source | Sequence[Source]) -> list[Source]:
    """One kernel or several, at least one."""
    if isinstance(kernel, list | tuple):
        kernels: list[Source] = list(kernel)
    else:
        kernels = [cast("Source", kernel)]
    if not kernels:
        raise InputError("there is no kernel; give at least one")
    return kernels


def opened(
    image: Source, kernels: list[Source], mask: Source | None, options: Options
) -> list[reader.Picture]:
    """The image, then the kernels, then the mask if there is one."""
    sources = [image, *kernels] + ([] if mask is None else [mask])
    streams = sum(reader.is_stdin(source) for source in sources)
    if streams > 1:
        raise InputError(f"standard input '-' is asked for {streams} pictures; it can hold one")
    several = len(kernels) > 1
    names = ["image", *(f"kernel-{i}" if several else "kernel" for i in range(1, len(kernels) + 1))]
    found: list[reader.Picture] = []
    left = options.memory
    for name, source in zip([*names, "mask"], sources, strict=False):
        found.append(
            reader.open_picture(
                source, name=name, max_pixels=options.max_pixels, memory=max(0, left)
            )
        )
        left -= found[-1].pixels.nbytes  # what is already decoded stays
    return found


def notices(
    pictures: list[reader.Picture], mask: reader.Picture | None, *, ignore_alpha: bool
) -> tuple[str, ...]:
    """What to know about the pictures; each thing once."""
    found = [text for picture in pictures for text in picture.notices]
    if mask is not None and mask.alpha is not None:
        found.append(f"mask {shown(mask.name)} has transparent pixels; only its grey counts")
    found += [
        f"{shown(picture.name)} has transparent pixels; alpha is ignored"
        for picture in pictures
        if ignore_alpha and picture.alpha is not None
    ]
    return tuple(dict.fromkeys(found))
