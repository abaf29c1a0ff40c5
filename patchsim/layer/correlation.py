"""`ssd`, `ncc` and `zncc` on tensors, differentiable, by the sums that the engine `fft` uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from patchsim import metrics
from patchsim.metrics import FLAT
from patchsim.numerics.box_sums import box_sums
from patchsim.numerics.overlap_save import overlap_save
from patchsim.numerics.precision import UNIT_ROUNDOFF

if TYPE_CHECKING:
    from torch import Tensor


def scores(
    image: Tensor, kernel: Tensor, stride: tuple[int, int], metric: str, span: float, *, whole: bool
) -> Tensor:
    """Scores of every window, differentiable in both arguments.

    Parameters
    ----------
    image : Tensor [B, C, H, W]
        float64.
    kernel : Tensor [C, h, w]
        float64, no larger than the image. A flat one scores 0 in `zncc`, a zero one in `ncc`.
    stride : (y, x)
    metric : str
        `ssd`, `ncc` or `zncc`.
    span : float
        The data range R.
    whole : bool
        All values are integers.

    Returns
    -------
    Tensor [B, rows, cols]
        float64.
    """
    size, count = (kernel.shape[-2], kernel.shape[-1]), kernel.shape[-2] * kernel.shape[-1]
    own = kernel.detach().mean((-2, -1), keepdim=True) * (metric != "ncc")
    moved = image.detach().mean((-2, -1), keepdim=True) if metric == "zncc" else own
    if whole:
        own, moved = own.round(), moved.round()  # integers stay integers, and their sums exact
    planes, taps = image - moved, kernel - own
    products = overlap_save(planes, taps)[..., :: stride[0], :: stride[1]]
    energy = box_sums(planes * planes, size, stride)  # [B, C, rows, cols]
    if metric == "ssd":
        differences = energy.sum(-3) - 2 * products + (taps * taps).sum()
        found: Tensor = metrics.similarity(differences, kernel.numel(), span * span)
        return found
    if metric == "ncc":
        return _tensor_correlation(products, energy.sum(-3), (taps * taps).sum())
    sums, total = box_sums(planes, size, stride), taps.sum((-2, -1))
    spread = energy - sums**2 / count
    if whole:
        # n E - S^2 is 0 in a flat window, and else n - 1 at the least.
        flat = (count * energy - sums**2 <= (count - 1) / 2).all(-3)
    else:
        raw = box_sums(image.detach() ** 2, size, stride)
        flat = (spread <= FLAT * raw + 8 * (sum(size) + 4) * UNIT_ROUNDOFF * energy).all(-3)
    kernel_spread = (taps * taps).sum() - (total**2).sum() / count
    numerator = products - (sums * total[:, None, None]).sum(-3) / count
    return _tensor_correlation(numerator, spread.sum(-3) * ~flat, kernel_spread)


def _tensor_correlation(products: Tensor, spread: Tensor, kernel_spread: Tensor) -> Tensor:
    square = spread * kernel_spread
    there = square > 0
    # A root of 0 has no gradient; what is not taken must not have NaN for one.
    roots = square.where(there, square.new_ones(())).sqrt()
    return (products / roots).clamp(-1, 1) * there
