"""Cosines between slots: unit vectors, the best matches, sums over all pairs in blocks."""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from torch import Tensor

# Cosines of the all-pairs loss that exist at once: 8 MiB of float32.
_BLOCK = 1 << 21


def best_matches(units: Tensor) -> Tensor:
    """[B, S] as `match_slots`, from detached unit vectors [2B, S, C]."""
    import torch
    from scipy.optimize import linear_sum_assignment

    first, second = units.chunk(2)
    # One transfer for the whole batch.
    cosines = (first @ second.mT).cpu().numpy()
    columns = [linear_sum_assignment(one, maximize=True)[1] for one in cosines]
    return torch.stack([torch.from_numpy(one) for one in columns]).to(units.device)


def other_view(units: Tensor, matches: Tensor) -> Tensor:
    """For each slot of [2B, S, C] its match in the other view."""
    import torch

    first, second = units.chunk(2)
    return torch.cat([taken(second, matches), taken(first, matches.argsort(-1))])


def taken(units: Tensor, slots: Tensor) -> Tensor:
    """units[b, slots[b, s]] for [B, S, C] and [B, S]."""
    return units.gather(1, slots[..., None].expand(-1, -1, units.shape[-1]))


def unit_vectors(vectors: Tensor) -> Tensor:
    """Vectors along the last dimension brought to length 1; zeros stay zeros, without gradient."""
    import torch

    wide = vectors.to(torch.promote_types(vectors.dtype, torch.float32))
    # The direction does not change with the scale, so the scale needs no gradient; it keeps the
    # squares from overflow and underflow. (Twice an extreme is faster than one of absolutes.)
    fixed = wide.detach()
    largest = torch.maximum(fixed.amax(-1, keepdim=True), -fixed.amin(-1, keepdim=True))
    some = largest > 0
    scaled = wide / largest.where(some, 1)
    # Divided by infinity, zeros and their gradient are 0.
    length = torch.linalg.vector_norm(scaled, dim=-1, keepdim=True).where(some, math.inf)
    units: Tensor = scaled / length
    return units


def full_precision(tensor: Tensor) -> AbstractContextManager[object]:
    """Keep autocast from computing cosines in half precision."""
    import torch

    return torch.autocast(tensor.device.type, enabled=False)


def all_logits(rows: Tensor, temperature: float) -> Tensor:
    """Cosine / temperature of all with all, [..., n, n]; -inf of a row with itself."""
    logits: Tensor = rows @ rows.mT / temperature
    logits.diagonal(0, -2, -1).fill_(-math.inf)
    return logits


@cache
def blockwise_log_sum_exp() -> Any:
    """For each row, over cosine / temperature with all other rows; blocks are made twice."""
    import torch

    def blocks(rows: Tensor, temperature: float) -> Iterator[tuple[slice, Tensor]]:
        """Logits [some, all], -inf of a row with itself; each takes the place of the last."""
        # Freed and taken anew, blocks of megabytes would scatter over the heap until it is as
        # large as all of them.
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
            # A logit's slope is its softmax; each cosine is of two rows.
            if torch.is_grad_enabled():
                # Asked to be differentiated again, by create_graph: all pairs at once.
                softmax = all_logits(rows, ctx.temperature).softmax(-1)
                slope = softmax * (grad / ctx.temperature)[:, None]
                return slope @ rows + slope.mT @ rows, None
            found = torch.zeros_like(rows)
            with full_precision(rows):
                for some, logits in blocks(rows, ctx.temperature):
                    slope = logits.sub_(totals[some, None]).exp_()
                    slope *= (grad[some] / ctx.temperature)[:, None]
                    found[some].addmm_(slope, rows)
                    found.addmm_(slope.mT, rows[some])
            return found, None

    return LogSumExp
