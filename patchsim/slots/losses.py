"""The losses between matched slots, their matching and their references.

Features are [2B, S, C]: B images in two views of S slots each, first the B first views, then the B
second views. Image i is in rows i and i + B.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from patchsim import choices
from patchsim.errors import InputError
from patchsim.slots import cosines, tensor_checks

if TYPE_CHECKING:
    from torch import Tensor

    Reduction = Literal["mean", "sum", "none"]


def matching_similarity_loss_per_img(f: Tensor, p: Tensor, reduction: Reduction = "mean") -> Tensor:
    """Half the cosine distance between projected slots and their matches in the other view.

    Slots of the two views of an image are matched by `match_slots` on `f`. For slot s of image i
    matched with slot t of image i + B the losses are ``(1 - cos(p[i, s], f[i+B, t])) / 2`` and
    ``(1 - cos(p[i+B, t], f[i, s])) / 2``. Each lies from 0 (same direction) to 1 (opposite).

    Parameters
    ----------
    f : Tensor [2B, S, C]
        Features before the projection; no gradient flows into them.
    p : Tensor [2B, S, C]
        Features after the projection.
    reduction : {"mean", "sum", "none"}
        ``"sum"`` is the sum over all 2BS slots, that is 2BS times the mean. A public
        implementation of this loss returns (1 - the sum of the cosines) / 2 there instead.

    Returns
    -------
    Tensor
        A scalar, or for ``"none"`` [2BS] in the order of ``p.reshape(2*B*S, C)``.

    Raises
    ------
    InputError
        A ValueError: shapes or dtypes that do not fit, values that are not finite, unknown
        reduction.

    Examples
    --------
    >>> import torch, patchsim
    >>> f = torch.eye(3).repeat(2, 1, 1)  # one image, the same three slots in both views
    >>> patchsim.matching_similarity_loss_per_img(f, -f)
    tensor(1.)
    """
    reduction = _checked(reduction)
    return reduced(similarity_losses(f, p)[0], reduction)


def matching_contrastive_loss(
    slots: Tensor, temperature: float = 1.0, reduction: Reduction = "mean"
) -> Tensor:
    """Cross-entropy of finding a slot's match among all other slots of the batch.

    The similarities are cosine / temperature. A slot's match in the other view is the positive,
    the other 2BS - 2 slots are negatives; the slot itself is left out. See `collapsed` and
    `orthogonal` for values to compare with. Memory grows with 2BS, not with its square.

    Parameters
    ----------
    slots : Tensor [2B, S, C]
        Slots of float16, bfloat16, float32 or float64. Gradients flow into slots, matches and
        negatives alike, not into the matching.
    temperature : float
        A number from 1e-30; no gradient flows into it.
    reduction : {"mean", "sum", "none"}
        How the losses of all 2BS slots are combined; ``"none"`` returns them all.

    Returns
    -------
    Tensor
        A scalar, or for ``"none"`` [2BS] in the order of ``slots.reshape(2*B*S, C)``.

    Raises
    ------
    InputError
        A ValueError: shapes, dtypes, values, temperature or reduction that cannot be used.
    """
    reduction = _checked(reduction)
    return reduced(contrastive_losses(slots, temperature, per_img=False)[0], reduction)


def matching_contrastive_loss_per_img(
    slots: Tensor, temperature: float = 1.0, reduction: Reduction = "mean"
) -> Tensor:
    """Cross-entropy of finding a slot's match among the slots of the same image's two views.

    The loss is that of `matching_contrastive_loss`, but the negatives of a slot are only the other
    2S - 2 slots in the two views of its image. The similarities are cosine / temperature, and a
    slot's match in the other view, as `match_slots` finds it, is the positive. See `collapsed` and
    `orthogonal` for values to compare with. Memory grows with B times the square of 2S.

    Parameters
    ----------
    slots : Tensor [2B, S, C]
        Slots of float16, bfloat16, float32 or float64. Gradients flow into slots, matches and
        negatives alike, not into the matching.
    temperature : float
        A number from 1e-30; no gradient flows into it.
    reduction : {"mean", "sum", "none"}
        How the losses of all 2BS slots are combined; ``"none"`` returns them all.

    Returns
    -------
    Tensor
        A scalar, or for ``"none"`` [2BS] in the order of ``slots.reshape(2*B*S, C)``. It is float64
        for float64 slots, else float32. Losses are at least 0, but for rounding.

    Raises
    ------
    InputError
        A ValueError: shapes, dtypes, values, temperature or reduction that cannot be used.
    """
    reduction = _checked(reduction)
    return reduced(contrastive_losses(slots, temperature, per_img=True)[0], reduction)


def matching_similarity_loss_small_to_large(
    f_large: Tensor, p_small: Tensor, reduction: Reduction = "mean"
) -> tuple[Tensor, Tensor]:
    """Half the cosine distance between slots of small crops and their counterparts in large ones.

    For each pair of a small and a large crop of an image, a small and a large slot count if each
    is the other's nearest by cosine (of equals the first). The loss of the pair of crops is the
    mean of (1 - cosine) / 2 over these reciprocal slots, from 0 to 1.

    Parameters
    ----------
    f_large : Tensor [B, A, L, C]
        Features of A large crops with L slots; no gradient flows into them.
    p_small : Tensor [B, a, S, C]
        Projected features of a small crops with S slots.
    reduction : {"mean", "sum", "none"}
        How the losses of the pairs of crops are combined.

    Returns
    -------
    loss : Tensor
        A scalar, or for ``"none"`` [B, a, A]. Each pair of crops has reciprocal slots: the first
        two whose cosine is the largest of all.
    share : Tensor
        A scalar, the share of small slots that are reciprocal, over all pairs of crops.

    Raises
    ------
    InputError
        A ValueError: shapes, dtypes, values or reduction that cannot be used.
    """
    import torch

    tensor_checks.check_crops(f_large, p_small)
    reduction = _checked(reduction)
    with cosines.full_precision(p_small):
        large, small = cosines.unit_vectors(f_large.detach()), cosines.unit_vectors(p_small)
        wide = torch.promote_types(large.dtype, small.dtype)
        large, small = large.to(wide), small.to(wide)
        cosine = torch.einsum("basc,bAlc->baAsl", small, large)  # [B, a, A, S, L]
        fixed = cosine.detach()
        nearest_large = fixed.argmax(-1)  # [B, a, A, S]
        # The small slot that is nearest to the large slot that is nearest to each small slot.
        nearest_small = fixed.argmax(-2).gather(-1, nearest_large)
        slots = torch.arange(nearest_small.shape[-1], device=nearest_small.device)
        is_reciprocal = nearest_small == slots
        losses = (1 - cosine.gather(-1, nearest_large[..., None])[..., 0]) / 2
        pairs = losses.where(is_reciprocal, 0).sum(-1) / is_reciprocal.sum(-1)  # [B, a, A]
    return reduced(pairs, reduction), is_reciprocal.to(pairs.dtype).mean()


def match_slots(f: Tensor) -> Tensor:
    """Match the slots of each image's two views so that the sum of cosines is largest.

    Parameters
    ----------
    f : Tensor [2B, S, C]
        Features of float16, bfloat16, float32 or float64: first the B first views, then the B
        second views. No gradient flows through the matching.

    Returns
    -------
    Tensor [B, S], int64
        Element [i, s] is the slot of the second view of image i that slot s of the first view is
        matched with, from 0 to S - 1. The tensor is on the device of `f`.

    Raises
    ------
    InputError
        A ValueError: a shape or dtype that does not fit, or values that are not finite.

    Notes
    -----
    Each image is a linear assignment problem, which `scipy.optimize.linear_sum_assignment` solves.
    The result is deterministic.

    Examples
    --------
    >>> import torch, patchsim
    >>> view = torch.eye(3)
    >>> patchsim.match_slots(torch.stack([view, view[[2, 0, 1]]]))
    tensor([[1, 2, 0]])
    """
    tensor_checks.check_pairs(f, "f")
    with cosines.full_precision(f):
        return cosines.best_matches(cosines.unit_vectors(f.detach()))


def matched_cosines(f: Tensor, matches: Tensor) -> Tensor:
    """Compute the cosines [B, S] of matched slots, for `matches` from `match_slots`."""
    with cosines.full_precision(f):
        first, second = cosines.unit_vectors(f.detach()).chunk(2)
        return (first * cosines.gather_slots(second, matches)).sum(-1)


def stack_views(features: Tensor) -> Tensor:
    """Bring the two views of each image into the order that the losses take.

    Parameters
    ----------
    features : Tensor [B, 2, S, C]
        Features of B images in two views of S slots each, of any dtype.

    Returns
    -------
    Tensor [2B, S, C]
        First all ``features[:, 0]``, then all ``features[:, 1]``, of the same dtype and on the same
        device. Gradients flow through it.

    Raises
    ------
    InputError
        A ValueError: the shape is not [B, 2, S, C].
    """
    if features.ndim != 4 or features.shape[1] != 2:
        raise InputError(f"features {list(features.shape)} are not [B, 2, S, C]")
    return features.transpose(0, 1).flatten(0, 1)


def similarity_losses(f: Tensor, p: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the losses [2BS] of `matching_similarity_loss_per_img` and the matches [B, S]."""
    tensor_checks.check_pairs(f, "f")
    tensor_checks.check_pairs(p, "p")
    if f.shape != p.shape or f.device != p.device:
        raise InputError(
            f"f is {list(f.shape)} on {f.device} and p {list(p.shape)} on {p.device};"
            " give both one shape and device"
        )
    with cosines.full_precision(f):
        features, projected = cosines.unit_vectors(f.detach()), cosines.unit_vectors(p)
        matches = cosines.best_matches(features)
        losses = (1 - (projected * cosines.other_view(features, matches)).sum(-1)) / 2
    return losses.flatten(), matches


