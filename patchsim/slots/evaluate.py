"""What a file of features scores: a slot loss over features read in batches of images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchsim import choices, slots
from patchsim.errors import InputError, printable
from patchsim.slots import batches
from patchsim.slots.batches import Features

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Request:
    """What to evaluate: a loss, the keys of its features, their layout."""

    loss: str = "similarity"
    f_keys: tuple[str, ...] = ("f",)
    p_keys: tuple[str, ...] = ("p",)
    keys: tuple[str, ...] = ("slots", "p")
    layout: str = "2BSC"
    reduction: str = "mean"
    temperature: float = 1.0
    device: str = "cpu"
    memory: int = 1 << 32
    drawn: int | None = None  # the image whose matches are drawn

    def __post_init__(self) -> None:
        choices.check("loss", self.loss, choices.LOSSES)
        if self.layout not in choices.LAYOUTS:
            raise InputError(
                f"layout {self.layout!r} is unknown; there are 2BSC (all first views, then all"
                " second) and B2SC (both views of an image together)"
            )
        choices.check("reduction", self.reduction, choices.REDUCTIONS)
        slots.check_temperature(self.temperature)

    @property
    def features(self) -> list[tuple[str, tuple[str, ...]]]:
        """What the loss takes: names for messages, and keys of which the first found counts."""
        if self.loss == "small-to-large":
            return [("f_large", self.f_keys), ("p_small", self.p_keys)]
        if self.loss == "similarity":
            return [("f", self.f_keys), ("p", self.p_keys)]
        return [("slots", self.keys)]


@dataclass(frozen=True)
class Scored:
    """A loss and what helps to read it.

    Attributes
    ----------
    file : str
    loss : float or None
        None where ``reduction`` is ``"none"``.
    losses : float64 Tensor
        [2BS], or [B, a, A] for small-to-large, before the reduction.
    matches : Tensor [B, S] or None
        As `slots.match_slots`; None for small-to-large.
    images, slots, channels : int
        B, S and C.
    matched_cosine : float or None
        The mean cosine of matched slots; None for small-to-large.
    share : float or None
        Of reciprocal small slots, for small-to-large.
    collapsed, orthogonal : float or None
        References for the contrastive losses, see `slots.collapsed` and `slots.orthogonal`.
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
        If the files or what is in them do not fit the loss; see `feature_files` and `slots`.
    """
    with batches.opened(paths, request.features, request.memory) as named:
        if request.loss == "small-to-large":
            return _small_to_large(named, request, str(paths[0]))
        return _matched(named, request, str(paths[0]))


def _matched(named: list[Features], request: Request, file: str) -> Scored:
    """The losses between matched slots of two views."""
    import torch

    count, slot_count, channels = _pair_shape(named, request)
    each = batches.bytes_an_image(named, 4 * slot_count**2)
    if request.drawn is not None and not 0 <= request.drawn < count:
        raise InputError(
            f"image {request.drawn} is not there; {printable(file)} has images 0 to {count - 1}"
        )
    together = request.loss == "contrastive"  # each slot meets all others
    left = batches.left(named, request.memory)
    step = batches.images_at_once(count, each, left, file, together=together)
    losses, matches, matched = [], [], []
    for first in range(0, count, step):
        last = min(first + step, count)
        tensors = [one.pairs(first, last, count, request.layout, request.device) for one in named]
        if request.loss == "similarity":
            part, found = slots.similarity_losses(tensors[0], tensors[1])
        else:
            part, found = slots.contrastive_losses(
                tensors[0], request.temperature, per_img=not together
            )
        losses.append(part.detach().double().cpu().view(2, last - first, slot_count))
        matches.append(found.cpu())
        matched.append(slots.matched_cosines(tensors[0], found).double().cpu())
    every = torch.cat(losses, dim=1).flatten()
    references: dict[str, Any] = {}
    if request.loss != "similarity":
        negatives = 2 * slot_count * (count if together else 1) - 2
        references = {
            "collapsed": slots.collapsed(negatives),
            "orthogonal": slots.orthogonal(negatives, request.temperature),
        }
    return Scored(
        file=file,
        loss=_reduced(every, request.reduction),
        losses=every,
        matches=torch.cat(matches),
        images=count,
        slots=slot_count,
        channels=channels,
        matched_cosine=float(torch.cat(matched).mean()),
        **references,
    )


def _small_to_large(named: list[Features], request: Request, file: str) -> Scored:
    import torch

    shapes = [one.stored.shape for one in named]
    for one, shape in zip(named, shapes, strict=True):
        if len(shape) != 4 or 0 in shape:
            raise InputError(f"{one.where} is {list(shape)}; give [B, crops, slots, C]")
    if shapes[0][0] != shapes[1][0]:
        raise InputError(
            f"{printable(file)}: f_large is {list(shapes[0])} and p_small {list(shapes[1])};"
            " give both the same B (first)"
        )
    count, _, slot_count, channels = shapes[1]
    pairs = math.prod(shapes[0][1:3]) * math.prod(shapes[1][1:3])
    each, left = batches.bytes_an_image(named, pairs), batches.left(named, request.memory)
    step = batches.images_at_once(count, each, left, file, together=False)
    losses, shares = [], []
    for first in range(0, count, step):
        last = min(first + step, count)
        large, small = (one.rows(first, last, request.device) for one in named)
        part, share = slots.matching_similarity_loss_small_to_large(large, small, "none")
        losses.append(part.detach().double().cpu())
        shares.append(float(share) * (last - first))
    every = torch.cat(losses)
    some = every[~every.isnan()]
    return Scored(
        file=file,
        loss=_reduced(some, request.reduction) if len(some) else 0.0,
        losses=every,
        matches=None,
        images=count,
        slots=slot_count,
        channels=channels,
        matched_cosine=None,
        share=math.fsum(shares) / count,
    )


def _pair_shape(named: list[Features], request: Request) -> tuple[int, int, int]:
    """B, S and C, which all the features must agree on."""
    for one in named:
        shape = one.stored.shape
        if request.layout == "B2SC":
            if len(shape) != 4 or shape[1] != 2 or 0 in shape:
                raise InputError(f"{one.where} is {list(shape)}; B2SC is [B, 2, S, C]")
        elif len(shape) != 3 or shape[0] % 2 or 0 in shape:
            hint = "; for [B, 2, S, C] give --layout B2SC" if len(shape) == 4 else ""
            raise InputError(
                f"{one.where} is {list(shape)}; give [2B, S, C] with two views of B images" + hint
            )
    shapes = {one.stored.shape for one in named}
    if len(shapes) > 1:
        found = " and ".join(f"{one.name} {list(one.stored.shape)}" for one in named)
        raise InputError(f"{printable(named[0].path)}: {found} differ; give both one shape")
    shape = named[0].stored.shape
    return (shape[0] if len(shape) == 4 else shape[0] // 2), shape[-2], shape[-1]


def _reduced(losses: Tensor, reduction: str) -> float | None:
    if reduction == "none":
        return None
    return float(losses.sum() if reduction == "sum" else losses.mean())
