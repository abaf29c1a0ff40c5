"""Pictures in the type, the range, the colours and the channels in which they are compared."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.errors import InputError, printable
from patchsim.options import Options
from patchsim.pictures import arrays, windowed
from patchsim.pictures.reader import Picture
from patchsim.scene import color as colors
from patchsim.scene import masks, value_range
from patchsim.types import Pixels

_MANY_LEVELS = 255  # a data range in which rounding to integers matters little


class Conversion:
    """Brings pictures of some types and numbers of channels to what is compared.

    Parameters
    ----------
    pictures : sequence of Picture
        Those that are compared.
    options : Options
    power : int, optional
        As for `value_range.common`.

    Attributes
    ----------
    low, span : float
        The lowest value, and the data range R.

    Raises
    ------
    InputError
        If the pictures do not go together, or the weights of channels do not.
    """

    def __init__(
        self, pictures: Sequence[Picture], options: Options, power: int | None = None
    ) -> None:
        self._color = options.color
        self._common = value_range.common(
            pictures,
            options.data_range,
            may_shift=options.metric != "ncc",  # a cosine depends on where 0 is
            may_round=_can_round(options),
            power=power,
        )
        self._is_free_of_scale = is_free_of_scale(options)
        self._channels = common_channels(pictures, options.color)
        self.low, self.span = colors.common_range(
            options.color, self._common.dtype, self._common.low, self._common.span
        )
        self._shares: list[int] | None = None
        if options.channel_weights is not None:
            self._shares = masks.channel_shares(options.channel_weights, self._channels)

    @property
    def shares(self) -> list[int]:
        """The weights of the channels that count; empty without weights."""
        return [share for share in self._shares or () if share]

    @property
    def has_left_out(self) -> bool:
        """Whether some channels do not count."""
        return self._shares is not None and not all(self._shares)

    def limits(self, channels: int, offset: Pixels | None) -> NDArray[np.float64]:
        """Return the ends of the data range less an offset, in each of so many channels, [C, 2]."""
        limits = np.tile((self.low, self.low + self.span), (channels, 1))
        return limits if offset is None else limits - offset[:, None]

    def zero(self, channels: int) -> Pixels:
        """Return what a picture of so many channels has where its values are 0, [C]."""
        zero = np.full((1, 1, channels), self._common.shift, self._common.dtype)
        color: Pixels = self.in_colors(zero)[0, 0]
        return color

    def in_range(self, pixels: Pixels, shift: int) -> Pixels:
        """Bring a picture [H, W, C], whose values have been shifted, to the type and range."""
        return self._common.convert(pixels, shift)

    def kernel_in_range(self, pixels: Pixels, shift: int) -> Pixels:
        """Bring a kernel to the type and range, or to a range of its own if no score tells."""
        common = self._common
        convert = common.convert_alone if self._is_free_of_scale else common.convert
        return convert(pixels, shift)

    def in_colors(self, pixels: Pixels) -> Pixels:
        """Bring a picture of the type and range to the colours, with the channels that count."""
        common = self._common
        converted = colors.convert(
            pixels, self._channels, self._color, low=common.low, span=common.span
        )
        if self._shares is None or all(self._shares):
            return converted
        counted = [channel for channel, share in enumerate(self._shares) if share]
        return np.ascontiguousarray(converted[..., counted])

    def check_memory(self, image: Picture, kernels: Sequence[Picture], memory: int) -> None:
        """Check that memory suffices to bring an image and the kernels to the colours.

        Raises
        ------
        InputError
            If it does not.
        """
        if self._color == colors.DEFAULT or windowed.of(image.pixels) is not None:
            return  # its conversions are not counted
        pictures = [image, *kernels]
        colors.check_memory(
            [picture.pixels.shape for picture in pictures],
            [picture.name for picture in pictures],
            self._color,
            self._common.dtype,
            memory,
        )


def common_channels(pictures: Sequence[Picture], color: str) -> int:
    """Return the number of channels that are compared, as `color.common_channels` does.

    Raises
    ------
    InputError
        If the pictures do not go together; an array that has its channels first is named.
    """
    counts = [picture.pixels.shape[2] for picture in pictures]
    try:
        return colors.common_channels(counts, [picture.name for picture in pictures], color)
    except InputError as error:
        for picture in pictures:
            notice = arrays.layout_notice(picture.pixels.shape, printable(picture.name))
            if notice is not None:
                raise InputError(notice) from error
        raise


def is_free_of_scale(options: Options) -> bool:
    """Return whether all stays the same if the values of a picture, or of a kernel, are scaled.

    `ncc` of an inverted kernel depends on the ends of the data range, and so do differences of
    pixels.
    """
    formula = metrics.formula_of(options.metric)
    is_inverted = options.invert and not formula.subtracts_means
    depends = is_inverted or options.pixel_tolerance is not None
    return formula.correlates and options.color in colors.LINEAR and not depends


def _can_round(options: Options) -> bool:
    """Return whether values that are made of integers may be integers, too.

    Colours are rounded to them, and so are posed kernels, which matters where the data range has
    few of them.
    """
    low, high = options.data_range or (0, 1)
    span = high - low
    is_posed = options.poses is not None
    return options.color in (colors.DEFAULT, "rgb") and (not is_posed or span >= _MANY_LEVELS)
