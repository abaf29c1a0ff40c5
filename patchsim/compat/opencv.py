"""`cv2.matchTemplate` with OpenCV's methods, values, shapes and types.

``from patchsim.compat import opencv as cv2`` replaces the import for this function. The formulas
are those of OpenCV's documentation of `TemplateMatchModes`; what is computed is patchsim's map of
`ssd`, `ncc` or `zncc`, from which the sums follow.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.compat import maps
from patchsim.engines.fft import window_moments
from patchsim.errors import InputError
from patchsim.numerics.box_sums import box_sums
from patchsim.numerics.overlap_save import norm_of, overlap_save, rounding

TM_SQDIFF, TM_SQDIFF_NORMED, TM_CCORR, TM_CCORR_NORMED, TM_CCOEFF, TM_CCOEFF_NORMED = range(6)

_Sums = NDArray[np.float64]


def matchTemplate(
    image: Any, templ: Any, method: int, result: Any = None, mask: Any = None
) -> NDArray[np.float32]:
    """Compare a template with every window of an image, as `cv2.matchTemplate` does.

    Parameters
    ----------
    image, templ : arrays [H, W] or [H, W, C] of uint8 or float32
        Of one type and number of channels. An image that is no larger than the template in either
        direction changes places with it, as in OpenCV.
    method : int
        ``TM_SQDIFF``, ``TM_SQDIFF_NORMED``, ``TM_CCORR``, ``TM_CCORR_NORMED``, ``TM_CCOEFF`` or
        ``TM_CCOEFF_NORMED``, 0 to 5.
    result : float32 array [H - h + 1, W - w + 1], optional
        Is filled and returned if it has this shape and type.
    mask : array [h, w] or [h, w, C] of uint8 or float32, optional
        Where it is 0, the template's pixels do not count. Its other values must be equal, and
        so must its channels: weights are not offered. A uint8 mask may hold any values, which
        all count the same, as in OpenCV.

    Returns
    -------
    float32 array [H - h + 1, W - w + 1]
        OpenCV's values. They are always finite: with a mask OpenCV gives infinity or NaN for
        windows without contrast or without light, where this gives what it gives without a mask:
        0 for correlations, 1 for ``TM_SQDIFF_NORMED``, and 1 everywhere for ``TM_CCOEFF_NORMED``
        of a template of one colour.

    Raises
    ------
    InputError
        A ValueError: the types, shapes or the method do not fit, or values are not finite.

    Notes
    -----
    OpenCV's transforms in float32 leave ``TM_CCOEFF_NORMED`` of photographs off by up to 1e-3; this
    is within 1e-6 of the formulas, relative to 1 or to the largest sum of squares. OpenCV scores
    windows of two or three pixels that differ by 1 as flat; here a window of bytes is flat if all
    its pixels are equal.

    Examples
    --------
    >>> import numpy as np
    >>> from patchsim.compat import opencv as cv2
    >>> image = np.arange(200, dtype=np.uint8).reshape(10, 20)
    >>> found = cv2.matchTemplate(image, image[4:7, 5:9], cv2.TM_SQDIFF)
    >>> np.unravel_index(found.argmin(), found.shape)
    (np.int64(4), np.int64(5))
    """
    pixels, taps = maps.as_pixels(image, "image"), maps.as_pixels(templ, "templ")
    if type(method) is bool or method not in range(6):
        raise InputError(
            f"method {method!r} is none of OpenCV's; give TM_SQDIFF to TM_CCOEFF_NORMED"
        )
    if pixels.dtype != taps.dtype or pixels.dtype.name not in ("uint8", "float32"):
        raise InputError(
            f"image has the type {pixels.dtype} and templ {taps.dtype}; give both as uint8 or both"
            " as float32"
        )
    if pixels.shape[2] != taps.shape[2]:
        raise InputError(
            f"image has {pixels.shape[2]} channels and templ {taps.shape[2]}; give the same number"
        )
    if any(side < other for side, other in zip(pixels.shape, taps.shape, strict=True)):
        if mask is not None or any(a > b for a, b in zip(pixels.shape, taps.shape, strict=True)):
            raise InputError(
                f"templ {list(taps.shape[:2])} is larger than image {list(pixels.shape[:2])}"
                " (height, width); give a smaller one"
            )
        pixels, taps = taps, pixels
    values = _values(pixels, taps, int(method), _binary(mask, taps)).astype(np.float32, copy=False)
    is_fit = isinstance(result, np.ndarray) and result.dtype == np.float32
    if is_fit and result.shape == values.shape and result.flags.writeable:
        result[...] = values
        return result  # type: ignore[no-any-return] # its type was compared
    return values


def _binary(mask: Any, taps: NDArray[Any]) -> NDArray[np.uint8] | None:
    """Return a mask of 0 and 1, [h, w]."""
    if mask is None:
        return None
    array = maps.as_pixels(mask, "mask")
    if array.shape[:2] != taps.shape[:2] or array.shape[2] not in (1, taps.shape[2]):
        raise InputError(
            f"mask has the shape {list(np.shape(mask))} and templ {list(taps.shape)}; give a mask"
            " of the template's height and width, with one channel or as many"
        )
    if array.dtype.name not in ("uint8", "float32"):
        raise InputError(f"mask has the type {array.dtype}; give it as uint8 or float32")
    counts: NDArray[np.bool_] = array[..., 0] != 0
    levels = np.unique(array[array != 0])
    if (array.dtype != np.uint8 and len(levels) > 1) or ((array != 0) != counts[..., None]).any():
        raise InputError(
            "mask has weights or channels that differ; give one that is 0 where a pixel does not"
            " count and has one other value"
        )
    if not counts.any():
        raise InputError("mask is 0 everywhere, so that no pixel counts; give one with others")
    return counts.astype(np.uint8)


def _values(
    pixels: NDArray[Any], taps: NDArray[Any], method: int, mask: NDArray[np.uint8] | None
) -> _Sums | maps.Map:
    often = np.ones(taps.shape[:2]) if mask is None else mask.astype(float)
    if method in (TM_SQDIFF, TM_SQDIFF_NORMED):
        limits = None if pixels.dtype == np.uint8 else maps.value_range(pixels, taps)
        low, high = limits or (0, 255)
        scores = maps.score_map(pixels, taps, "ssd", mask=mask, data_range=limits)
        count = often.sum() * taps.shape[2]
        squares: _Sums = np.subtract(1, scores, dtype=np.float64)
        squares *= count * (high - low) ** 2
        if limits is None:
            np.rint(squares, out=squares)  # sums of integers
        return squares if method == TM_SQDIFF else _normed(squares, pixels, taps, often, mask)
    is_centred = method in (TM_CCOEFF, TM_CCOEFF_NORMED)
    wide = taps.astype(float)
    if is_centred:
        wide = wide - (wide * often[..., None]).sum(0).sum(0) / often.sum()
    shape = tuple(a - b + 1 for a, b in zip(pixels.shape[:2], taps.shape[:2], strict=True))
    counted = taps[often > 0]
    if (counted == counted[0]).all() if is_centred else not counted.any():
        return np.full(shape, float(method == TM_CCOEFF_NORMED))
    scores = maps.score_map(pixels, taps, "zncc" if is_centred else "ncc", mask=mask)
    if method in (TM_CCORR_NORMED, TM_CCOEFF_NORMED):
        return scores
    spread = _energies(pixels, often, mask, is_centred=is_centred)
    spread *= (often[..., None] * wide**2).sum()
    products: _Sums = np.sqrt(spread, out=spread)
    products *= scores
    return products


def _normed(
    squares: _Sums,
    pixels: NDArray[Any],
    taps: NDArray[Any],
    often: _Sums,
    mask: NDArray[np.uint8] | None,
) -> _Sums:
    """Divide differences by the root of both energies; 1 where that is 0."""
    template_energy = (often[..., None] * taps.astype(float) ** 2).sum()
    root = np.sqrt(_energies(pixels, often, mask, is_centred=False) * template_energy)
    ratio: _Sums = np.divide(squares, root, out=np.ones_like(squares), where=root > 0)
    return np.minimum(ratio, 1) if mask is None else ratio  # OpenCV's, too


def _energies(
    pixels: NDArray[Any], often: _Sums, mask: NDArray[np.uint8] | None, *, is_centred: bool
) -> _Sums:
    """Return each window's sum of squares, on request after each channel's mean is taken off."""
    height, width = often.shape
    channels = pixels.shape[2]
    is_whole = mask is None and pixels.dtype == np.uint8
    if is_whole and window_moments.has_moments(height, channels):
        zeros = np.zeros(channels, np.int64)
        weights = zeros if is_centred else None
        spread, _ = window_moments.moments(pixels, (height, width), (1, 1), zeros, weights)
        # It is n E - sum S^2 where the means are taken off.
        return spread / (height * width) if is_centred else spread
    wide = pixels.astype(float)
    if not is_centred:
        return np.maximum(_sums((wide**2).sum(2), often, mask), 0)
    total = np.zeros(())
    for plane in np.moveaxis(wide - wide.mean(0).mean(0), 2, 0):
        total = total + _sums(plane**2, often, mask) - _sums(plane, often, mask) ** 2 / often.sum()
    return np.maximum(total, 0)


def _sums(plane: _Sums, often: _Sums, mask: NDArray[np.uint8] | None) -> _Sums:
    """Return the sum over each window of what counts."""
    if mask is None:
        sums: _Sums = box_sums(plane, (often.shape[0], often.shape[1]), (1, 1))
        return sums
    products: _Sums = overlap_save(plane[None], often[None])
    off = norm_of(plane) * norm_of(often) * rounding(products.dtype)
    products[abs(products) <= off] = 0  # dark windows; what is left of them is rounding
    return products
