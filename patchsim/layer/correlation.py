"""`ssd`, `ncc` and `zncc` as differentiable functions of tensors, by Fourier transforms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from patchsim import metrics
from patchsim.metrics import FLAT
from patchsim.numerics.box_sums import box_sums
from patchsim.numerics.overlap_save import overlap_save
from patchsim.numerics.precision import UNIT_ROUNDOFF

if TYPE_CHECKING:
    from torch import Tensor

_USUAL_EXPONENT = 200  # values up to this power of two, or from one below, are not scaled
_MOST_EXPONENT = 1074  # of the least number of float64


def scores(
    image: Tensor,
    kernel: Tensor,
    stride: tuple[int, int],
    metric: str,
    span: float,
    *,
    is_integer: bool,
    is_wide: bool,
) -> Tensor:
    """Score every window; the scores are differentiable in both arguments.

    Parameters
    ----------
    image : float64 Tensor [B, C, H, W]
    kernel : float64 Tensor [C, h, w]
        The kernel, no larger than the image. A flat kernel scores 0 in `zncc`, a zero one in `ncc`.
    stride : (y, x)
    metric : str
        `ssd`, `ncc` or `zncc`.
    span : float
        The data range R.
    is_integer : bool
        Whether all values are whole numbers.
    is_wide : bool
        Whether values may be farther from 1 than those of float32.

    Returns
    -------
    float64 Tensor [B, rows, cols]

    Raises
    ------
    NotImplementedError
        If there is no formula for the metric.

    Notes
    -----
    Means are taken off each channel before the sums, because small values have small rounding
    errors: the kernel's mean off both in `ssd`, and off each its own mean in `zncc`. Neither
    changes the scores. In `ncc` nothing is taken off.
    """
    if is_wide and metric != "ssd":  # whose scores depend on the scale
        image, kernel = _near_1(image), _near_1(kernel)
    size, count = (kernel.shape[-2], kernel.shape[-1]), kernel.shape[-2] * kernel.shape[-1]
    kernel_mean = kernel.detach().mean((-2, -1), keepdim=True) * (metric != "ncc")
    image_mean = kernel_mean
    if metric == "zncc":
        image_mean = image.detach().mean((-2, -1), keepdim=True)
    if is_integer:
        # Integers stay integers, so that their sums are exact.
        kernel_mean, image_mean = kernel_mean.round(), image_mean.round()
    planes, taps = image - image_mean, kernel - kernel_mean
    products = overlap_save(planes, taps)[..., :: stride[0], :: stride[1]]
    energy = box_sums(planes * planes, size, stride)  # [B, C, rows, cols]
    if metric == "ssd":
        differences = energy.sum(-3) - 2 * products + (taps * taps).sum()
        similarity: Tensor = metrics.similarity(differences, kernel.numel(), span * span)
        return similarity
    if metric == "ncc":
        return _cosine(products, energy.sum(-3), (taps * taps).sum())
    if metric != "zncc":
        raise NotImplementedError(f"the metric {metric!r} has no formula in patchsim.layer")
    sums, total = box_sums(planes, size, stride), taps.sum((-2, -1))
    spread = energy - sums**2 / count
    if is_integer:
        # n E - S^2 is 0 in a flat window, otherwise at least n - 1.
        is_flat = (count * energy - sums**2 <= (count - 1) / 2).all(-3)
    else:
        raw = box_sums(image.detach() ** 2, size, stride)
        is_flat = (spread <= FLAT * raw + 8 * (sum(size) + 4) * UNIT_ROUNDOFF * energy).all(-3)
    kernel_spread = (taps * taps).sum() - (total**2).sum() / count
    numerator = products - (sums * total[:, None, None]).sum(-3) / count
    return _cosine(numerator, spread.sum(-3) * ~is_flat, kernel_spread)


def _near_1(pictures: Tensor) -> Tensor:
    """Scale each picture [..., C, H, W] whose values are very far from 1, by a power of two.

    No square of a value, nor a product of two sums of squares, leaves float64 then.
    """
    ends = pictures.detach().flatten(-3).aminmax(dim=-1)
    largest = ends.max.maximum(-ends.min)[..., None, None, None]
    exponent = largest.frexp().exponent.clamp(-_MOST_EXPONENT, _MOST_EXPONENT)  # not of infinity
    is_far = exponent.abs() > _USUAL_EXPONENT
    if pictures.device.type == "cpu" and not is_far.any():  # other devices would have to wait
        return pictures
    exponent = exponent.where(is_far, exponent.new_zeros(()))
    half = exponent // 2  # the whole power may be too large for a number
    one = largest.new_ones(largest.shape)
    return pictures * one.ldexp(-half) * one.ldexp(half - exponent)


def _cosine(products: Tensor, spread: Tensor, kernel_spread: Tensor) -> Tensor:
    """Divide products by the root of both spreads; where a spread is 0 the cosine is 0."""
    square = spread * kernel_spread
    is_defined = square > 0
    # The gradient of a root of 0 is NaN, even if the root is multiplied by 0 behind.
    roots = square.where(is_defined, square.new_ones(())).sqrt()
    # Not times `is_defined`, which makes -0 of what is negative.
    return (products / roots).clamp(-1, 1).where(is_defined, products.new_zeros(()))
