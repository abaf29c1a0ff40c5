"""The keywords of a search, as callers give them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypedDict

from patchsim import choices
from patchsim.geometry.area import Region

_Values = str | float | Sequence[float]
_Scales = str | float | Sequence[float | tuple[float, float]]


class Given(TypedDict, total=False):
    """The keywords of `match` and `Matcher`; the docstring of `match` explains them."""

    stride: int | tuple[int, int]
    region: Region | None
    frame: int | str | None
    level: int
    padding: str
    metric: str
    color: str
    ignore_profile: bool
    device: str
    engine: str
    top: int | None
    threshold: float | str | None
    overlap: float
    margin: bool | None
    alpha: bool
    transparent: str | None
    ignore: Region | Sequence[Region] | None
    nan: str
    worst: float | None
    pixel_tolerance: float | None
    max_differing: float | None
    ignore_alpha: bool
    trim: bool
    min_visible: float | None
    channel_weights: Sequence[float] | None
    per_kernel: bool
    strict: bool
    sort: str
    subpixel: bool
    scales: _Scales | None
    angles: _Values | None
    flips: str | Sequence[str] | None
    invert: bool
    max_poses: int | None
    same_scale: bool
    exhaustive: bool
    tolerance: float
    data_range: tuple[float, float] | None
    max_pixels: int
    memory: int | str | None
    threads: int | None


def check_keywords(given: Iterable[str], function: str, others: Iterable[str] = ()) -> None:
    """Check that a function knows the keywords of its ``**options``.

    Parameters
    ----------
    given : iterable of str
    function : str
        The name of the function in the message.
    others : iterable of str
        The keywords that the function has beside the options.

    Raises
    ------
    TypeError
        If a keyword is unknown; the message names the most similar keyword.
    """
    unknown = [name for name in given if name not in Given.__annotations__]
    if not unknown:
        return
    import difflib

    known = choices.OTHER_NAMES.get(unknown[0])
    similar = difflib.get_close_matches(unknown[0], [*others, *Given.__annotations__], n=1)
    similar = similar if known is None else [known]
    hint = f"did you mean {similar[0]!r}?" if similar else f"help(patchsim.{function}) lists them"
    raise TypeError(f"{function}() got an unexpected keyword argument {unknown[0]!r}; {hint}")
