"""`patchsim loss`: features -> slot loss -> print."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from patchsim import choices
from patchsim.cli import console
from patchsim.cli.flags import one_of
from patchsim.errors import FOUND, InputError, PatchsimError, shown
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
    loss: Annotated[str, one_of(choices.LOSSES, "Which loss.")] = "similarity",
    f: Annotated[
        str | None, typer.Option("--f", metavar="PATH", help="A .npy of f, with --p.")
    ] = None,
    p: Annotated[
        str | None, typer.Option("--p", metavar="PATH", help="A .npy of p, with --f.")
    ] = None,
    f_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Features before the projection: by default f, or f_large for small-to-large.",
        ),
    ] = None,
    p_key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            help="Features after the projection: by default p, or p_small for small-to-large.",
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            metavar="KEY", help="Slots of the contrastive losses: by default slots, else p."
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
        one_of(choices.REDUCTIONS, "none prints a line a slot."),
    ] = "mean",
    temperature: Annotated[
        float | None, typer.Option(metavar="T", help="Of the contrastive losses, 1 by default.")
    ] = None,
    format: Annotated[
        str,
        one_of(choices.FORMATS, "auto is a table on a terminal, tsv in a pipe."),
    ] = "auto",
    matches: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Draw the cosines of all slots as a .png, matched pairs framed; with --image of"
            " one image's two views.",
        ),
    ] = None,
    image: Annotated[
        int | None, typer.Option(metavar="I", help="The image that --matches draws, from 0.")
    ] = None,
    device: Annotated[
        str,
        one_of(
            choices.DEVICES,
            "Where to compute; auto is cpu.",
            metavar="auto|cpu|cuda[:N]|mps|xpu",
        ),
    ] = "auto",
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Memory to take, like 512MB: by default a quarter of what is available.",
        ),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Print results and errors alone.")
    ] = False,
    debug: Annotated[  # noqa: ARG001 - read by console.run, which meets usage errors too
        bool, typer.Option("--debug", help="Show a traceback when something fails.")
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
    from patchsim.machine import budget, devices
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
        memory=budget.default() if memory is None else budget.parse(memory),
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
                    console.say(f"matches {shown(matches)}: {drawn}")
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
    """Prints losses: each as it comes if the format allows it, otherwise all at the end."""

    def __init__(self, form: str, request: Request, *, is_list: bool) -> None:
        self._form = form
        self._request = request
        self._is_list = is_list
        self._waiting: list[Scored] = []
        self._is_first = True

    def add(self, scored: Scored) -> None:
        self._waiting.append(scored)
        if text.load(self._form).CAN_APPEND:
            self.finish()

    def finish(self) -> None:
        if self._waiting:
            records = LossRecords(self._waiting, self._request, self._is_list)
            self._waiting = []
            console.print_records(self._form, records, is_first=self._is_first)
            self._is_first = False
