"""How images of one kind are compared with the kernels: the type, range, colours and channels."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from math import isfinite
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.errors import InputError, printable
from patchsim.metrics import Kernel
from patchsim.options import Options
from patchsim.pictures import arrays, windowed
from patchsim.pictures.reader import Picture
from patchsim.scene import color as colors
from patchsim.scene import edges, flatness, masks, unusable, value_range
from patchsim.scene.inversion import Inverses
from patchsim.types import Pixels, Weights

_PLAIN_COLORS = (colors.DEFAULT, "gray", "rgb")  # which need no range of values
_KINDS = 3  # of images: grey and colour in turn, and one more
_OFFSETS = 2  # of kernels that are kept less one, the last ones used
_MANY_LEVELS = 255  # a data range in which rounding to integers matters little


class Comparison:
    """The kernels as they are compared with images of one type and number of channels.

    Nothing here depends on the size or the pixels of an image, so that it serves the next image of
    the kind as well.

    Parameters
    ----------
    image : Picture
        An image of the kind.
    kernels : sequence of Picture
    weights : sequence of uint8 arrays [h, w], or None
        How much each pixel of a kernel counts.
    extents : sequence of (lowest, highest)
        The values of the kernels, from `value_range.extent`.
    options : Options

    Attributes
    ----------
    faults : mapping from number to InputError
        Kernels that do not fit such an image or the data range.
    numbers : list of int
        The other kernels, which are compared.
    inverses : Inverses
        Keeps their inverted copies.

    Raises
    ------
    InputError
        If no kernel fits, or with `strict` not every one, or the weights of channels do not.
    """

    def __init__(
        self,
        image: Picture,
        kernels: Sequence[Picture],
        weights: Sequence[Weights | None],
        extents: Sequence[tuple[float, float]],
        options: Options,
    ) -> None:
        self._options = options
        self._lock = Lock()
        self._less_offset: dict[bytes, tuple[list[Kernel], Mapping[int, InputError]]] = {}
        self.inverses = Inverses()
        self.faults: dict[int, InputError] = {}
        weights = list(weights)
        for number, (kernel, ends) in enumerate(zip(kernels, extents, strict=True)):
            try:
                value_range.check_values(kernel, options.data_range, ends)
                _common_channels([image, kernel], options.color)
                if options.color == edges.NAME:
                    size = kernel.pixels.shape[:2]
                    weights[number] = edges.kernel_weights(weights[number], size, kernel.name)
            except InputError as error:
                self.faults[number] = error
        self.numbers = unusable.remaining(len(kernels), self.faults, strict=options.strict)
        self._pictures = [kernels[number] for number in self.numbers]
        self._weights = [weights[number] for number in self.numbers]
        pictures = [image, *self._pictures]
        self._common = value_range.common(
            pictures, options.data_range, may_shift=_can_shift(options)
        )
        self._channels = _common_channels(pictures, options.color)
        self.low, self.span = colors.common_range(
            options.color, self._common.dtype, self._common.low, self._common.span
        )
        self._shares: list[int] | None = None
        if options.channel_weights is not None:
            self._shares = masks.channel_shares(options.channel_weights, self._channels)
        zero = np.full((1, 1, image.pixels.shape[2]), self._common.shift, self._common.dtype)
        self.zero: NDArray[Any] = self.in_colors(zero)[0, 0]

    def in_range(self, pixels: Pixels, shift: int) -> Pixels:
        """Bring a picture [H, W, C], whose values have been shifted, to the type and range."""
        return self._common.convert(pixels, shift)

    def in_colors(self, pixels: Pixels) -> Pixels:
        """Bring a picture of the type and range to the colours, with the channels that count."""
        common = self._common
        converted = colors.convert(
            pixels, self._channels, self._options.color, low=common.low, span=common.span
        )
        if self._shares is None or all(self._shares):
            return converted
        counted = [channel for channel, share in enumerate(self._shares) if share]
        return np.ascontiguousarray(converted[..., counted])

    def check_memory(self, image: Picture, memory: int) -> None:
        """Check that memory suffices to bring an image and the kernels to the colours.

        Raises
        ------
        InputError
            If it does not.
        """
        if self._options.color == colors.DEFAULT or windowed.of(image.pixels) is not None:
            return  # its conversions are not counted
        pictures = [image, *self._pictures]
        colors.check_memory(
            [picture.pixels.shape for picture in pictures],
            [picture.name for picture in pictures],
            self._options.color,
            self._common.dtype,
            memory,
        )

    def offset(self, image: Pixels) -> Pixels | None:
        """Return what changes no score if it is subtracted from an image and the kernels, [C].

        It is for floats that vary little; see `value_range.exact_offset`.
        """
        formula = metrics.formula_of(self._options.metric)
        if image.dtype.kind != "f" or not formula.subtracts_means:
            return None
        kernels = [kernel.pixels for kernel in self._kernels]
        return value_range.exact_offset(image, kernels)

    def kernels(self, offset: Pixels | None) -> tuple[list[Kernel], Mapping[int, InputError]]:
        """Return the kernels less an offset, with their weights.

        Also return what is wrong with those that the metric cannot score, by their places in the
        list.
        """
        if offset is None:
            return self._checked
        # Most next images have this offset, too, and find the kernels and what is prepared of them.
        with self._lock:
            key = offset.tobytes()
            checked = self._less_offset.pop(key, None)
            if checked is None:
                less = [replace(kernel, pixels=kernel.pixels - offset) for kernel in self._kernels]
                checked = self._check(less)
            self._less_offset[key] = checked
            if len(self._less_offset) > _OFFSETS:
                del self._less_offset[next(iter(self._less_offset))]
        return checked

    @property
    def names(self) -> list[str]:
        """The names of the kernels."""
        return [picture.name for picture in self._pictures]

    @cached_property
    def _kernels(self) -> list[Kernel]:
        shares = [share for share in self._shares or () if share]
        kernels = []
        for picture, weights in zip(self._pictures, self._weights, strict=True):
            pixels = self.in_colors(self.in_range(picture.pixels, picture.shift))
            if len(set(shares)) > 1:
                weights = masks.value_weights(weights, shares, pixels.shape[:2])
            rim = edges.RIM if self._options.color == edges.NAME else 0
            kernels.append(Kernel(pixels, weights, rim=rim))
        return kernels

    @cached_property
    def _checked(self) -> tuple[list[Kernel], Mapping[int, InputError]]:
        return self._check(self._kernels)

    def _check(self, kernels: list[Kernel]) -> tuple[list[Kernel], Mapping[int, InputError]]:
        left_out = self._shares is not None and not all(self._shares)
        faults = {}
        for place, (kernel, name) in enumerate(zip(kernels, self.names, strict=True)):
            try:
                metrics.check_kernel(kernel, self._options.metric, name, left_out=left_out)
            except InputError as error:
                faults[place] = error
        return kernels, faults

    @cached_property
    def are_flat(self) -> list[bool]:
        """Whether each kernel has a single colour."""
        return [flatness.is_flat(kernel.pixels) for kernel in self._kernels]

    @cached_property
    def empty_scores(self) -> list[float]:
        """The score of each kernel in an area of its mean colour."""
        metric = self._options.metric
        return [metrics.empty_score(kernel, metric, self.span) for kernel in self._kernels]


def _common_channels(pictures: Sequence[Picture], color: str) -> int:
    counts = [picture.pixels.shape[2] for picture in pictures]
    try:
        return colors.common_channels(counts, [picture.name for picture in pictures], color)
    except InputError as error:
        for picture in pictures:
            notice = arrays.layout_notice(picture.pixels.shape, printable(picture.name))
            if notice is not None:
                raise InputError(notice) from error
        raise


def _can_shift(options: Options) -> bool:
    """Return whether scores stay the same if all values are shifted.

    A cosine depends on where 0 is. Colours are rounded to integers, and so are posed kernels, which
    matters where the data range has few of them.
    """
    low, high = options.data_range or (0, 1)
    span = high - low
    return (
        options.metric != "ncc"
        and options.color in (colors.DEFAULT, "rgb")
        and (options.poses is None or span >= _MANY_LEVELS)
    )


class Comparisons:
    """The kernels of several searches; how they are compared with the last kinds of image is kept.

    Several threads may use it at once; each comparison is made once.

    Parameters
    ----------
    pictures : sequence of Picture
        The kernels.
    weights : sequence of uint8 arrays [h, w], or None
        How much each pixel of a kernel counts.
    options : Options
    """

    def __init__(
        self, pictures: Sequence[Picture], weights: Sequence[Weights | None], options: Options
    ) -> None:
        self.pictures = pictures
        self._weights, self._options = weights, options
        self._kept: dict[Hashable, Comparison] = {}  # the one that was used last is last
        self._lock = Lock()

    def with_pictures(self, pictures: Sequence[Picture]) -> Comparisons:
        """Return the comparisons of these pictures in place of the kernels."""
        return Comparisons(pictures, self._weights, self._options)

    def of(self, image: Picture, data_range: tuple[float, float] | None) -> Comparison:
        """Return how the kernels are compared with an image, in a data range."""
        key = image.pixels.dtype, image.pixels.shape[2], image.shift, data_range
        with self._lock:
            comparison = self._kept.pop(key, None)
            if comparison is None:
                options = replace(self._options, data_range=data_range)
                comparison = Comparison(image, self.pictures, self._weights, self._extents, options)
            self._kept[key] = comparison
            if len(self._kept) > _KINDS:
                del self._kept[next(iter(self._kept))]
        return comparison

    def data_range(self, image: Picture, ends: tuple[float, float]) -> tuple[float, float] | None:
        """Return the data range of a comparison with an image: given or, without need, None.

        Where no score depends on it, values beyond the default range get one that holds all.

        Parameters
        ----------
        image : Picture
        ends : (lowest, highest)
            The image's values, from `value_range.extent`.
        """
        if not self.is_free_of_range:
            return self._options.data_range
        read = [(image, ends), *zip(self.pictures, self._extents, strict=True)]
        # A kernel that has no range is found by `value_range.check_values`.
        usual = [
            (picture, ends_of_picture)
            for picture, ends_of_picture in read
            if picture is image or isfinite(sum(ends_of_picture))
        ]
        return value_range.implied(*zip(*usual, strict=True))

    @property
    def is_free_of_range(self) -> bool:
        """Whether no data range was given, and no score depends on one."""
        options = self._options
        is_plain = options.color in _PLAIN_COLORS
        correlates = metrics.formula_of(options.metric).correlates
        return options.data_range is None and is_plain and correlates

    @cached_property
    def _extents(self) -> list[tuple[float, float]]:
        return [value_range.extent(picture) for picture in self.pictures]

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_lock"} | {
            "_kept": {}
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = Lock()
