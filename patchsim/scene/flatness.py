"""Which pictures have a single colour, so that a search says little, and how that is told."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from patchsim.errors import named, printable
from patchsim.types import Pixels

_ROWS = 16  # rows that are compared at a time; most pictures differ within the first


def flat_notices(pixels: Sequence[Pixels], names: Sequence[str], metric: str) -> Iterator[str]:
    """Yield a notice for each flat picture.

    Parameters
    ----------
    pixels : sequence of array [H, W, C]
        The searched area, then the kernels; the metric is defined for every kernel.
    names : sequence of str
        The pictures' names.
    metric : str
        One of `choices.METRICS`.
    """
    image, *kernels = pixels
    defect = "is flat (each channel has one value)"
    if is_flat(image):
        yield f"{printable(names[0])} {defect}: no place in it differs from another"
    # The cosine is the same for all multiples of a colour.
    areas = "flat area of that colour" + (", however bright," if metric == "ncc" else "")
    for kernel, name in zip(kernels, names[1:], strict=True):
        if is_flat(kernel):
            yield f"{named('kernel', name)} {defect}: every {areas} matches it"


def is_flat(pixels: Pixels) -> bool:
    """Return whether each channel of a picture [H, W, C] has a single value."""
    row = pixels[0]
    return bool((row == row[0]).all()) and all(
        bool((pixels[top : top + _ROWS] == row).all()) for top in range(0, len(pixels), _ROWS)
    )
