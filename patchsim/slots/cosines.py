"""Cosines between slots: unit vectors, the best matching, sums over all pairs in blocks."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from torch import Tensor

# Cosines of all pairs that exist at once: 8 MiB of float32.
_BLOCK = 1 << 21


def best_matches(units: Tensor) -> Tensor:
    """Return the matches [B, S] of `match_slots` for detached unit vectors [2B, S, C]."""
    import torch
    from scipy.optimize import linear_sum_assignment

    first, second = units.chunk(2)
    cosines = (first @ second.mT).cpu().numpy()  # one transfer for the whole batch
    matches = [linear_sum_assignment(image, maximize=True)[1] for image in cosines]
    return torch.stack([torch.from_numpy(columns) for columns in matches]).to(units.device)


def other_view(units: Tensor, matches: Tensor) -> Tensor:
    """Return for each slot of [2B, S, C] its match in the other view."""
    import torch

    first, second = units.chunk(2)
    return torch.cat([gather_slots(second, matches), gather_slots(first, matches.argsort(-1))])


def gather_slots(units: Tensor, slots: Tensor) -> Tensor:
    """Return ``units[b, slots[b, s]]`` for units [B, S, C] and slots [B, S]."""
    return units.gather(1, slots[..., None].expand(-1, -1, units.shape[-1]))


def unit_vectors(vectors: Tensor) -> Tensor:
    """Scale vectors along the last dimension to length 1; zeros stay zeros, with gradient 0."""
    import torch

    wide = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    # The squares of scaled values neither overflow nor underflow. The scale needs no gradient,
    # because the direction does not depend on it. (Two extremes are faster than one of absolutes.)
    fixed = wide.detach()
    largest = torch.maximum(fixed.amax(-1, keepdim=True), -fixed.amin(-1, keepdim=True))
    is_nonzero = largest > 0
    scaled = wide / largest.where(is_nonzero, 1)
    # Division by infinity makes zeros and their gradients 0.
    length = torch.linalg.vector_norm(scaled, dim=-1, keepdim=True).where(is_nonzero, math.inf)
    units: Tensor = scaled / length
    return units


def full_precision(tensor: Tensor) -> AbstractContextManager[object]:
    """Keep autocast from computing cosines in half precision."""
    import torch

    return torch.autocast(tensor.device.type, enabled=False)


def logits_to_others(rows: Tensor, temperature: float) -> Tensor:
    """Compute cosine / temperature [..., n, n] of unit vectors; -inf of a row with itself."""
    logits: Tensor = rows @ rows.mT / temperature
    logits.diagonal(0, -2, -1).fill_(-math.inf)
    return logits


@cache
def blockwise_log_sum_exp() -> Any:
    """Make the function log(sum(exp(cosine / temperature))) of each row over all other rows.

    It computes the cosines in blocks, once forward and once backward, so that memory does not grow
    with the square of the rows.
    """
    import torch

    def blocks(rows: Tensor, temperature: float) -> Iterator[tuple[slice, Tensor]]:
        """Yield rows and their logits [some, all]; each block overwrites the one before."""
        # Blocks of megabytes that are freed and allocated again would fragment the heap, until it
        # is as large as all of them.
        step = max(1, _BLOCK // len(rows))
        buffer = rows.new_empty((min(step, len(rows)), len(rows)))
        for top in range(0, len(rows), step):
            some = rows[top : top + step]
            logits = torch.mm(some, rows.mT, out=buffer[: len(some)]).div_(temperature)
            logits.diagonal(top).fill_(-math.inf)
            yield slice(top, top + len(some)), logits

    class LogSumExp(torch.autograd.Function):
        @staticmethod
        def forward(rows: Tensor, temperature: float) -> Tensor:
            totals = rows.new_empty(len(rows))
            for some, logits in blocks(rows, temperature):
                largest = logits.amax(-1)
                sums = logits.sub_(largest[:, None]).exp_().sum(-1)
                totals[some] = sums.log_().add_(largest)
            return totals

        @staticmethod
        def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
            rows, ctx.temperature = inputs
            ctx.save_for_backward(rows, output)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
            rows, totals = ctx.saved_tensors
            # The slope of a logit is its softmax. Each cosine has a gradient in two rows.
            if torch.is_grad_enabled():
                # With create_graph the gradient is differentiated again, with all pairs at once.
                softmax = logits_to_others(rows, ctx.temperature).softmax(-1)
                slope = softmax * (grad / ctx.temperature)[:, None]
                return slope @ rows + slope.mT @ rows, None
            row_grad = torch.zeros_like(rows)
            with full_precision(rows):
                for some, logits in blocks(rows, ctx.temperature):
                    slope = logits.sub_(totals[some, None]).exp_()
                    slope *= (grad[some] / ctx.temperature)[:, None]
                    row_grad[some].addmm_(slope, rows)
                    row_grad.addmm_(slope.mT, rows[some])
            return row_grad, None

    return LogSumExp
