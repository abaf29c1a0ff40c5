"""How pictures get one type and one range of values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from patchsim.errors import InputError, printable
from patchsim.metrics import INTEGER_RANGE, check_range, formula_of, type_name
from patchsim.options import Options
from patchsim.pictures import arrays, windowed
from patchsim.pictures.reader import Picture
from patchsim.types import Pixels

_UNSCALED = 2.0**-20, 2.0**20  # float ranges of this size, such as 12-bit data, are not scaled
_LARGEST_EXPONENT = 1022  # of a range from -2^1022 to 2^1022, whose width is a float
_LARGEST_RANGE = 400  # the exponent of the widest range of scaled values; its square is a float
_ROW_STEP = 16  # of the rows that are looked at first
_KERNEL_EXPONENTS = 60  # of the largest value of a kernel, whose square float32 holds


class CommonRange(NamedTuple):
    """The one type and range of pictures that are compared.

    Attributes
    ----------
    dtype : dtype
    low, span : float
        The lower end of the data range, and its width R.
    is_given : bool
        The range was given, so that values keep their size.
    power : int
        The power of two by which floats are scaled; otherwise their squares could leave float32.
    shift : int
        What is added to the values, so that signed integers are uint16. `low` has it, too.
    """

    dtype: np.dtype[Any]
    low: float
    span: float
    is_given: bool
    power: int = 0
    shift: int = 0

    def convert(self, pixels: Pixels, shift: int = 0) -> Pixels:
        """Bring the pixels of a picture, whose values have been shifted, to the type and range."""
        if self.shift != shift and self.dtype == np.uint16:
            # Exact, because the values are in the data range; a sum is modulo 65536.
            return pixels.astype(np.uint16) + np.uint16((self.shift - shift) % (1 << 16))
        if self.shift != shift:
            pixels = pixels.astype(np.float64) - shift
        converted = _to_type(pixels, self.dtype, scale=not self.is_given)
        return np.ldexp(converted, self.power) if self.power else converted

    def convert_alone(self, pixels: Pixels, shift: int = 0) -> Pixels:
        """Convert a kernel whose scores are the same if it alone is scaled.

        Its power of two is its own if its values are far from 1 by that of the image.
        """
        if self.dtype.kind != "f":
            return self.convert(pixels, shift)
        unscaled = self._replace(power=0).convert(pixels, shift)
        largest = max(abs(float(unscaled.min())), abs(float(unscaled.max())))
        power, exponent = self.power, math.frexp(largest)[1]
        if largest and abs(exponent + power) > _KERNEL_EXPONENTS:
            power = -exponent
        return np.ldexp(unscaled, power) if power else unscaled


def power_near_1(image: Picture, ends: tuple[float, float]) -> int | None:
    """Return the power of two that brings the values of an image near 1, or 0 if they are.

    None for unsigned integers, and where the values are not known.

    Parameters
    ----------
    image : Picture
    ends : (lowest, highest)
        Its values, from `extent`.
    """
    is_unsigned = image.pixels.dtype.kind == "u" and not image.shift
    if is_unsigned or not np.isfinite(ends).all():
        return None
    largest = max(map(abs, ends))
    if largest == 0 or _UNSCALED[0] <= largest <= _UNSCALED[1]:
        return 0
    return -math.frexp(largest)[1]


def is_as_usual(pixels: Pixels, options: Options) -> bool:
    """Return whether all values lie in the data range that was given, or is that of their type.

    Others are refused, or have a range of their own, and so have floats that are far from 1.
    """
    if pixels.dtype.kind == "u" and options.data_range is None:
        return True
    low, high = options.data_range or (0.0, 1.0)
    ends = float(pixels.min()), float(pixels.max())
    if not (ends[0] >= low and ends[1] <= high):  # nor is NaN
        return False
    return not formula_of(options.metric).correlates or not power_near_1(Picture("", pixels), ends)


def common(
    pictures: Sequence[Picture],
    data_range: tuple[float, float] | None,
    *,
    may_shift: bool = True,
    may_round: bool = True,
    power: int | None = None,
) -> CommonRange:
    """Return the type and range in which pictures are compared.

    Without a data range, 8-bit values beside 16-bit values are scaled from 255 to 65535, and
    integers beside floats are divided by the largest value of their type. With a data range,
    values keep their size; but floats whose range is far from 1 are scaled by a power of two,
    which changes no score and keeps their squares within float32. Signed integers of up to 16 bits
    are compared as uint16, if the data range is no wider, or else as float64.

    Parameters
    ----------
    pictures : sequence of Picture
    data_range : (low, high), optional
    may_shift : bool
        Whether the scores stay the same if all values are shifted.
    may_round : bool
        Whether values that are made of integers may be integers, too.
    power : int, optional
        The power of two by which floats are scaled, in place of the one that suits the data range.
    """
    if any(picture.shift for picture in pictures) and data_range is not None:
        shift = max(0, -math.floor(data_range[0]))
        are_integers = all(picture.pixels.dtype.kind == "u" for picture in pictures)
        may_be_integers = may_round and (may_shift or shift == 0) and are_integers
        if may_be_integers and data_range[1] + shift <= np.iinfo(np.uint16).max:
            low, span = float(data_range[0]) + shift, check_range(data_range)
            return CommonRange(np.dtype(np.uint16), low, span, is_given=True, shift=shift)
    dtypes = [
        np.dtype(np.float64) if picture.shift else picture.pixels.dtype for picture in pictures
    ]
    dtype = np.result_type(*dtypes)
    if data_range is None:
        if dtype.kind == "f":
            # float32 holds 8- and 16-bit values exactly; only a float64 picture needs more.
            dtype = np.dtype(np.float64 if np.float64 in dtypes else np.float32)
        usual = CommonRange(dtype, 0.0, INTEGER_RANGE.get(type_name(dtype), 1), is_given=False)
        return _scaled(usual, power or 0)
    size = max(map(abs, data_range))
    if dtype.kind != "f" and math.frexp(size)[1] > _LARGEST_RANGE:  # whose square is no float
        low, high = data_range
        raise InputError(
            f"the data range {low:g} to {high:g} is too wide for {type_name(dtype)};"
            " give that of the pictures' values"
        )
    ends = [_in_type(data_range, one) for one in pictures]  # each one's values lie in its own
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    span = check_range((low, high))
    if power is None:
        is_near = _UNSCALED[0] <= size <= _UNSCALED[1]
        power = 0 if is_near else -math.floor(math.log2(size))
    return _scaled(CommonRange(dtype, low, span, is_given=True), power)


def _in_type(data_range: tuple[float, float], picture: Picture) -> tuple[float, float]:
    """Return a data range with ends that a picture has, by its type, where it was to have these.

    The float32 nearest to 0.1 is more than 0.1, so that values up to it lie in 0:0.1.
    """
    low, high = map(float, data_range)
    if picture.pixels.dtype != np.float32:
        return low, high
    with np.errstate(over="ignore", under="ignore"):
        rounded = np.array([low, high]).astype(np.float16 if picture.is_half else np.float32)
    nearest = rounded.astype(np.float64)
    # An end beyond the type becomes inf, which no value may be.
    nearest = np.where(np.isfinite(nearest), nearest, [low, high])
    return min(low, float(nearest[0])), max(high, float(nearest[1]))


def _scaled(common_range: CommonRange, power: int) -> CommonRange:
    """Scale a range of floats, and the values that will be converted, by a power of two."""
    if common_range.dtype.kind != "f":
        return common_range
    low, span = common_range.low, common_range.span
    # Values may be so small a part of the range that it would overflow; no score depends on it.
    most = _LARGEST_RANGE - math.frexp(max(abs(low), span))[1]
    low, span = (math.ldexp(end, min(power, most)) for end in (low, span))
    return common_range._replace(low=low, span=span, power=power)


def exact_offset(image: Pixels, kernels: Sequence[Pixels]) -> Pixels | None:
    """Return what may be subtracted from all values without rounding, where they vary little.

    y - c is exact where y / 2 <= c <= 2 y (Sterbenz; Higham, Accuracy and Stability of Numerical
    Algorithms, 2nd ed., theorem 2.5). Where values lie near to each other and far from 0, as
    temperatures in kelvin do, what differs then keeps all of its digits in sums and squares.

    Parameters
    ----------
    image : float array [H, W, C]
    kernels : sequence of float arrays [h, w, C]

    Returns
    -------
    array [C] or None
        A constant for each channel, 0 where values vary by more; None if all are 0.
    """
    # Rows first: NumPy takes ten times as long for both axes at once of few channels.
    offsets: Pixels = kernels[0].mean(0, dtype=np.float64).mean(0).astype(image.dtype)
    # A few rows of most images vary enough, and channels of all rows take longer than some maps.
    few_rows = () if windowed.of(image) else (image[::_ROW_STEP],)
    for channel, offset in enumerate(offsets):
        # Kernels first, because they are small and most have the contrast of their image.
        for pixels in (*kernels, *few_rows, image):
            plane = windowed.with_extremes(pixels)[..., channel]
            if max(abs(plane.min() - offset), abs(plane.max() - offset)) > abs(offset) / 8:
                offsets[channel] = 0
                break
    return offsets if offsets.any() else None


def extent(picture: Picture) -> tuple[float, float]:
    """Return the lowest and the highest value of a picture; both are NaN if a value is.

    Those of unsigned integers, whose type has a data range, are not looked at: it is the type's.
    """
    values = picture.pixels
    if values.dtype.kind == "u" and not picture.shift:
        return 0.0, float(INTEGER_RANGE[type_name(values.dtype)])
    values = windowed.with_extremes(values)
    return float(values.min()) - picture.shift, float(values.max()) - picture.shift


def implied(
    pictures: Sequence[Picture], extents: Sequence[tuple[float, float]]
) -> tuple[float, float] | None:
    """Return a data range for metrics whose scores do not depend on it, or None without need.

    There is need where values lie beyond the default range of their type. The ends are powers of
    two, so that most images of one kind have the same.

    Parameters
    ----------
    pictures : sequence of Picture
    extents : sequence of (lowest, highest)
        Their values, from `extent`.
    """
    is_usual = all(
        (picture.pixels.dtype.kind == "u" and not picture.shift) or (low >= 0 and high <= 1)
        for picture, (low, high) in zip(pictures, extents, strict=True)
    )
    ends = [end for one in extents for end in one]
    if is_usual or not np.isfinite(ends).all():
        return None
    lowest, highest = min(ends), max(ends)
    if any(picture.shift for picture in pictures) and highest < arrays.SHIFT:
        return float(-arrays.SHIFT), float(arrays.SHIFT - 1)
    # The width of the range must not overflow; values that lie outside are refused.
    size = math.ldexp(1.0, min(math.frexp(max(-lowest, highest))[1], _LARGEST_EXPONENT))
    return (-size if lowest < 0 else 0.0), size


def drawn(image: Picture) -> tuple[float, float]:
    """Return the data range in which an image without any is drawn: that of its values."""
    return not_empty(*extent(image))


def not_empty(low: float, high: float) -> tuple[float, float]:
    """Return a data range from the lowest to the highest value, wider if these are equal."""
    if high > low:
        return low, high
    width = max(1.0, math.ulp(low))  # 1 more is no other value from 2^53 on
    return (low, low + width) if math.isfinite(low + width) else (low - width, low)


def check_values(
    picture: Picture,
    data_range: tuple[float, float] | None,
    metric: str,
    ends: tuple[float, float] | None = None,
    corner: tuple[int, int] = (0, 0),
) -> None:
    """Check that the values of a picture are finite and lie in the data range.

    Parameters
    ----------
    picture : Picture
    data_range : (low, high), optional
    metric : str
        The metric of the search, which a message may advise to change.
    ends : (lowest, highest), optional
        The picture's `extent`, where it is known.
    corner : (y, x)
        Where the pixels lie in the picture that messages tell of.

    Raises
    ------
    InputError
        If one does not.
    """
    values = picture.pixels
    if data_range is None and values.dtype.kind == "u" and not picture.shift:
        return
    low, high = _in_type(data_range or (0.0, 1.0), picture)
    if ends is None or (values.dtype.kind == "u" and not picture.shift):
        ends = float(values.min()) - picture.shift, float(values.max()) - picture.shift
    smallest, largest = ends
    if not (np.isfinite(smallest) and np.isfinite(largest)):
        first = np.argwhere(~np.isfinite(values))[0]
        is_nan = np.isnan(values[tuple(first)])
        remedy = "give --nan ignore (nan='ignore'), or replace it"
        if not is_nan:
            remedy = "replace it, or put NaN there and give --nan ignore (nan='ignore')"
        raise InputError(
            f"{printable(picture.name)} has a value {values[tuple(first)]}"
            f" at x={corner[1] + first[1]}, y={corner[0] + first[0]};"
            f" similarity needs finite values; {remedy}"
        )
    if smallest < low or largest > high:
        other = ", or use --metric zncc, which needs none"
        raise InputError(
            f"{printable(picture.name)} has values from {smallest:g} to {largest:g},"
            f" outside {low:g} to {high:g};"
            "\nname the range of both pictures with --data-range LO:HI (data_range=)"
            f"{'' if formula_of(metric).correlates else other}"
        )


def _to_type(pixels: Pixels, dtype: np.dtype[Any], *, scale: bool) -> Pixels:
    """Convert pixels to a type.

    With `scale`, integers are scaled from the default range of their type to that of `dtype`.
    """
    if pixels.dtype == dtype:
        return pixels
    name = type_name(pixels.dtype)
    converted: Pixels
    if scale and name in INTEGER_RANGE:
        if dtype.kind == "f":
            converted = pixels.astype(dtype) / dtype.type(INTEGER_RANGE[name])
        else:
            converted = pixels.astype(dtype) * dtype.type(
                INTEGER_RANGE[type_name(dtype)] // INTEGER_RANGE[name]
            )
    else:
        converted = pixels.astype(dtype, copy=False)
    return converted
