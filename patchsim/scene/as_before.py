"""How an array is brought to the values that are compared, as the one before was."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from patchsim.errors import InputError
from patchsim.options import Options
from patchsim.pictures.reader import Picture
from patchsim.scene import color as colors
from patchsim.scene import value_range
from patchsim.scene.build import Scene
from patchsim.scene.by_profile import ByProfile
from patchsim.scene.comparison import Comparison, common_offset
from patchsim.types import Pixels


class AsBefore(NamedTuple):
    """The comparison of an image with a kernel, as far as the next image of its kind has it, too.

    Attributes
    ----------
    options : Options
    comparisons : ByProfile
        How the kernel is compared with images.
    kernel : array [h, w, C]
        The kernel as it is compared.
    can_have_offset : bool
        Whether both are compared less an offset depends on the image.
    is_plain : bool
        The own values of both are compared, as long as they lie in the data range.
    """

    options: Options
    comparisons: ByProfile
    kernel: Pixels
    can_have_offset: bool
    is_plain: bool

    @classmethod
    def of(
        cls,
        dtype: np.dtype[np.generic],
        kernel: Picture,
        comparisons: ByProfile,
        options: Options,
        scene: Scene,
    ) -> AsBefore | None:
        """Return what is known of images, or None if more is done to them than is done here.

        Parameters
        ----------
        dtype : dtype
            That of the array before.
        kernel : Picture
        comparisons : ByProfile
        options : Options
        scene : Scene
            That of the array before, which has all of its pixels.
        """
        compared = scene.kernels[0].pixels
        has_offset = compared.dtype.kind == "f" and scene.zero.any()
        if options.color not in colors.LINEAR or has_offset:
            return None
        is_plain = (
            dtype == compared.dtype == kernel.pixels.dtype
            and not kernel.shift
            and np.array_equal(kernel.pixels, compared)
            and all(value_range.is_as_usual(one, options) for one in (scene.image, compared))
        )
        can_have_offset = common_offset(compared, [compared], options.metric) is not None
        return cls(options, comparisons, compared, can_have_offset, is_plain)

    def pixels(self, image: Picture) -> Pixels | None:
        """Return the pixels of the next image as they are compared.

        None if its values are refused, have another range, or are compared less an offset.
        """
        pixels, options = image.pixels, self.options
        if not self.is_plain:
            comparison = self._comparison(image)
            # A kernel is made once for each type and range, and anew for each offset.
            if comparison is None or not comparison.has_kernel(self.kernel):
                return None
            pixels = comparison.conversion.in_range(pixels, image.shift)
        elif not value_range.is_as_usual(pixels, options):
            return None
        kernels = [self.kernel]
        if self.can_have_offset and common_offset(pixels, kernels, options.metric) is not None:
            return None
        return pixels

    def _comparison(self, image: Picture) -> Comparison | None:
        """Return how an image is compared, or None if it is refused, as its own search tells."""
        beside, ends = self.comparisons.beside(image, self.options), value_range.extent(image)
        if beside.in_srgb:
            return None
        data_range = beside.comparisons.data_range(image, ends)
        try:
            value_range.check_values(image, data_range, self.options.metric, ends)
            return beside.comparisons.of(image, ends, data_range, self.options.memory)
        except InputError:
            return None
