"""The affinity matrix of matched slots, as a picture: of one image or of all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from patchsim.errors import InputError, printable
from patchsim.files import atomic
from patchsim.output import cosine_matrix
from patchsim.slots import batches, cosines
from patchsim.slots.evaluate import Request, Scored

# Slots of a whole batch in one picture of matches.
_LARGEST_MATRIX = 2400


def draw(paths: Sequence[Path], request: Request, scored: Scored, target: str) -> str:
    """Draw the cosines by which slots were matched, and the matches; says what was drawn.

    Of the image ``request.drawn`` the first view's slots (rows) against the second's (columns);
    otherwise all slots against all, first all first views, then all second.

    Parameters
    ----------
    paths, request, scored
        As given to `evaluate.score`, and what it returned.
    target : str
        The PNG to write.
    """
    import torch

    image, count, slot_count = request.drawn, scored.images, scored.slots
    if image is None and 2 * count * slot_count > _LARGEST_MATRIX:
        raise InputError(
            f"{printable(scored.file)} has {2 * count * slot_count} slots, too many for one"
            " picture; choose an image with --image"
        )
    first, last = (0, count) if image is None else (image, image + 1)
    with batches.opened(paths, request.features, request.memory) as named:
        each = batches.bytes_an_image(named, 4 * slot_count**2)
        left = batches.left(named, request.memory)
        batches.images_at_once(last - first, each, left, scored.file, together=True)
        pairs = named[0].pairs(first, last, count, request.layout, request.device)
        units = cosines.unit_vectors(pairs).cpu()
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
    with atomic.writing(target) as file:
        groups = (slot_count, count * slot_count)
        cosine_matrix.draw(table.numpy(), marks.numpy(), groups, file)
    return drawn
