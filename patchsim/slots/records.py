"""Slot losses in the forms that exporters of text take."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from patchsim.output.contract import Table
from patchsim.slots.evaluate import Request, Scored

# The JSON keys B, S and C are the numbers of images, slots and channels.
_FILE_COLUMNS = ("B", "S", "C", "loss", "matched_cosine", "collapsed", "orthogonal", "share")
_SLOT_COLUMNS = ("view", "image", "slot", "matched_slot", "loss")
_CROP_COLUMNS = ("image", "small", "large", "loss")
# Columns that a narrow terminal leaves out, the first first.
_DROPPED = ("share", "orthogonal", "collapsed", "S", "B", "C")


@dataclass(frozen=True)
class LossRecords:
    """Losses as `contract.Records`.

    There is one row for each file; with the reduction ``none`` one for each slot, or for each pair
    of crops of ``small-to-large``.

    Attributes
    ----------
    scored : sequence of Scored
    request : Request
        The request that all of them answer.
    is_list : bool
        Whether the JSON document is a list of files, or the only file.
    """

    scored: Sequence[Scored]
    request: Request
    is_list: bool

    @property
    def columns(self) -> tuple[str, ...]:
        if self.request.reduction != "none":
            return ("file", *_FILE_COLUMNS)
        is_of_crops = self.request.loss == "small-to-large"
        return ("file", *(_CROP_COLUMNS if is_of_crops else _SLOT_COLUMNS))

    def rows(self) -> Iterator[tuple[Any, ...]]:
        for scored in self.scored:
            if self.request.reduction != "none":
                yield _file_row(scored)
            elif scored.matches is None:
                yield from _crop_rows(scored)
            else:
                yield from _slot_rows(scored)

    def objects(self) -> Iterator[dict[str, Any]]:
        for row in self.rows():
            yield dict(zip(self.columns, row, strict=True))

    def document(self) -> list[dict[str, Any]] | dict[str, Any]:
        documents = [_document(scored, self.request) for scored in self.scored]
        return documents if self.is_list else documents[0]

    def table(self) -> Table:
        """Return rows whose last column is the name of the file, the only text.

        Columns of which no file has a value, as most losses have no share, are left out.
        """
        rows = [(*row[1:], row[0]) for row in self.rows()]
        names = (*self.columns[1:], "file")
        kept = [i for i in range(len(names)) if any(row[i] is not None for row in rows)]
        return Table(
            tuple(names[i] for i in kept),
            (tuple(_cell(row[i]) for i in kept) for row in rows),
            texts=("file",),
            dropped=_DROPPED,
        )


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def _file_row(scored: Scored) -> tuple[Any, ...]:
    return (
        scored.file,
        scored.images,
        scored.slots,
        scored.channels,
        scored.loss,
        scored.matched_cosine,
        scored.collapsed,
        scored.orthogonal,
        scored.share,
    )


def _crop_rows(scored: Scored) -> Iterator[tuple[Any, ...]]:
    for image, crops in enumerate(scored.losses.tolist()):
        for small, losses in enumerate(crops):
            for large, loss in enumerate(losses):
                yield scored.file, image, small, large, loss


def _slot_rows(scored: Scored) -> Iterator[tuple[Any, ...]]:
    assert scored.matches is not None
    partners = [scored.matches.tolist(), scored.matches.argsort(-1).tolist()]
    losses = scored.losses.view(2, scored.images, scored.slots).tolist()
    for view in (0, 1):
        for image in range(scored.images):
            for slot in range(scored.slots):
                partner, loss = partners[view][image][slot], losses[view][image][slot]
                yield scored.file, view, image, slot, partner, loss


def _document(scored: Scored, request: Request) -> dict[str, Any]:
    """Return the JSON object of a file."""
    is_contrastive = request.loss.startswith("contrastive")
    references = {"collapsed": scored.collapsed, "orthogonal": scored.orthogonal}
    document = {
        "file": scored.file,
        "loss": scored.losses.tolist() if scored.loss is None else scored.loss,
        "reduction": request.reduction,
        "B": scored.images,
        "S": scored.slots,
        "C": scored.channels,
        "kind": request.loss,
        "temperature": request.temperature if is_contrastive else None,
        "matched_cosine": scored.matched_cosine,
        "bounds": None if is_contrastive else [0.0, 1.0],
        "references": references if is_contrastive else None,
        "share": scored.share,
        "device": request.device,
    }
    if scored.loss is None and scored.matches is not None:
        document["matches"] = scored.matches.tolist()
    return document
