"""How an array is brought to the values that are compared, as the one before was."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from patchsim import metrics
from patchsim.errors import InputError
from patchsim.options import Options
from patchsim.pictures.reader import Picture
from patchsim.scene import value_range
from patchsim.scene.by_profile import ByProfile
from patchsim.scene.comparison import Comparison, Comparisons
from patchsim.types import Pixels


class AsBefore(NamedTuple):
    """The comparison of an image with a kernel, as far as the next image of its kind has it, too.

    Attributes
    ----------
    options : Options
    kernel : array [h, w, C]
        The kernel as it is compared.
    can_have_offset : bool
        Whether both are compared less an offset depends on the image.
    converts : (Comparisons, Comparison) or None
        How the image was brought to the type and range; None if its own values are compared.
    """

    options: Options
    kernel: Pixels
    can_have_offset: bool
    converts: tuple[Comparisons, Comparison] | None

    @classmethod
    def of(
        cls,
        image: Picture,
        kernel: Picture,
        comparisons: ByProfile,
        options: Options,
        compared: tuple[Pixels, Pixels],
    ) -> AsBefore | None:
        """Return what is known, or None if more was done to the image than is done here.

        Parameters
        ----------
        image, kernel : Picture
            The pixels of the image are those of the array.
        comparisons : ByProfile
            How the kernel is compared with images.
        options : Options
        compared : (array [H, W, C], array [h, w, C])
            The image and the kernel as they were compared.
        """
        pixels, kernel_pixels = compared
        can_have_offset = _has_offset(kernel_pixels, kernel_pixels, options.metric)
        known = cls(options, kernel_pixels, can_have_offset, None)
        given = image.pixels, kernel.pixels
        is_plain = all(one.dtype == pixels.dtype for one in given) and not image.shift
        is_usual = is_plain and all(value_range.is_as_usual(one, options) for one in given)
        if is_usual and np.array_equal(image.pixels, pixels):
            return known
        beside = comparisons.beside(image, options)
        comparison = _comparison(image, beside.comparisons, options)
        if comparison is None or beside.in_srgb:
            return None
        converted = comparison.conversion.in_range(image.pixels, image.shift)
        is_all = converted.dtype == pixels.dtype and np.array_equal(converted, pixels)
        return known._replace(converts=(beside.comparisons, comparison)) if is_all else None

    def pixels(self, image: Picture) -> Pixels | None:
        """Return the pixels of the next image as they are compared.

        None if its values are refused, have another range, or are compared less an offset.
        """
        pixels = image.pixels
        if self.converts is not None:
            comparisons, comparison = self.converts
            if _comparison(image, comparisons, self.options) is not comparison:
                return None
            pixels = comparison.conversion.in_range(pixels, image.shift)
        elif not value_range.is_as_usual(pixels, self.options):
            return None
        if self.can_have_offset and _has_offset(pixels, self.kernel, self.options.metric):
            return None
        return pixels


def _comparison(image: Picture, comparisons: Comparisons, options: Options) -> Comparison | None:
    """Return how an image is compared, or None if it is refused, as its own search tells."""
    ends = value_range.extent(image)
    data_range = comparisons.data_range(image, ends)
    try:
        value_range.check_values(image, data_range, options.metric, ends)
        return comparisons.of(image, ends, data_range, options.memory)
    except InputError:
        return None


def _has_offset(image: Pixels, kernel: Pixels, metric: str) -> bool:
    """Return whether an image and a kernel are compared less an offset, which makes them others."""
    is_free = metrics.formula_of(metric).subtracts_means and kernel.dtype.kind == "f"
    return is_free and value_range.exact_offset(image, [kernel]) is not None
