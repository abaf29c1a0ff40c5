"""The scene: the searched part of the image and the kernels, in one type, range and colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.geometry.area import Area
from patchsim.metrics import Kernel, Visibility
from patchsim.options import Options
from patchsim.pictures.reader import Picture
from patchsim.scene import color as colors
from patchsim.scene import masks, value_range
from patchsim.scene.comparison import Comparison, Comparisons
from patchsim.types import Pixels


@dataclass(frozen=True)
class Scene:
    """The image and the kernels as they are compared.

    Attributes
    ----------
    names : list of str
        The image's name, then the kernels'.
    image : array [H, W, C]
        The pixels of the area.
    kernels : list of Kernel
    trimmed : list of Kernel
        The kernels as they are searched for, without margins of weight 0 unless `Options.trim` is
        false. Positions, sizes, and which matches overlap, are those of `kernels`.
    flat_kernels : list of bool
        Whether each kernel has a single colour.
    area : Area
    zero : array [C]
        The value that 0 has become in each channel. An offset may have been subtracted from it, as
        from the image and the kernels.
    span : float
        The data range R.
    drawn : (pixels, R, low)
        The whole image as an overlay shows it, its data range and the lowest value of that.
    visible : Visibility, optional
        The visibility of the area, where it varies.
    comparison : Comparison
        How images of this kind are compared with the kernels.
    """

    names: list[str]
    image: Pixels
    kernels: list[Kernel]
    trimmed: list[Kernel]
    flat_kernels: list[bool]
    area: Area
    zero: NDArray[Any]
    span: float
    drawn: tuple[Pixels, float, float]
    visible: Visibility | None
    comparison: Comparison

    @property
    def empty_scores(self) -> list[float]:
        """The score of each kernel in an area of its mean colour."""
        return self.comparison.empty_scores

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of the whole kernels."""
        return [kernel.size for kernel in self.kernels]

    def seen(self, sizes: Sequence[tuple[int, int]]) -> list[Visibility | None]:
        """Return the visibility of the pixels under windows of each size (`Area.padded_views`)."""
        visible = self.visible
        if visible is None:
            return [None] * len(sizes)
        # Zeros around an image that is transparent in part are as invisible as these parts.
        around = self.area.padded_views(visible.levels[..., None], sizes, np.zeros(1, np.uint8))
        return [Visibility(levels[..., 0], visible.full_level) for levels in around]

    @classmethod
    def of(
        cls,
        image: Picture,
        comparisons: Comparisons,
        options: Options,
        *,
        overlay: bool,
    ) -> Scene:
        """Bring the image and the kernels to one type, range and colour space.

        Channels that do not count are left out.

        Parameters
        ----------
        image : Picture
            Its pixels are freed once they are converted, if the caller does not hold them.
        comparisons : Comparisons
            The kernels, and how they are compared.
        options : Options
        overlay : bool
            The whole image will be drawn.

        Raises
        ------
        InputError
            If they do not fit each other, the region, the data range, the metric, the weights of
            channels or the memory, or if nothing of the image is visible.
        """
        area = Area.in_image(image.name, image.pixels.shape[:2], options.region, options.padding)
        visible = masks.visibility(None if options.ignore_alpha else image.alpha, area)
        drawn = None
        if overlay and _differs_from_the_image(area, visible, options):
            value_range.check_values(image, options.data_range)
            own = value_range.common([image], options.data_range)
            drawn = own.convert(image.pixels, image.shift), own.span, own.low
        pixels = masks.fill_hidden(area.crop(image.pixels), visible)
        shift = image.shift
        image = Picture(image.name, pixels, shift=shift)
        value_range.check_values(image, options.data_range)
        area.check_values(options.data_range)
        compared = comparisons.of(image)
        compared.check_memory(image, options.memory)
        names = [image.name, *(kernel.name for kernel in comparisons.pictures)]
        del image
        pixels = compared.in_range(pixels, shift)
        pixels = compared.in_colors(pixels)
        shown, zero, offset = pixels, compared.zero, compared.offset(pixels)
        if offset is not None:
            pixels, zero = pixels - offset, zero - offset
        drawn = drawn or (shown if overlay else pixels, compared.span, compared.low)
        kernels = compared.kernels(offset)
        return cls(
            names=names,
            image=pixels,
            kernels=kernels,
            trimmed=[kernel.trimmed() for kernel in kernels] if options.trim else kernels,
            flat_kernels=compared.are_flat,
            area=area,
            zero=zero,
            span=compared.span,
            drawn=drawn,
            visible=visible,
            comparison=compared,
        )


def _differs_from_the_image(area: Area, visible: Visibility | None, options: Options) -> bool:
    """Whether what is compared are other pixels than those that an overlay shows."""
    converted = options.color != colors.DEFAULT or options.channel_weights is not None
    return area.region is not None or visible is not None or converted
