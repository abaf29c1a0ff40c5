"""`patchsim loss`: read features, evaluate a slot loss, print it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from patchsim import choices
from patchsim.cli import console
from patchsim.cli.flags import one_of
from patchsim.errors import FOUND, InputError, PatchsimError, printable
from patchsim.output.formats import LINES

if TYPE_CHECKING:
    from patchsim.slots.evaluate import Request, Scored

_FILE_COLUMNS = ("B", "S", "C", "loss", "matched_cosine", "collapsed", "orthogonal", "share")
_SLOT_COLUMNS = ("view", "image", "slot", "matched_slot", "loss")
_CROP_COLUMNS = ("image", "small", "large", "loss")


def command(
    features: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FEATURES]...",
            help="Files of features: .safetensors (best: it cannot hold code and is read in"
            " pieces), .pt, .pth, .npz, .npy.",
        ),
    ] = None,
    loss: Annotated[str, one_of(choices.LOSSES, "The loss to evaluate.")] = "similarity",
    f: Annotated[
        str | None,
        typer.Option("--f", metavar="PATH", help="A .npy with the features f; give --p too."),
    ] = None,
    p: Annotated[
        str | None,
        typer.Option("--p", metavar="PATH", help="A .npy with the features p; give --f too."),
    ] = None,
    f_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Key of the features before the projection: by default f, or f_large for"
            " small-to-large.",
        ),
    ] = None,
    p_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Key of the features after the projection: by default p, or p_small for"
            " small-to-large.",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Key of the slots for the contrastive losses: by default slots, otherwise p.",
        ),
    ] = None,
    layout: Annotated[
        str | None,
        one_of(
            choices.LAYOUTS,
            "2BSC: all first views, then all second views (the default). B2SC: both views of"
            " an image together.",
        ),
    ] = None,
    reduction: Annotated[
        str,
        one_of(choices.REDUCTIONS, "How losses are combined; none prints one line for each slot."),
    ] = "mean",
    temperature: Annotated[
        float | None,
        typer.Option(metavar="T", help="The temperature of the contrastive losses, 1 by default."),
    ] = None,
    format: Annotated[
        str,
        one_of(
            choices.FORMATS,
            "The format of the printed losses; auto is a table on a terminal, tsv in a pipe.",
        ),
    ] = "auto",
    matches: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Write a .png of the cosines of all slots, matched pairs framed; --image limits it"
            " to the two views of one image.",
        ),
    ] = None,
    image: Annotated[
        int | None, typer.Option(metavar="I", help="The image that --matches draws, from 0.")
    ] = None,
    device: Annotated[
        str,
        one_of(
            choices.DEVICES,
            "The device that computes; auto is cpu.",
            metavar="auto|cpu|cuda[:N]|mps|xpu",
        ),
    ] = "auto",
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="The memory to use, such as 512MB, by default a quarter of what is available.",
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print only results and errors.")
    ] = False,
    debug: Annotated[  # noqa: ARG001 - read by console.run, which meets usage errors too
        bool, typer.Option("--debug", help="Print a traceback when something fails.")
    ] = False,
) -> int:
    """Evaluate a slot-matching loss on saved features, [2B, S, C] by default.

    Slots of an image's two views are matched one to one so that the sum of their cosines is
    largest. One line is printed for each file: a run's checkpoints give a curve. For the
    contrastive losses two references stand beside the loss: what it is if all slots are one
    (collapsed), and if matches are identical and all others orthogonal.

    \b
    Exit codes:
      0  all files were scored
      2  bad input; with several files the others are still scored
      3  a fault of the program or the machine

    \b
    Examples:
      patchsim loss run/step-*.safetensors | cut -f1,5
      patchsim loss feats.pt --loss contrastive --temperature 0.1
      patchsim loss feats.npz --matches matches.png --image 0
    """
    choices.check("format", format, choices.FORMATS)
    paths = _paths(features, f, p)
    # After the flags: torch takes a while to import.
    from patchsim.files import atomic
    from patchsim.machine import devices
    from patchsim.machine.memory import default_limit, parse_size
    from patchsim.slots import affinity, evaluate

    name = devices.check_name(device)
    large, contrastive = loss == "small-to-large", loss.startswith("contrastive")
    for option, given, meant in (
        ("--f-key", f_key, not contrastive),
        ("--p-key", p_key, not contrastive),
        ("--key", key, contrastive),
        ("--temperature", temperature, contrastive),
        ("--layout", layout, not large),
        ("--matches", matches, not large),
    ):
        if given is not None and not meant and loss in choices.LOSSES:
            raise InputError(f"{option} says nothing to --loss {loss}; leave it out")
    request = evaluate.Request(
        loss=loss,
        f_keys=("f_large" if large else "f",) if f_key is None else (f_key,),
        p_keys=("p_small" if large else "p",) if p_key is None else (p_key,),
        keys=("slots", "p") if key is None else (key,),
        layout="2BSC" if layout is None else layout.upper(),
        reduction=reduction,
        temperature=1.0 if temperature is None else temperature,
        drawn=image,
        device="cpu" if name == "auto" else devices.require(name),
        memory=default_limit() if memory is None else parse_size(memory),
    )
    if matches is not None:
        if len(paths) > 1:
            raise InputError(f"--matches draws one file, not {len(paths)}; give one")
        atomic.check_target(matches, ".png", paths[0])
    elif image is not None:
        raise InputError("--image says what --matches draws; give --matches too")

    printer = _Printer(console.resolved_format(format), request, several=len(paths) > 1)
    code = FOUND
    try:
        for group in paths:
            try:
                scored = evaluate.score(group, request)
            except PatchsimError as error:
                if len(paths) == 1:
                    raise
                console.say(str(error))
                code = max(code, error.exit_code)
                continue
            printer.add(scored)
            if matches is not None:
                drawn = affinity.draw(group, request, scored, matches)
                if not quiet:
                    console.say(f"matches {printable(matches)}: {drawn}")
    finally:
        # What was scored before a fault is not lost with it.
        printer.finish()
    return code


def _paths(features: list[str] | None, f: str | None, p: str | None) -> list[list[Path]]:
    """What to score, each from one file or from a pair."""
    if (f is None) != (p is None):
        raise InputError("--f and --p go together; give both, or files of features")
    if f is not None and p is not None:
        if features:
            raise InputError("--f and --p take the place of FEATURES; give one or the other")
        return [[Path(f), Path(p)]]
    if not features:
        raise InputError("there are no features; give files, or --f and --p")
    return [[Path(one)] for one in features]


class _Printer:
    """Prints what was scored, line by line where the format allows it."""

    def __init__(self, form: str, request: Request, *, several: bool) -> None:
        self._form = form
        self._several = several
        self._request = request
        self._rows: list[tuple[Any, ...]] = []
        self._objects: list[dict[str, Any]] = []
        self._slots = request.reduction == "none"
        if not self._slots:
            self._columns: tuple[str, ...] = ("file", *_FILE_COLUMNS)
        elif request.loss == "small-to-large":
            self._columns = ("file", *_CROP_COLUMNS)
        else:
            self._columns = ("file", *_SLOT_COLUMNS)
        self._started = False

    def add(self, scored: Scored) -> None:
        if self._form == "json":
            self._objects.append(_document(scored, self._request))
            return
        rows = _rows(scored) if self._slots else [_file_row(scored)]
        if self._form == "table":
            self._rows += rows
            return
        lines = LINES[self._form](self._columns, rows)
        if self._started and self._form != "jsonl":
            next(lines)  # the header, once for all files
        self._started = True
        console.print_lines(lines)

    def finish(self) -> None:
        if self._objects:
            found = self._objects if self._several else self._objects[0]
            console.print_lines([json.dumps(found, indent=2)])
        elif self._rows:
            # The file's name goes last, as the only text.
            shown = [(*map(_shown, row[1:]), row[0]) for row in self._rows]
            console.print_table((*self._columns[1:], "file"), shown, text="file")


def _shown(value: Any) -> str:
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


def _rows(scored: Scored) -> list[tuple[Any, ...]]:
    """A row a slot, or for small-to-large a pair of crops."""
    if scored.matches is None:
        return [
            (scored.file, image, small, large, loss)
            for image, crops in enumerate(scored.losses.tolist())
            for small, losses in enumerate(crops)
            for large, loss in enumerate(losses)
        ]
    partners = [scored.matches.tolist(), scored.matches.argsort(-1).tolist()]
    losses = scored.losses.view(2, scored.images, scored.slots).tolist()
    return [
        (scored.file, view, image, slot, partners[view][image][slot], losses[view][image][slot])
        for view in (0, 1)
        for image in range(scored.images)
        for slot in range(scored.slots)
    ]


def _document(scored: Scored, request: Request) -> dict[str, Any]:
    """The JSON object of a file."""
    contrastive = request.loss.startswith("contrastive")
    document = {
        "file": scored.file,
        "loss": scored.losses.tolist() if scored.loss is None else scored.loss,
        "reduction": request.reduction,
        "B": scored.images,
        "S": scored.slots,
        "C": scored.channels,
        "kind": request.loss,
        "temperature": request.temperature if contrastive else None,
        "matched_cosine": scored.matched_cosine,
        "bounds": None if contrastive else [0.0, 1.0],
        "references": {"collapsed": scored.collapsed, "orthogonal": scored.orthogonal}
        if contrastive
        else None,
        "share": scored.share,
        "device": request.device,
    }
    if scored.loss is None and scored.matches is not None:
        document["matches"] = scored.matches.tolist()
    return document
