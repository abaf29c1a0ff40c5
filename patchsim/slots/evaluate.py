"""A slot loss over files of features, which are read in batches of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from patchsim import choices
from patchsim.errors import InputError, printable
from patchsim.slots import batches, losses, references, tensor_checks
from patchsim.slots.batches import Features

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Request:
    """A loss to evaluate, checked.

    Attributes
    ----------
    loss, layout, reduction, device : str
        `choices` has the words.
    f_keys, p_keys, keys : tuple of str
        Keys of the features before and after the projection, and of slots. The first key that a
        file has is taken.
    temperature : float
    memory : int
        Bytes that may be used.
    drawn : int or None
        The image whose matches will be drawn.
    """

    loss: str = "similarity"
    f_keys: tuple[str, ...] = ("f",)
    p_keys: tuple[str, ...] = ("p",)
    keys: tuple[str, ...] = ("slots", "p")
    layout: str = "2BSC"
    reduction: str = "mean"
    temperature: float = 1.0
    device: str = "cpu"
    memory: int = 1 << 32
    drawn: int | None = None

    def __post_init__(self) -> None:
        # Words may be typed in capitals; the dataclass is frozen.
        object.__setattr__(self, "loss", choices.check("loss", self.loss, choices.LOSSES))
        if self.layout not in choices.LAYOUTS:
            raise InputError(
                f"layout {self.layout!r} is unknown; there are 2BSC (all first views, then all"
                " second) and B2SC (both views of an image together)"
            )
        reduction = choices.check("reduction", self.reduction, choices.REDUCTIONS)
        object.__setattr__(self, "reduction", reduction)
        tensor_checks.check_temperature(self.temperature)

    @property
    def features(self) -> list[tuple[str, tuple[str, ...]]]:
        """The features that the loss takes: names for messages, and keys."""
        if self.loss == "small-to-large":
            return [("f_large", self.f_keys), ("p_small", self.p_keys)]
        if self.loss == "similarity":
            return [("f", self.f_keys), ("p", self.p_keys)]
        return [("slots", self.keys)]


@dataclass(frozen=True)
class Scored:
    """A loss of one file, and numbers that help to read it.

    Attributes
    ----------
    file : str
    loss : float or None
        None if the reduction is ``none``.
    losses : float64 Tensor
        The losses before the reduction: [2BS], or [B, a, A] for ``small-to-large``.
    matches : Tensor [B, S] or None
        The result of `losses.match_slots`; None for ``small-to-large``.
    images, slots, channels : int
        B, S and C.
    matched_cosine : float or None
        The mean cosine of matched slots; None for ``small-to-large``.
    share : float or None
        The share of small slots that are reciprocal, for ``small-to-large``.
    collapsed, orthogonal : float or None
        References for the contrastive losses, see `references.collapsed` and
        `references.orthogonal`.
    """

    file: str
    loss: float | None
    losses: Tensor
    matches: Tensor | None
    images: int
    slots: int
    channels: int
    matched_cosine: float | None
    share: float | None = None
    collapsed: float | None = None
    orthogonal: float | None = None


def score(paths: Sequence[Path], request: Request) -> Scored:
    """Evaluate a loss on the features of one file, or of one file each for f and p.

    Raises
    ------
    InputError
        If the files or their features do not fit the loss; see `feature_files` and `losses`.
    """
    with batches.opened(paths, request.features, request.memory) as features:
        if request.loss == "small-to-large":
            return _score_crops(features, request, str(paths[0]))
        return _score_pairs(features, request, str(paths[0]))


def _score_pairs(features: list[Features], request: Request, file: str) -> Scored:
    """Evaluate a loss between matched slots of two views."""
    import torch

    image_count, slot_count, channels = _pair_shape(features, request)
    if request.drawn is not None and not 0 <= request.drawn < image_count:
        raise InputError(
            f"image {request.drawn} is not there; {printable(file)} has images"
            f" 0 to {image_count - 1}"
        )
    parts, matches, matched_cosines = [], [], []
    step = _pair_batch_size(features, request, file)
    for first in range(0, image_count, step):
        last = min(first + step, image_count)
        tensors = [
            one.pairs(first, last, image_count, request.layout, request.device) for one in features
        ]
        losses_of_pairs, part_matches = _pair_losses(tensors, request)
        parts.append(losses_of_pairs.detach().double().cpu().view(2, last - first, slot_count))
        matches.append(part_matches.cpu())
        matched_cosines.append(losses.matched_cosines(tensors[0], part_matches).double().cpu())
    unreduced = torch.cat(parts, dim=1).flatten()
    return Scored(
        file=file,
        loss=_reduced(unreduced, request.reduction),
        losses=unreduced,
        matches=torch.cat(matches),
        images=image_count,
        slots=slot_count,
        channels=channels,
        matched_cosine=float(torch.cat(matched_cosines).mean()),
        **_references(request, image_count, slot_count),
    )


def _pair_batch_size(features: list[Features], request: Request, file: str) -> int:
    """Choose how many images are scored at once; ``contrastive`` compares all with all."""
    image_count, slot_count, _ = _pair_shape(features, request)
    image_bytes = batches.bytes_per_image(features, 4 * slot_count**2)
    memory = batches.spare_memory(features, request.memory)
    needs_all = request.loss == "contrastive"
    return batches.batch_size(image_count, image_bytes, memory, file, needs_all=needs_all)


def _pair_losses(tensors: list[Tensor], request: Request) -> tuple[Tensor, Tensor]:
    """Compute the losses [2bS] and the matches [b, S] of a batch."""
    if request.loss == "similarity":
        return losses.similarity_losses(tensors[0], tensors[1])
    per_img = request.loss != "contrastive"
    return losses.contrastive_losses(tensors[0], request.temperature, per_img=per_img)


def _references(request: Request, image_count: int, slot_count: int) -> dict[str, float]:
    """Compute the references of a contrastive loss by their names in `Scored`."""
    if request.loss == "similarity":
        return {}
    negatives = 2 * slot_count * (image_count if request.loss == "contrastive" else 1) - 2
    return {
        "collapsed": references.collapsed(negatives),
        "orthogonal": references.orthogonal(negatives, request.temperature),
    }


def _score_crops(features: list[Features], request: Request, file: str) -> Scored:
    """Evaluate the loss between the slots of small and of large crops."""
    import torch

    image_count, slot_count, channels, pair_count = _crop_shape(features, file)
    image_bytes = batches.bytes_per_image(features, pair_count)
    memory = batches.spare_memory(features, request.memory)
    step = batches.batch_size(image_count, image_bytes, memory, file, needs_all=False)
    parts, shares = [], []
    for first in range(0, image_count, step):
        last = min(first + step, image_count)
        large, small = (one.rows(first, last, request.device) for one in features)
        losses_of_crops, share = losses.matching_similarity_loss_small_to_large(
            large, small, "none"
        )
        parts.append(losses_of_crops.detach().double().cpu())
        shares.append(float(share) * (last - first))
    unreduced = torch.cat(parts)
    return Scored(
        file=file,
        loss=_reduced(unreduced, request.reduction),
        losses=unreduced,
        matches=None,
        images=image_count,
        slots=slot_count,
        channels=channels,
        matched_cosine=None,
        share=math.fsum(shares) / image_count,
    )


def _crop_shape(features: list[Features], file: str) -> tuple[int, int, int, int]:
    """Return B, S and C of the small crops, and the number of pairs of slots in an image."""
    large, small = (one.stored.shape for one in features)
    for one in features:
        shape = one.stored.shape
        if len(shape) != 4 or 0 in shape:
            raise InputError(f"{one.where} is {list(shape)}; give [B, crops, slots, C]")
    if large[0] != small[0]:
        raise InputError(
            f"{printable(file)}: f_large is {list(large)} and p_small {list(small)};"
            " give both the same B (first)"
        )
    image_count, _, slot_count, channels = small
    return image_count, slot_count, channels, math.prod(large[1:3]) * math.prod(small[1:3])


def _pair_shape(features: list[Features], request: Request) -> tuple[int, int, int]:
    """Return B, S and C, which all the features must agree on."""
    for one in features:
        shape = one.stored.shape
        if request.layout == "B2SC":
            if len(shape) != 4 or shape[1] != 2 or 0 in shape:
                raise InputError(f"{one.where} is {list(shape)}; B2SC is [B, 2, S, C]")
        elif len(shape) != 3 or shape[0] % 2 or 0 in shape:
            hint = "; for [B, 2, S, C] give --layout B2SC" if len(shape) == 4 else ""
            if len(shape) == 3 and shape[0] % 2:
                hint = f", so that the first dimension is even; {shape[0]} is odd"
            raise InputError(
                f"{one.where} is {list(shape)}; give [2B, S, C] with two views of B images" + hint
            )
    if len({one.stored.shape for one in features}) > 1:
        shapes = " and ".join(f"{one.name} {list(one.stored.shape)}" for one in features)
        raise InputError(f"{printable(features[0].path)}: {shapes} differ; give both one shape")
    shape = features[0].stored.shape
    return (shape[0] if len(shape) == 4 else shape[0] // 2), shape[-2], shape[-1]


def _reduced(unreduced: Tensor, reduction: str) -> float | None:
    return None if reduction == "none" else float(losses.reduced(unreduced, reduction))
