"""The scene: the searched part of the image and the kernels, in one type, range and colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.geometry.area import Area
from patchsim.metrics import Kernel, Visibility
from patchsim.options import Options
from patchsim.scene import color as colors
from patchsim.scene import masks, value_range
from patchsim.types import Pixels, Weights

if TYPE_CHECKING:
    from patchsim.pictures.reader import Picture


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
    area : Area
    zero : array [C]
        The value that 0 has become in each channel.
    span : float
        The data range R.
    drawn : (pixels, R, low)
        The whole image as an overlay shows it, its data range and the lowest value of that.
    visible : Visibility, optional
        The visibility of the area, where it varies.
    """

    names: list[str]
    image: Pixels
    kernels: list[Kernel]
    area: Area
    zero: NDArray[Any]
    span: float
    drawn: tuple[Pixels, float, float]
    visible: Visibility | None

    @property
    def pixels(self) -> list[Pixels]:
        """The pixels of the area, then those of each kernel."""
        return [self.image, *(kernel.pixels for kernel in self.kernels)]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of the kernels."""
        return [kernel.pixels.shape[:2] for kernel in self.kernels]

    def seen(self, sizes: Sequence[tuple[int, int]]) -> list[Visibility | None]:
        """Return the visibility of the pixels under windows of each size (`Area.padded_views`)."""
        visible = self.visible
        if visible is None:
            return [None] * len(sizes)
        # Zeros around an image are as visible as can be.
        zero = np.array([visible.full_level], np.uint8)
        around = self.area.padded_views(visible.levels[..., None], sizes, zero)
        return [Visibility(levels[..., 0], visible.full_level) for levels in around]

    @classmethod
    def of(
        cls,
        image: Picture,
        kernels: Sequence[Picture],
        weights: Sequence[Weights | None],
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
        kernels : sequence of Picture
        weights : sequence of uint8 arrays [h, w], or None
            How much each pixel of a kernel counts.
        options : Options
        overlay : bool
            The whole image will be drawn.

        Raises
        ------
        InputError
            If they do not fit each other, the region, the data range, the metric, the weights of
            channels or the memory, or if nothing of the image is visible.
        """
        names = [image.name, *(kernel.name for kernel in kernels)]
        area = Area.in_image(image.name, image.pixels.shape[:2], options.region, options.padding)
        visible = masks.visibility(None if options.ignore_alpha else image.alpha, area)
        drawn = None
        if overlay and _differs_from_the_image(area, visible, options):
            (pixels,), low, span = value_range.unify([image], options.data_range)
            drawn = pixels, span, low
        image = replace(image, pixels=masks.fill_hidden(area.crop(image.pixels), visible))
        unified, low, span = value_range.unify([image, *kernels], options.data_range)
        del image
        area.check_values(options.data_range)
        zero = np.zeros((1, 1, unified[0].shape[2]), unified[0].dtype)
        (*unified, zero), low, span = colors.convert(
            [*unified, zero],
            [*names, "0"],
            options.color,
            low=low,
            span=span,
            memory=options.memory,
        )
        channels = unified[0].shape[2]
        (*unified, zero), weights = _counted([*unified, zero], weights, options)
        searched = [Kernel(*pair) for pair in zip(unified[1:], weights, strict=True)]
        left_out = zero.shape[2] < channels
        for kernel, name in zip(searched, names[1:], strict=True):
            metrics.check_kernel(kernel, options.metric, name, left_out=left_out)
        drawn = drawn or (unified[0], span, low)
        return cls(names, unified[0], searched, area, zero[0, 0], span, drawn, visible)


def _differs_from_the_image(area: Area, visible: Visibility | None, options: Options) -> bool:
    """Whether what is compared are other pixels than those that an overlay shows."""
    converted = options.color != colors.DEFAULT or options.channel_weights is not None
    return area.region is not None or visible is not None or converted


def _counted(
    pictures: Sequence[Pixels], weights: Sequence[Weights | None], options: Options
) -> tuple[list[Pixels], Sequence[Weights | None]]:
    """Keep the channels that count, of the image, the kernels and zero, and weigh them."""
    pictures = list(pictures)
    if options.channel_weights is None:
        return pictures, weights
    shares = masks.channel_shares(options.channel_weights, pictures[0].shape[2])
    counted = [channel for channel, share in enumerate(shares) if share]
    if len(counted) < len(shares):
        pictures = [np.ascontiguousarray(pixels[..., counted]) for pixels in pictures]
        shares = [shares[channel] for channel in counted]
    if len(set(shares)) > 1:
        weights = [
            masks.value_weights(one, shares, pixels.shape[:2])
            for one, pixels in zip(weights, pictures[1:-1], strict=True)
        ]
    return pictures, weights