def contrastive_losses(
    slots: Tensor, temperature: float, *, per_img: bool
) -> tuple[Tensor, Tensor]:
    """Compute the losses [2BS] of both contrastive losses and the matches [B, S].

    With `per_img` the negatives of a slot are those of its image, otherwise those of the batch.
    """
    import torch

    tensor_checks.check_pairs(slots, "slots")
    tensor_checks.check_temperature(temperature)
    with cosines.full_precision(slots):
        units = cosines.unit_vectors(slots)
        matches = cosines.best_matches(units.detach())
        positives = (units * cosines.other_view(units, matches)).sum(-1).flatten() / temperature
        if per_img:
            images = torch.cat(units.chunk(2), dim=1)  # [B, 2S, C]
            totals = cosines.logits_to_others(images, temperature).logsumexp(-1)
            totals = torch.cat(totals.chunk(2, dim=1)).flatten()
        else:
            totals = cosines.blockwise_log_sum_exp().apply(units.flatten(0, 1), temperature)
    return totals - positives, matches


def _checked(reduction: Reduction) -> Reduction:
    return cast("Reduction", choices.check("reduction", reduction, choices.REDUCTIONS))


def reduced(losses: Tensor, reduction: str) -> Tensor:
    """Return the losses, their sum or their mean; the word is one of `choices.REDUCTIONS`."""
    if reduction == "none":
        return losses
    return losses.sum() if reduction == "sum" else losses.mean()
