"""The pictures that are searched: photographs, a patch of them as the kernel, and noise."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import skimage.data

from patchsim.types import Pixels

NOISE = 2  # sigma, of 255: the kernel is a patch of the picture with noise of its own
SMALL, FULL_HD, UHD = (512, 512), (1080, 1920), (2160, 3840)


@dataclass(frozen=True)
class Case:
    """The size, type and subject of a picture and a kernel."""

    height: int
    width: int
    kernel: int
    channels: int = 3
    stride: int = 1
    dtype: str = "uint8"
    subject: str = "photograph"  # or "unrelated", where the kernel is not in it, or "noise"

    def __str__(self) -> str:
        colour = "RGB" if self.channels == 3 else "grey"
        step = f", stride {self.stride}" if self.stride > 1 else ""
        kind = "" if self.subject == "photograph" else f", {self.subject}"
        return f"{self.height}x{self.width}/{self.kernel} {colour} {self.dtype}{step}{kind}"

    def pictures(self) -> tuple[Pixels, Pixels]:
        """Make the image and the kernel, [H, W, C]."""
        random = np.random.default_rng(self.kernel)
        if self.subject == "noise":
            image = random.integers(0, 256, (self.height, self.width, 3), dtype=np.uint8)
        else:
            image = photographs(self.height, self.width)
        top, left = self.height // 3 // 7 * 7, self.width // 2 // 7 * 7  # on every stride's grid
        patch = image[top : top + self.kernel, left : left + self.kernel]
        if self.subject == "unrelated":
            patch = skimage.data.retina()[300 : 300 + self.kernel, 300 : 300 + self.kernel]
        kernel = noisy(patch, random)
        if self.channels == 1:
            image, kernel = (picture[..., 1:2] for picture in (image, kernel))
        if self.dtype == "float32":
            return image.astype(np.float32) / 255, kernel.astype(np.float32) / 255
        return np.ascontiguousarray(image), np.ascontiguousarray(kernel)


def noisy(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """Add noise to 8-bit pixels."""
    changed = pixels + random.normal(0, NOISE, pixels.shape)
    return np.clip(np.rint(changed), 0, 255).astype(np.uint8)


@functools.cache
def photographs(height: int, width: int) -> Pixels:
    """Join photographs side by side, with noise, so that those that repeat are not identical."""
    random = np.random.default_rng(0)
    names = ["coffee", "astronaut", "chelsea", "rocket", "hubble_deep_field"]
    tiles = [getattr(skimage.data, name)()[:300, :400, :3] for name in names]
    rows = []
    for row in range(-(-height // 300)):
        line = [tiles[(row * 2 + col) % len(tiles)] for col in range(-(-width // 400))]
        rows.append(np.concatenate(line, axis=1))
    return noisy(np.concatenate(rows)[:height, :width], random)
