"""What is compared: image and kernels in one type, range and colour space, as far as searched."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchsim import color as colors
from patchsim import metrics, unify
from patchsim.area import Area, Region
from patchsim.metrics import Kernel, Pixels, Weights

if TYPE_CHECKING:
    from patchsim.images import Picture


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
    """

    names: list[str]
    image: Pixels
    kernels: list[Kernel]
    area: Area
    zero: NDArray[Any]
    span: float
    drawn: tuple[Pixels, float, float]

    @property
    def pixels(self) -> list[Pixels]:
        """Of the area and the kernels."""
        return [self.image, *(kernel.pixels for kernel in self.kernels)]

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of the kernels."""
        return [kernel.pixels.shape[:2] for kernel in self.kernels]

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
    ) -> Scene:
        """Of the image and the kernels, which leave the list, and the kernels' weights.

        Raises
        ------
        InputError
            If they do not fit each other, the region, the data range, the metric or the memory.
        """
        names = [picture.name for picture in pictures]
        height, width, _ = pictures[0].pixels.shape
        area = Area.of(names[0], (height, width), region, padding)
        changed = area.region is not None or color != colors.DEFAULT
        whole = unify.unify(pictures[:1], data_range) if overlay and changed else None
        pictures[0] = replace(pictures[0], pixels=area.of_image(pictures[0].pixels))
        unified, low, span = unify.unify(pictures, data_range)
        pictures.clear()  # what replaces them takes memory enough
        area.check_values(data_range)
        black = np.zeros((1, 1, unified[0].shape[2]), unified[0].dtype)
        (*unified, black), low, span = colors.convert(
            [*unified, black], [*names, "0"], color,
            low=low, span=span, memory=memory,
        )  # fmt: skip
        kernels = [Kernel(*pair) for pair in zip(unified[1:], weights, strict=True)]
        for kernel, name in zip(kernels, names[1:], strict=True):
            metrics.check_kernel(kernel, metric, name)
        drawn = (whole[0][0], whole[2], whole[1]) if whole else (unified[0], span, low)
        return cls(names, unified[0], kernels, area, black[0, 0], span, drawn)
