"""What a file of features scores: a slot loss over features read in blocks of images."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchsim import budget, cosines, files, render, slots
from patchsim.errors import InputError, shown
from patchsim.features import Stored, open_features, pick, read_rows

if TYPE_CHECKING:
    from torch import Tensor

LOSSES = ("similarity", "contrastive", "contrastive-per-img", "small-to-large")
LAYOUTS = ("2BSC", "B2SC")

# Copies of the features that a loss and its matching hold at a time, in the type of the sums.
_COPIES = 20

# Slots of a whole batch in one picture of matches.
_LARGEST_MATRIX = 2400


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
        if self.loss not in LOSSES:
            raise InputError(f"loss {self.loss!r} is unknown; there are {', '.join(LOSSES)}")
        if self.layout not in LAYOUTS:
            raise InputError(
                f"layout {self.layout!r} is unknown; there are 2BSC (all first views, then all"
                " second) and B2SC (both views of an image together)"
            )
        slots.check_reduction(self.reduction)
        slots.check_temperature(self.temperature)


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
        If the files or what is in them do not fit the loss; see `features` and `slots`.
    """
    with _opened(paths, request) as named:
        if request.loss == "small-to-large":
            return _small_to_large(named, request, str(paths[0]))
        return _matched(named, request, str(paths[0]))


@contextmanager
def _opened(paths: Sequence[Path], request: Request) -> Iterator[list[_Named]]:
    """The features that the loss takes, by their names in messages."""
    if request.loss == "small-to-large":
        wanted = [("f_large", request.f_keys), ("p_small", request.p_keys)]
    elif request.loss == "similarity":
        wanted = [("f", request.f_keys), ("p", request.p_keys)]
    else:
        wanted = [("slots", request.keys)]
    with ExitStack() as stack:
        opened = [stack.enter_context(open_features(path, request.memory)) for path in paths]
        named = []
        for number, (name, keys) in enumerate(wanted):
            place = number if len(paths) > 1 else 0
            known = keys
            if set(opened[place]) == {""}:  # a .npy, whose one array has no name
                if len(wanted) > len(paths):
                    raise InputError(
                        f"{shown(paths[place])} holds one array, the loss takes two;"
                        " give --f and --p"
                    )
                known = ("",)
            stored = pick(opened[place], known, paths[place])
            named.append(_Named(name, stored, paths[place]))
        yield named


@dataclass(frozen=True)
class _Named:
    """Features under the name that messages use."""

    name: str
    stored: Stored
    path: Path

    @property
    def where(self) -> str:
        return f"{shown(self.path)}: {self.name}"

    def rows(self, start: int, stop: int, device: str) -> Tensor:
        """Rows of the first dimension; finite, or an InputError names the first that is not."""
        block = read_rows(self.stored, start, stop, self.path).to(device)
        place = slots.first_not_finite(block)
        if place is not None:
            value = block[place].item()
            bad = [place[0] + start, *place[1:]]
            raise InputError(f"{self.where} is {value} at {bad}; features are finite")
        return block

    def pairs(self, first: int, last: int, count: int, request: Request) -> Tensor:
        """[2b, S, C] of images first to last (not included) of `count`."""
        import torch

        if request.layout == "B2SC":
            return slots.stack_views(self.rows(first, last, request.device))
        views = [
            self.rows(view * count + first, view * count + last, request.device) for view in (0, 1)
        ]
        return torch.cat(views)


def _matched(named: list[_Named], request: Request, file: str) -> Scored:
    """The losses between matched slots of two views."""
    import torch

    count, slot_count, channels = _pair_shape(named, request)
    each = _bytes_an_image(named, 4 * slot_count**2)
    if request.drawn is not None and not 0 <= request.drawn < count:
        raise InputError(
            f"image {request.drawn} is not there; {shown(file)} has images 0 to {count - 1}"
        )
    together = request.loss == "contrastive"  # each slot meets all others
    step = _images_at_once(count, each, _left(named, request), file, together=together)
    losses, matches, matched = [], [], []
    for first in range(0, count, step):
        last = min(first + step, count)
        tensors = [one.pairs(first, last, count, request) for one in named]
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


