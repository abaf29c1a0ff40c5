"""How images of one kind are compared with the kernels: the type, range, colours and channels."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from math import isfinite
from threading import Lock
from typing import Any

from numpy.typing import NDArray

from patchsim import metrics
from patchsim.errors import InputError
from patchsim.metrics import Kernel
from patchsim.options import Options
from patchsim.pictures.reader import Picture
from patchsim.scene import color as colors
from patchsim.scene import edges, flatness, masks, unusable, value_range
from patchsim.scene.conversion import Conversion, common_channels, is_free_of_scale
from patchsim.scene.inversion import Inverses
from patchsim.types import Pixels, Weights

_KINDS = 3  # of images: grey and colour in turn, and one more
_OFFSETS = 2  # of kernels that are kept less one, the last ones used


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
    power : int, optional
        As for `value_range.common`.

    Attributes
    ----------
    faults : mapping from number to InputError
        Kernels that do not fit such an image or the data range.
    numbers : list of int
        The other kernels, which are compared.
    inverses : Inverses
        Keeps their inverted copies.
    pictures : list of Picture
        These kernels.
    conversion : Conversion
        Brings an image to what is compared.
    zero : array [C]
        What an image has where its values are 0.

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
        power: int | None,
    ) -> None:
        self._options = options
        self._lock = Lock()
        self._less_offset: dict[bytes, tuple[list[Kernel], Mapping[int, InputError]]] = {}
        self.inverses = Inverses()
        self.faults: dict[int, InputError] = {}
        weights = list(weights)
        for number, (kernel, ends) in enumerate(zip(kernels, extents, strict=True)):
            try:
                value_range.check_values(kernel, options.data_range, options.metric, ends)
                common_channels([image, kernel], options.color)
                if options.color == edges.NAME:
                    size = kernel.pixels.shape[:2]
                    weights[number] = edges.kernel_weights(weights[number], size, kernel.name)
            except InputError as error:
                self.faults[number] = error
        self.numbers = unusable.remaining(len(kernels), self.faults, strict=options.strict)
        self.pictures = [kernels[number] for number in self.numbers]
        self._weights = [weights[number] for number in self.numbers]
        self.conversion = Conversion([image, *self.pictures], options, power)
        self.zero: NDArray[Any] = self.conversion.zero(image.pixels.shape[2])

    def offset(self, image: Pixels) -> Pixels | None:
        """Return what changes no score if it is subtracted from an image and the kernels, [C].

        It is for floats that vary little; see `value_range.exact_offset`.
        """
        kernels = [kernel.pixels for kernel in self._kernels]
        return common_offset(image, kernels, self._options.metric)

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

    def has_kernel(self, kernel: Pixels) -> bool:
        """Return whether a kernel as it is compared is the very one that was made here."""
        return any(one.pixels is kernel for one in self._kernels)

    @property
    def names(self) -> list[str]:
        """The names of the kernels."""
        return [picture.name for picture in self.pictures]

    @cached_property
    def _kernels(self) -> list[Kernel]:
        shares, conversion, kernels = self.conversion.shares, self.conversion, []
        for picture, weights in zip(self.pictures, self._weights, strict=True):
            pixels = conversion.kernel_in_range(picture.pixels, picture.shift)
            pixels = conversion.in_colors(pixels)
            if len(set(shares)) > 1:
                weights = masks.value_weights(weights, shares, pixels.shape[:2])
            rim = edges.RIM if self._options.color == edges.NAME else 0
            kernels.append(Kernel(pixels, weights, rim=rim))
        return kernels

    @cached_property
    def _checked(self) -> tuple[list[Kernel], Mapping[int, InputError]]:
        return self._check(self._kernels)

    def _check(self, kernels: list[Kernel]) -> tuple[list[Kernel], Mapping[int, InputError]]:
        left_out = self.conversion.has_left_out
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
        return [
            metrics.empty_score(kernel, metric, self.conversion.span) for kernel in self._kernels
        ]


def common_offset(image: Pixels, kernels: Sequence[Pixels], metric: str) -> Pixels | None:
    """Return what changes no score by a metric if it is subtracted from all pictures, [C]."""
    is_free = metrics.formula_of(metric).subtracts_means and image.dtype.kind == "f"
    return value_range.exact_offset(image, kernels) if is_free else None


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

    def of(
        self,
        image: Picture,
        ends: tuple[float, float],
        data_range: tuple[float, float] | None,
        memory: int,
    ) -> Comparison:
        """Return how the kernels are compared with an image, in a data range.

        Parameters
        ----------
        image : Picture
        ends : (lowest, highest)
            The image's values, from `value_range.extent`.
        data_range : (low, high), optional
        memory : int
            Bytes.

        Raises
        ------
        InputError
            If no kernel fits the image, or memory does not suffice to bring all to the colours.
        """
        is_free = is_free_of_scale(self._options)
        power = value_range.power_near_1(image, ends) if is_free else None
        key = (
            image.pixels.dtype, image.is_half, image.pixels.shape[2], image.shift, data_range, power
        )  # fmt: skip
        with self._lock:
            comparison = self._kept.pop(key, None)
            if comparison is None:
                options = self._options
                if data_range != options.data_range:
                    options = replace(options, data_range=data_range)
                comparison = Comparison(
                    image, self.pictures, self._weights, self._extents, options, power
                )
            self._kept[key] = comparison
            if len(self._kept) > _KINDS:
                del self._kept[next(iter(self._kept))]
        comparison.conversion.check_memory(image, comparison.pictures, memory)
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
        is_plain = options.color in colors.LINEAR
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
