"""`matchTemplates`, `findMatches` and `NMS` of Multi-Template-Matching, version 2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from patchsim.compat import maps, opencv
from patchsim.errors import InputError

Hit = tuple[str, tuple[int, int, int, int], float]  # label, (x, y, width, height), score
_BY_DIFFERENCE = (opencv.TM_SQDIFF, opencv.TM_SQDIFF_NORMED)


def matchTemplates(
    listTemplates: Sequence[tuple[Any, ...]],
    image: Any,
    method: int = opencv.TM_CCOEFF_NORMED,
    N_object: float = math.inf,
    score_threshold: float = 0.5,
    maxOverlap: float = 0.25,
    searchBox: tuple[int, int, int, int] | None = None,
) -> list[Hit]:
    """Find several templates in an image; of overlapping hits the best stays.

    Parameters
    ----------
    listTemplates : list of (label, template) or (label, template, mask)
        Arrays [h, w] or [h, w, C], of the image's type. Masks are as in
        `patchsim.compat.opencv.matchTemplate`, with every method.
    image : array [H, W] or [H, W, C] of uint8, uint16 or float32
    method : int
        A method of `patchsim.compat.opencv.matchTemplate` other than ``TM_SQDIFF``.
    N_object : int or infinity
        The largest number of hits; 1 is the best one whatever its score.
    score_threshold : float
        What scores must exceed, or with ``TM_SQDIFF_NORMED`` stay below.
    maxOverlap : float
        The largest intersection over union of two hits, 0 to 1.
    searchBox : (x, y, width, height), optional
        Search only here.

    Returns
    -------
    list of (label, (x, y, width, height), score)
        The best first.

    Raises
    ------
    InputError
        A ValueError: arguments do not fit.

    Examples
    --------
    >>> import numpy as np
    >>> from patchsim.compat import mtm
    >>> image = np.random.default_rng(0).integers(0, 256, (40, 50), np.uint8)
    >>> label, box, score = mtm.matchTemplates([("part", image[9:20, 7:30])], image, N_object=1)[0]
    >>> label, box, round(float(score), 3)
    ('part', (7, 9, 23, 11), 1.0)
    """
    if not 0 <= maxOverlap <= 1:
        raise InputError(f"maxOverlap is {maxOverlap!r}; give a number from 0 to 1")
    if method == opencv.TM_SQDIFF:
        raise InputError("TM_SQDIFF has no largest value; give TM_SQDIFF_NORMED")
    hits = findMatches(listTemplates, image, method, N_object, score_threshold, searchBox)
    return NMS(hits, score_threshold, method in _BY_DIFFERENCE, N_object, maxOverlap)


def findMatches(
    listTemplates: Sequence[tuple[Any, ...]],
    image: Any,
    method: int = opencv.TM_CCOEFF_NORMED,
    N_object: float = math.inf,
    score_threshold: float = 0.5,
    searchBox: tuple[int, int, int, int] | None = None,
) -> list[Hit]:
    """Find the windows that score best among their eight neighbours, overlapping ones too.

    Parameters are those of `matchTemplates`; hits come in the order of the templates.
    """
    if N_object != math.inf and not isinstance(N_object, int):
        raise TypeError(f"N_object is {N_object!r}; give an integer or infinity")
    pixels = maps.as_pixels(image, "image")
    left, top = searchBox[:2] if searchBox else (0, 0)
    if searchBox:
        pixels = pixels[top : top + searchBox[3], left : left + searchBox[2]]
    hits: list[Hit] = []
    for index, given in enumerate(listTemplates):
        if not isinstance(given, tuple) or len(given) not in (2, 3):
            raise InputError(
                f"listTemplates has {type(given).__name__} at {index}; give (label, template) or"
                " (label, template, mask)"
            )
        label, template = given[:2]
        taps = maps.as_pixels(template, f"template {label!r}")
        height, width = taps.shape[:2]
        if height > pixels.shape[0] or width > pixels.shape[1]:
            raise InputError(
                f"template {label!r} [{height}, {width}] is larger than the image or searchBox"
                f" {list(pixels.shape[:2])} (height, width); give a smaller one"
            )
        scores = opencv.matchTemplate(*_alike(pixels, taps), method, mask=(*given, None)[2])
        for row, col in _peaks(scores, method, N_object, score_threshold):
            place = (left + col, top + row, width, height)
            hits.append((label, place, float(scores[row, col])))
    return hits


def NMS(
    listHit: Sequence[Hit],
    scoreThreshold: float = 0.5,
    sortAscending: bool = False,
    N_object: float = math.inf,
    maxOverlap: float = 0.5,
) -> list[Hit]:
    """Return hits, the best first, without those that overlap a better one by more than allowed.

    Parameters
    ----------
    listHit : list of (label, (x, y, width, height), score)
    scoreThreshold : float
        What scores must exceed, or stay below with `sortAscending`. One hit alone is kept.
    sortAscending : bool
        Low scores are good.
    N_object : int or infinity
        The largest number of hits; 1 is the best one whatever its score.
    maxOverlap : float
        The largest intersection over union of two hits.
    """
    sign = -1 if sortAscending else 1
    ranked = sorted(listHit, key=lambda hit: -sign * hit[2])
    if len(ranked) <= 1 or N_object == 1:
        return ranked[:1]
    kept: list[Hit] = []
    for hit in ranked:
        if len(kept) >= N_object or not sign * hit[2] > sign * scoreThreshold:
            break
        if all(_overlap(hit[1], other[1]) <= maxOverlap for other in kept):
            kept.append(hit)
    return kept


def _alike(pixels: NDArray[Any], taps: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    if pixels.dtype == taps.dtype == np.uint8:
        return pixels, taps
    if np.float64 in (pixels.dtype, taps.dtype):
        raise InputError("image or template is of float64; give arrays of up to 32 bits")
    return pixels.astype(np.float32), taps.astype(np.float32)


def _peaks(
    scores: NDArray[np.float32], method: int, most: float, threshold: float
) -> list[tuple[int, int]]:
    """Return rows and columns of the best windows, or of all that beat their neighbours."""
    good, lowest = (-scores, -threshold) if method in _BY_DIFFERENCE else (scores, threshold)
    if most == 1:
        row, col = np.unravel_index(good.argmax(), good.shape)
        return [(int(row), int(col))]
    is_peak = (good == ndimage.maximum_filter(good, 3, mode="nearest")) & (good > lowest)
    # The first of neighbours that score the same stands for all.
    areas, _ = ndimage.label(is_peak, np.ones((3, 3)))
    firsts = np.unique(areas[is_peak], return_index=True)[1]
    return [(int(row), int(col)) for row, col in np.argwhere(is_peak)[np.sort(firsts)]]


def _overlap(one: tuple[int, int, int, int], other: tuple[int, int, int, int]) -> float:
    """Return the intersection over union of two boxes (x, y, width, height)."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    shared = max(width, 0) * max(height, 0)
    return shared / (one[2] * one[3] + other[2] * other[3] - shared)