def _small_to_large(named: list[_Named], request: Request, file: str) -> Scored:
    import torch

    shapes = [one.stored.shape for one in named]
    for one, shape in zip(named, shapes, strict=True):
        if len(shape) != 4 or 0 in shape:
            raise InputError(f"{one.where} is {list(shape)}; give [B, crops, slots, C]")
    if shapes[0][0] != shapes[1][0]:
        raise InputError(
            f"{shown(file)}: f_large is {list(shapes[0])} and p_small {list(shapes[1])};"
            " give both the same B (first)"
        )
    count, _, slot_count, channels = shapes[1]
    each = _bytes_an_image(named, math.prod(shapes[0][1:3]) * math.prod(shapes[1][1:3]))
    step = _images_at_once(count, each, _left(named, request), file, together=False)
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


def _pair_shape(named: list[_Named], request: Request) -> tuple[int, int, int]:
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
        raise InputError(f"{shown(named[0].path)}: {found} differ; give both one shape")
    shape = named[0].stored.shape
    return (shape[0] if len(shape) == 4 else shape[0] // 2), shape[-2], shape[-1]


def _bytes_an_image(named: list[_Named], pairs: int) -> int:
    """What an image's features, the cosines of `pairs` of its slots and copies of both take."""
    values = 0
    for one in named:
        rows = 2 if len(one.stored.shape) == 3 else 1
        values += rows * math.prod(one.stored.shape[1:])
    return max(4, *(one.stored.itemsize for one in named)) * _COPIES * (values + pairs)


def _left(named: list[_Named], request: Request) -> int:
    """The memory that is left beside what files keep once they are read."""
    held = sum(one.stored.held for one in named)
    if held > request.memory:
        raise InputError(
            f"{shown(named[0].path)} takes {budget.text(held)} read whole, but memory is"
            f" {budget.text(request.memory)}; save it as .safetensors, or allow more with --memory"
        )
    return request.memory - held


def _images_at_once(count: int, each: int, memory: int, file: str, *, together: bool) -> int:
    least = count if together else 1
    if least * each > memory:
        raise InputError(
            f"{shown(file)} takes {budget.text(least * each)} for {least} of its images at a time,"
            f" but memory is {budget.text(memory)}; allow more with --memory"
        )
    return min(count, max(1, memory // each))


def _reduced(losses: Tensor, reduction: str) -> float | None:
    if reduction == "none":
        return None
    return float(losses.sum() if reduction == "sum" else losses.mean())


def draw_matches(paths: Sequence[Path], request: Request, scored: Scored, target: str) -> str:
    """Draw the cosines by which slots were matched, and the matches; says what was drawn.

    Of the image ``request.drawn`` the first view's slots (rows) against the second's (columns);
    otherwise all slots against all, first all first views, then all second.

    Parameters
    ----------
    paths, request, scored
        As given to `score`, and what it returned.
    target : str
        The PNG to write.
    """
    import torch

    image, count, slot_count = request.drawn, scored.images, scored.slots
    if image is None and 2 * count * slot_count > _LARGEST_MATRIX:
        raise InputError(
            f"{shown(scored.file)} has {2 * count * slot_count} slots, too many for one picture;"
            " choose an image with --image"
        )
    first, last = (0, count) if image is None else (image, image + 1)
    with _opened(paths, request) as named:
        each = _bytes_an_image(named, 4 * slot_count**2)
        left = _left(named, request)
        _images_at_once(last - first, each, left, scored.file, together=True)
        units = cosines.unit_vectors(named[0].pairs(first, last, count, request)).cpu()
    assert scored.matches is not None
    matches = scored.matches[first:last]
    one, two = units.chunk(2)
    matched = torch.zeros(last - first, slot_count, slot_count, dtype=torch.bool)
    matched.scatter_(2, matches[..., None], True)
    if image is None:
        # [view, image, slot, view, image, slot]
        marks = torch.zeros((2, count, slot_count) * 2, dtype=torch.bool)
        every = torch.arange(count)
        marks[0, every, :, 1, every, :] = matched
        marks[1, every, :, 0, every, :] = matched.mT
        rows = units.flatten(0, 1)
        marks = marks.view(len(rows), len(rows))
        table = rows @ rows.T
        drawn = f"{len(rows)}x{len(rows)} slots of both views of {count} images"
    else:
        table, marks = one[0] @ two[0].T, matched[0]
        drawn = f"{slot_count}x{slot_count} slots of image {image}"
    with files.writing(target) as file:
        groups = (slot_count, count * slot_count)
        render.cosine_matrix(table.numpy(), marks.numpy(), groups, file)
    return drawn
