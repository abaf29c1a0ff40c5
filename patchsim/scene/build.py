"""What is compared: image and kernels in one type, range and colour space, as far as searched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.geometry.area import Area, Region
from patchsim.metrics import Kernel, Visible
from patchsim.scene import color as colors
from patchsim.scene import masks, value_range
from patchsim.types import Pixels, Weights

if TYPE_CHECKING:
    from patchsim.pictures.reader import Picture


@dataclass(frozen=True)
class Scene:
    """What is compared.

    Attributes
    ----------
    names : list of str
        Of the image and the kernels.
    image : array [H, W, C]
        The area's pixels.
    kernels : list of Kernel
    area : Area
    zero : array [C]
        What values of 0 have become.
    span : float
        The data range R.
    drawn : (pixels, R, low)
        The whole image as an overlay shows it, its data range and where that begins.
    visible : Visible, optional
        How much of the area is, if not all of it.
    """

    names: list[str]
    image: Pixels
    kernels: list[Kernel]
    area: Area
    zero: NDArray[Any]
    span: float
    drawn: tuple[Pixels, float, float]
    visible: Visible | None

    @property
    def pixels(self) -> list[Pixels]:
        """Of the area and the kernels."""
        return [self.image, *(kernel.pixels for kernel in self.kernels)]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of the kernels."""
        return [kernel.pixels.shape[:2] for kernel in self.kernels]

    def seen(self, sizes: Sequence[tuple[int, int]]) -> list[Visible | None]:
        """How much is visible of what windows of these sizes cover, as `Area.under` has it."""
        visible = self.visible
        if visible is None:
            return [None] * len(sizes)
        # Zeros around an image are as visible as can be.
        zero = np.array([visible.most], np.uint8)
        around = self.area.under(visible.levels[..., None], sizes, zero)
        return [Visible(levels[..., 0], visible.most) for levels in around]

    @classmethod
    def of(
        cls,
        pictures: list[Picture],
        weights: list[Weights | None],
        metric: str,
        color: str,
        data_range: tuple[float, float] | None,
        region: Region | None,
        padding: str,
        *,
        memory: int,
        overlay: bool,
        ignore_alpha: bool,
        channel_weights: Sequence[float] | None,
    ) -> Scene:
        """Of the image and the kernels, which leave the list, and the kernels' weights.

        Channels that do not count are left out.

        Raises
        ------
        InputError
            If they do not fit each other, the region, the data range, the metric, the weights of
            channels or the memory, or if nothing of the image is visible.
        """
        names = [picture.name for picture in pictures]
        height, width, _ = pictures[0].pixels.shape
        area = Area.of(names[0], (height, width), region, padding)
        visible = masks.visibility(None if ignore_alpha else pictures[0].alpha, area)
        changed = area.region is not None or color != colors.DEFAULT
        changed = changed or visible is not None or channel_weights is not None
        whole = value_range.unify(pictures[:1], data_range) if overlay and changed else None
        searched = masks.covered(area.of_image(pictures[0].pixels), visible)
        pictures[0] = replace(pictures[0], pixels=searched)
        del searched
        unified, low, span = value_range.unify(pictures, data_range)
        pictures.clear()  # what replaces them takes memory enough
        area.check_values(data_range)
        black = np.zeros((1, 1, unified[0].shape[2]), unified[0].dtype)
        (*unified, black), low, span = colors.convert(
            [*unified, black], [*names, "0"], color,
            low=low, span=span, memory=memory,
        )  # fmt: skip
        left_out = False
        if channel_weights is not None:
            shares = masks.channel_shares(channel_weights, unified[0].shape[2])
            counted = [channel for channel, share in enumerate(shares) if share]
            left_out = len(counted) < len(shares)
            if left_out:
                black = black[..., counted]
                unified = [np.ascontiguousarray(pixels[..., counted]) for pixels in unified]
                shares = [shares[channel] for channel in counted]
            if len(set(shares)) > 1:
                weights = [
                    masks.by_channel(one, shares, pixels.shape[:2])
                    for one, pixels in zip(weights, unified[1:], strict=True)
                ]
        kernels = [Kernel(*pair) for pair in zip(unified[1:], weights, strict=True)]
        for kernel, name in zip(kernels, names[1:], strict=True):
            metrics.check_kernel(kernel, metric, name, left_out=left_out)
        drawn = (whole[0][0], whole[2], whole[1]) if whole else (unified[0], span, low)
        return cls(names, unified[0], kernels, area, black[0, 0], span, drawn, visible)
