"""Searches whose tiles' memory is measured: their plans, and how their tiles are scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from helpers.problems import SPAN, problem, shades, values
from patchsim.execution import runner
from patchsim.geometry import tiles
from patchsim.geometry.blocks import BLOCK
from patchsim.geometry.tiles import Tile
from patchsim.metrics import Kernel, Visibility
from patchsim.planning import planner


@dataclass(frozen=True)
class Search:
    """A search of one kernel, or of several together, in an image of noise.

    Attributes
    ----------
    mask : str
        "mask" or "shades" of the kernel's pixels, "channels" for shades of each value, "uneven" if
        the sums of the channels' shades differ, too, or "".
    opaque : int
        The largest level of visibility: 1 for a mask of the image, 255 for its alpha, 0 for none.
        A part as large as some tiles is all visible.
    is_stark : bool
        An eighth of the image is black and white, and the rest has little contrast, so that
        scores need the higher precision.
    """

    engine: str
    metric: str
    dtype: str
    side: int
    exact: bool = False
    mask: str = ""
    opaque: int = 0
    count: int = 1
    channels: int = 3
    tolerance: float = 0.0
    extent: tuple[int, int] = (300, 280)
    is_stark: bool = False

    def __str__(self) -> str:
        words = [self.engine, self.metric, self.dtype, self.side, self.mask]
        words += [f"opaque{self.opaque}" if self.opaque else "", "exact" if self.exact else ""]
        words += ["stark" if self.is_stark else ""]
        words += [f"{self.count}kernels" if self.count > 1 else ""]
        words += [f"{self.channels}channels" if self.channels != 3 else ""]
        return "-".join(str(word) for word in words if word)

    @property
    def problem(self):
        return self._asked(*self._pictures())

    def prepared(self):
        """Return the plan, and a function that scores all of its tiles."""
        image, kernels = self._pictures()
        asked, visible = self._asked(image, kernels), None
        if self.opaque:
            rng = np.random.default_rng(1)
            levels = rng.integers(0, self.opaque + 1, self.extent, dtype=np.uint8)
            levels[:, : self.extent[1] * 6 // 10] = self.opaque
            visible = Visibility(levels, self.opaque)
        plan = planner.make(asked, engine=self.engine, device="cpu", memory=1 << 30, resident=0)

        def score():
            if self.count == 1:
                prepared = runner.prepare(plan, kernels[0])
                for _tile, bounds in runner.run(plan, image, prepared, todo(plan), visible):
                    del bounds
                return
            plans = [plan] * self.count
            scores = runner.prepare_together(plans, kernels)
            for _tile in runner.run_together(plans, image, scores, lambda *_: None, visible):
                pass

        return plan, score

    def _pictures(self):
        rng = np.random.default_rng(0)
        image = values(rng, self.dtype, *self.extent, self.channels)
        if self.is_stark:
            edge = self.extent[1] // 8
            image[:, :edge] = SPAN[self.dtype] * rng.integers(0, 2, image[:, :edge].shape)
            image[:, edge:] = 0
            image[::7, edge::5] = SPAN[self.dtype] / 255
        weights = shades(rng, self.mask, self.side, self.side) if self.mask else None
        if self.mask in ("channels", "uneven"):
            weights = np.stack([weights, weights[::-1], weights.T], 2)
        if self.mask == "uneven":
            weights[1, 0] += np.array((0, 1, 4), np.uint8)
        corners = [(7 * number, 5 * number) for number in range(self.count)]
        cut = [image[y : y + self.side, x : x + self.side].copy() for y, x in corners]
        return image, [Kernel(pixels, weights) for pixels in cut]

    def _asked(self, image, kernels):
        options = {"exact": self.exact, "tolerance": self.tolerance, "kernel_count": self.count}
        options["same_size"] = self.count
        weights = kernels[0].weights
        if weights is not None:
            options["weight_sum"] = int(weights.sum())
            options["max_weight"] = int(weights.max())
            options["has_channel_weights"] = weights.ndim == 3
        asked = problem(image, kernels[0].pixels, self.metric, **options)
        return asked.where_visible(self.opaque, 0.1) if self.opaque else asked


def todo(plan):
    """All tiles; of an exact search first some blocks, which have transforms of another size."""
    every = list(tiles.split(plan.problem.map_shape, plan.tile))
    rows, cols = plan.tile
    blocks = [Tile(0, 0, rows, cols - BLOCK)] if plan.problem.exact and cols > BLOCK else []
    return blocks + every
