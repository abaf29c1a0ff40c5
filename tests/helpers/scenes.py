"""Pictures whose answer is known: waves that are shifted, kernels that are planted."""

from __future__ import annotations

import cv2
import numpy as np

NOISE = 4.0


def waves(height, width, channels=1, *, top=0.0, left=0.0):
    """A sum of plane waves, periods of 5 pixels and more, within 0.1 to 0.9."""
    y = (np.arange(height) + top)[:, None, None]
    x = (np.arange(width) + left)[None, :, None]
    random = np.random.default_rng(5)
    total = np.zeros((height, width, channels))
    for _ in range(12):
        angle, period, phase = random.uniform(0, 2 * np.pi, 3)
        period = 5 + 3 * period
        along = np.sin(angle) * y + np.cos(angle) * x
        total += np.sin(2 * np.pi * along / period + phase + np.arange(channels))
    return 0.5 + 0.4 * total / 12


def corner(best):
    return best.y_subpixel, best.x_subpixel


def planted(picture, kernel, scale, angle, center, alpha=None):
    """The picture with a mirrored, scaled and turned kernel on it, by OpenCV; x first."""
    height, width = kernel.shape[:2]
    middle = width / 2 - 0.5, height / 2 - 0.5
    matrix = cv2.getRotationMatrix2D(middle, angle, scale)
    matrix[:, 2] += np.array(center) - 0.5 - middle
    if scale < 1:
        kernel = cv2.GaussianBlur(kernel, (0, 0), 0.5 * np.sqrt(scale**-2 - 1))
    size = picture.shape[1], picture.shape[0]
    shown = cv2.warpAffine(
        kernel, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    ).reshape(picture.shape)
    alpha = np.ones((height, width), np.float32) if alpha is None else alpha.astype(np.float32)
    cover = cv2.warpAffine(alpha, matrix, size, flags=cv2.INTER_LINEAR)[..., None]
    noise = np.random.default_rng(7).normal(0, NOISE, picture.shape)
    return np.clip(picture * (1 - cover) + shown * cover + noise, 0, 255).astype(np.uint8)


def turned_by(first, second):
    return abs((first - second + 180) % 360 - 180)
