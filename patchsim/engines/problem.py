"""The description of the work that planning and engines share: one kernel against one image."""

from __future__ import annotations

import math
from typing import NamedTuple

from patchsim.geometry import tiles


class Reading(NamedTuple):
    """How an image is read whose pixels are not all in memory.

    Attributes
    ----------
    description : str
    pixel_bytes : int
        The bytes that each pixel of a tile takes while it is read and scored.
    """

    description: str
    pixel_bytes: int


class Products(NamedTuple):
    """The products that approximate a kernel's `sad` within a tolerance.

    Attributes
    ----------
    each : int
        How many there are for each channel.
    is_fitted : bool
        Their functions are made for the kernel's values (`common.fitted`), and not for those of any
        kernel (`common.lowrank`).
    """

    each: int
    is_fitted: bool = False


class Problem(NamedTuple):
    """One kernel against one image: all that an engine needs to know to judge the work.

    Attributes
    ----------
    image, kernel : (height, width, channels)
    dtype : str
        Type of the pixels of both: uint8, uint16, float32 or float64.
    stride : (y, x)
    metric : str
    data_range : float
        R in the formulas of the metrics.
    device : str
        A device, or several of one kind, with commas.
    threads : int
        Threads that take tiles.
    tolerance : float
        The largest error that scores may have beside their rounding.
    exact : bool
        Every score must be as `metrics.exact` gives it.
    map_wanted : bool
        The scores of all windows are wanted, not the best ones alone.
    share_wanted : float
        The share of all windows that are to be found, 0 to 1, where these are many.
    weight_sum : int or None
        Sum of the kernel's weights; None without weights.
    max_weight : int
        The largest of them; 1 without weights.
    full_cells : int or None
        Number of the coarse cells (`pruned.cells`) of the kernel in which every pixel has a weight;
        None where it does not matter.
    has_channel_weights : bool
        Each channel of a pixel has a weight of its own, rather than all channels one.
    opaque_level : int or None
        The largest visibility level of the image's pixels; None where all are equally visible.
    min_visible_weight : int
        Windows whose weights times visibility sum to less are not scored.
    products : Products or None
        Those that the kernel takes; None where its pixels are not known: as many as any kernel
        takes. The fewest, or about as many, where these take longer than another engine.
    open_share : float
        The share of blocks, 0 to 1, that scores within the tolerance leave to be ranked exactly.
    kernel_count : int
        Kernels of about this size that are compared with the same pixels in turn.
    same_size : int
        How many of these have the very same size, about.
    image_count : int
        Images that are searched for a kernel once it is prepared, about.
    whole_kernel : (height, width) or None
        The size of the kernel before it was trimmed, if it was. Engines do not need it: it is that
        of the matches, which tells how much they overlap.
    skipped : (rows, cols)
        The rows and columns of pixels before the first window (`Area.skipped`), which `image` does
        not count. Problems that differ in it do not have the same pixels.
    reading : Reading or None
        How the pixels of each tile are read; None where all are in memory.
    """

    image: tuple[int, int, int]
    kernel: tuple[int, int, int]
    dtype: str
    stride: tuple[int, int]
    metric: str
    data_range: float
    device: str
    threads: int
    tolerance: float = 0.0
    exact: bool = False
    map_wanted: bool = True
    share_wanted: float = 0.0
    weight_sum: int | None = None
    max_weight: int = 1
    full_cells: int | None = None
    has_channel_weights: bool = False
    opaque_level: int | None = None
    min_visible_weight: int = 0
    products: Products | None = None
    open_share: float = 0.0
    kernel_count: int = 1
    same_size: int = 1
    image_count: int = 1
    whole_kernel: tuple[int, int] | None = None
    skipped: tuple[int, int] = (0, 0)
    reading: Reading | None = None

    @property
    def match_size(self) -> tuple[int, int]:
        """Height and width of a match: those of the whole kernel."""
        return self.whole_kernel or self.kernel[:2]

    @property
    def map_shape(self) -> tuple[int, int]:
        return tiles.map_shape(self.image[:2], self.kernel[:2], self.stride)

    @property
    def taps(self) -> int:
        height, width, channels = self.kernel
        return height * width * channels

    @property
    def devices(self) -> tuple[str, ...]:
        return tuple(self.device.split(","))

    @property
    def total_weight(self) -> int:
        """The sum of the weights of a window's values; without weights, their number."""
        if self.weight_sum is None:
            return self.taps
        return self.weight_sum if self.has_channel_weights else self.weight_sum * self.kernel[2]

    def where_visible(self, most: int, share: float) -> Problem:
        """Return the problem for an image whose pixels differ in visibility.

        Parameters
        ----------
        most : int
            The largest level of a pixel.
        share : float
            Windows of which a smaller share is visible are not scored.
        """
        min_weight = _least(share, self.total_weight * most)
        return self._replace(opaque_level=most, min_visible_weight=min_weight)

    @property
    def differences(self) -> int:
        rows, cols = self.map_shape
        return rows * cols * self.taps


def _least(share: float, total: int) -> int:
    """Return the smallest whole number that is at least this share of the total."""
    number = math.ceil(share * total)
    # The product is rounded; the share itself is what a quotient of whole numbers rounds to.
    while (number - 1) / total >= share:
        number -= 1
    while number / total < share:
        number += 1
    return number
