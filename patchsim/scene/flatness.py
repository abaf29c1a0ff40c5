"""Pictures of one colour, with which a search says little: notices for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from patchsim.errors import printable
from patchsim.types import Pixels

_ROWS = 16  # compared at a time: few pictures are flat, and then a look at the first rows is enough


def flat_notices(pixels: Sequence[Pixels], names: Sequence[str], metric: str) -> Iterator[str]:
    """What to tell of those that are flat.

    Parameters
    ----------
    pixels : sequence of array [H, W, C]
        What is searched, then the kernels, none of which the metric refuses.
    names : sequence of str
        What to call them.
    metric : str
    """
    image, *kernels = pixels
    flat = "is flat (each channel has one value)"
    if is_flat(image):
        yield f"{printable(names[0])} {flat}: no place in it differs from another"
    # The cosine is the same for all multiples of a colour.
    areas = "flat area of that colour" + (", however bright," if metric == "ncc" else "")
    for kernel, name in zip(kernels, names[1:], strict=True):
        if is_flat(kernel):
            yield f"kernel {printable(name)} {flat}: every {areas} matches it"


def is_flat(pixels: Pixels) -> bool:
    """Whether each channel of a picture [H, W, C] has one value."""
    row = pixels[0]
    return bool((row == row[0]).all()) and all(
        bool((pixels[top : top + _ROWS] == row).all()) for top in range(0, len(pixels), _ROWS)
    )
