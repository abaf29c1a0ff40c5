"""The programs that people use today, and patchsim: each returns the place of the best window."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from skimage.feature import match_template

from patchsim import match
from patchsim.types import Pixels

Place = tuple[int, int]  # x, y


def patchsim(image: Pixels, kernel: Pixels, **options: Any) -> Place:
    """Find the best match without its margin, which no other program computes."""
    best = match(image, kernel, top=1, margin=False, **options).best
    assert best is not None
    return best.x, best.y


def opencv(image: Pixels, kernel: Pixels, mode: str) -> Place:
    scores = cv2.matchTemplate(image, kernel, getattr(cv2, mode))
    _, _, lowest, highest = cv2.minMaxLoc(scores)
    x, y = lowest if "SQDIFF" in mode else highest
    return int(x), int(y)


def scikit_image(image: Pixels, kernel: Pixels) -> Place:
    return place(match_template(image, kernel)[..., 0])


def corrmatch(image: Pixels, kernel: Pixels, metric: str) -> Place:
    from corrmatch import match_template as search

    best = search(image[..., 0], kernel[..., 0], metric=metric, parallel=True)
    return round(best.x), round(best.y)


def pyvips(image: Pixels, kernel: Pixels, method: str) -> Place:
    import pyvips

    big, small = (pyvips.Image.new_from_array(picture[..., 0]) for picture in (image, kernel))
    scores = getattr(big, method)(small)
    extreme = scores.min if method == "fastcor" else scores.max
    _, options = extreme(x=True, y=True)
    # The map is as large as the picture, and each score is at the kernel's middle.
    return options["x"] - kernel.shape[1] // 2, options["y"] - kernel.shape[0] // 2


def torch_taps(image: Pixels, kernel: Pixels) -> Place:
    """Loop over the kernel's values in torch, and add a whole map for each."""
    big = torch.from_numpy(image).permute(2, 0, 1).contiguous()
    rows, cols = big.shape[1] - kernel.shape[0] + 1, big.shape[2] - kernel.shape[1] + 1
    total, difference = torch.zeros(rows, cols), torch.empty(rows, cols)
    for y in range(kernel.shape[0]):
        for x in range(kernel.shape[1]):
            for c in range(kernel.shape[2]):
                part = big[c, y : y + rows, x : x + cols]
                total += torch.sub(part, float(kernel[y, x, c]), out=difference).abs_()
    return place(-total.numpy())


def unfold(image: Pixels, kernel: Pixels, stride: int) -> NDArray[np.float32]:
    """Compute the map of `sad` from unfolded patches, as in a notebook."""
    patches = torch.from_numpy(image).permute(2, 0, 1).float()
    reference = torch.from_numpy(kernel).permute(2, 0, 1).float()
    for axis in (1, 2):
        patches = patches.unfold(axis, kernel.shape[axis - 1], stride)
    return np.asarray(1 - (patches - reference[:, None, None]).abs().mean((0, 3, 4)))


def loop(image: Pixels, kernel: Pixels, stride: int) -> NDArray[np.float32]:
    """Compute the map of `sad` in a loop over windows, as in a notebook."""
    height, width, _ = kernel.shape
    tops = range(0, image.shape[0] - height + 1, stride)
    lefts = range(0, image.shape[1] - width + 1, stride)
    return np.array(
        [
            [1 - np.abs(image[y : y + height, x : x + width] - kernel).mean() for x in lefts]
            for y in tops
        ]
    )


def place(scores: NDArray[Any]) -> Place:
    """Return x and y of the highest score."""
    y, x = np.unravel_index(int(scores.argmax()), scores.shape)
    return int(x), int(y)
