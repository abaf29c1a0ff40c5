"""The affinity matrix of slots as a picture, for one image or for all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from patchsim.errors import InputError, printable
from patchsim.files import atomic
from patchsim.output import cosine_matrix
from patchsim.output.cosine_matrix import Axes
from patchsim.slots import batches, cosines
from patchsim.slots.evaluate import Request, Scored

if TYPE_CHECKING:
    from torch import Tensor

_LARGEST_MATRIX = 2400  # slots in one picture


def draw(paths: Sequence[Path], request: Request, scored: Scored, target: str) -> str:
    """Draw the cosines by which slots were matched, with a frame around each matched pair.

    With an image in ``request.drawn`` the rows are the slots of its first view and the columns
    those of its second view. Otherwise rows and columns are all slots: those of all first views,
    then those of all second views.

    Parameters
    ----------
    paths, request : sequence of Path, Request
        The arguments of `evaluate.score`.
    scored : Scored
        The result of `evaluate.score`.
    target : str
        The PNG to write.

    Returns
    -------
    str
        The text of a notice to the user: the size of the picture and its slots.

    Raises
    ------
    InputError
        If all slots are too many for one picture, or need too much memory.
    OutputError
        If the file cannot be written.
    """
    image, image_count, slot_count = request.drawn, scored.images, scored.slots
    if image is None and 2 * image_count * slot_count > _LARGEST_MATRIX:
        raise InputError(
            f"{printable(scored.file)} has {2 * image_count * slot_count} slots, too many for one"
            " picture; choose an image with --image"
        )
    first, last = (0, image_count) if image is None else (image, image + 1)
    units = _unit_vectors(paths, request, scored, first, last)
    is_matched = _match_matrices(scored, first, last)
    if image is None:
        rows = units.flatten(0, 1)
        cosines_of_slots, is_matched = rows @ rows.T, _of_all_slots(is_matched)
        description = f"{len(rows)}x{len(rows)} slots of both views of {image_count} images"
    else:
        first_view, second_view = units
        cosines_of_slots, is_matched = first_view @ second_view.T, is_matched[0]
        description = f"{slot_count}x{slot_count} slots of image {image}"
    if image is None:
        title = "images: their first views, then their second views"
        axes = Axes("image", title, 0, slot_count, image_count)
    else:
        title = f"image {image}: slots of the first view down, of the second across"
        axes = Axes("slot", title, 0, 1, slot_count)
    with atomic.writing(target) as file:
        groups = (slot_count, image_count * slot_count)
        cosine_matrix.draw(cosines_of_slots.numpy(), is_matched.numpy(), groups, axes, file)
    return description


def _unit_vectors(
    paths: Sequence[Path], request: Request, scored: Scored, first: int, last: int
) -> Tensor:
    """Read the features [2b, S, C] of the images [first, last), scaled to length 1."""
    with batches.opened(paths, request.features, request.memory) as features:
        image_bytes = batches.bytes_per_image(features, 4 * scored.slots**2)
        memory = batches.spare_memory(features, request.memory)
        batches.batch_size(last - first, image_bytes, memory, scored.file, needs_all=True)
        pairs = features[0].pairs(first, last, scored.images, request.layout, request.device)
        return cosines.unit_vectors(pairs).cpu()


def _match_matrices(scored: Scored, first: int, last: int) -> Tensor:
    """Mark the matches of the images [first, last) in a bool tensor [b, S, S]."""
    import torch

    assert scored.matches is not None
    is_matched = torch.zeros(last - first, scored.slots, scored.slots, dtype=torch.bool)
    return is_matched.scatter_(2, scored.matches[first:last, :, None], True)


def _of_all_slots(is_matched: Tensor) -> Tensor:
    """Spread match matrices [B, S, S] over the matrix of all slots, bool [2BS, 2BS]."""
    import torch

    image_count, slot_count, _ = is_matched.shape
    # [view, image, slot, view, image, slot]
    marks = torch.zeros((2, image_count, slot_count) * 2, dtype=torch.bool)
    images = torch.arange(image_count)
    marks[0, images, :, 1, images, :] = is_matched
    marks[1, images, :, 0, images, :] = is_matched.mT
    return marks.view(2 * image_count * slot_count, -1)
