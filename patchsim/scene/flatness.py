"""Which pictures have a single colour, so that a search says little, and how that is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from patchsim.errors import titled
from patchsim.geometry.area import Area
from patchsim.pictures import windowed
from patchsim.types import Pixels

_ROWS = 16  # rows that are compared at a time; most pictures differ within the first


def flat_notices(
    image: Pixels, area: Area, flat_kernels: Sequence[bool], names: Sequence[str], metric: str
) -> Iterator[str]:
    """Yield a notice for each flat picture.

    Parameters
    ----------
    image : array [H, W, C]
        The pixels of the searched area.
    area : Area
    flat_kernels : sequence of bool
        Whether each kernel is flat; the metric is defined for every kernel.
    names : sequence of str
        The names of the kernels.
    metric : str
        One of `choices.METRICS`.
    """
    defect = "is flat (each channel has one value)"
    if is_flat(image):
        yield f"{area.name} {defect}: no place in it differs from another"
    # The cosine is the same for all multiples of a colour.
    areas = "flat area of that colour" + (", however bright," if metric == "ncc" else "")
    for flat, name in zip(flat_kernels, names, strict=True):
        if flat:
            yield f"{titled('kernel', name)} {defect}: every {areas} matches it"


def is_flat(pixels: Pixels) -> bool:
    """Return whether each channel of a picture [H, W, C] has a single value.

    One that is read by windows is not read for it, and counts as not flat.
    """
    if windowed.of(pixels) is not None:
        return False
    if pixels[0, 0].tolist() != pixels[-1, -1].tolist():  # as in most pictures
        return False
    row = pixels[0]
    return bool((row == row[0]).all()) and all(
        bool((pixels[top : top + _ROWS] == row).all()) for top in range(0, len(pixels), _ROWS)
    )
