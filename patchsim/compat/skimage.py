"""`skimage.feature.match_template` for pictures, with its arguments, values and types."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from patchsim.compat import maps
from patchsim.errors import InputError


def match_template(
    image: Any,
    template: Any,
    pad_input: bool = False,
    mode: str = "constant",
    constant_values: float = 0,
) -> NDArray[Any]:
    """Correlate a template with every window of an image, as `skimage.feature.match_template` does.

    Parameters
    ----------
    image, template : arrays [H, W] of numbers
        Volumes are not offered: scikit-image takes a colour picture as one.
    pad_input : bool
        The image is padded so that the result has its shape and tells where the centre of the
        template lies, rather than its top-left corner.
    mode : str
        How it is padded, as in `numpy.pad`.
    constant_values : float
        What it is padded with where `mode` is ``constant``.

    Returns
    -------
    float64 or float32 array [H - h + 1, W - w + 1], with `pad_input` [H, W]
        Correlation coefficients, -1 to 1; 0 where window or template is flat. float32 if the
        image is of float32 or float16.

    Raises
    ------
    InputError
        A ValueError: the pictures are not two-dimensional, the template is larger than the image,
        or values are not finite.

    Examples
    --------
    >>> import numpy as np
    >>> from patchsim.compat.skimage import match_template
    >>> image = np.random.default_rng(0).random((20, 30))
    >>> found = match_template(image, image[4:9, 7:15])
    >>> np.unravel_index(found.argmax(), found.shape)
    (np.int64(4), np.int64(7))
    """
    for name, picture in (("image", image), ("template", template)):
        if np.ndim(picture) != 2:
            raise InputError(
                f"{name} has the shape {list(np.shape(picture))}; give an array [H, W], and convert"
                " colour to grey first"
            )
    pixels = maps.as_pixels(image, "image")[..., 0]
    taps = maps.as_pixels(template, "template")[..., 0]
    height, width = taps.shape
    if height > pixels.shape[0] or width > pixels.shape[1]:
        raise InputError(
            f"template {list(taps.shape)} is larger than image {list(pixels.shape)} (height,"
            " width); give a smaller one"
        )
    dtype = np.float32 if pixels.dtype.name in ("float16", "float32") else np.float64
    if pad_input:
        given = {"constant_values": constant_values} if mode == "constant" else {}
        sides = [(height, height), (width, width)]
        padded: Any = np.pad(pixels, sides, mode, **given)  # type: ignore[call-overload] # any mode
        top, left = (height + 1) // 2, (width + 1) // 2
        pixels = padded[top : top + pixels.shape[0] + height - 1]
        pixels = pixels[:, left : left + np.shape(image)[1] + width - 1]
    if pixels.dtype != taps.dtype:
        pixels, taps = pixels.astype(np.float64), taps.astype(np.float64)
    if (taps == taps[0, 0]).all():
        shape = (pixels.shape[0] - height + 1, pixels.shape[1] - width + 1)
        return np.zeros(shape, dtype)
    return maps.score_map(pixels[..., None], taps[..., None], "zncc").astype(dtype)
