"""`patchsim loss`: check the flags, score each file of features, print, return the exit code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from patchsim import choices
from patchsim.cli import console
from patchsim.cli import loss_flags as flags
from patchsim.errors import FOUND, InputError, PatchsimError, printable
from patchsim.output import text

if TYPE_CHECKING:
    from patchsim.slots.evaluate import Request, Scored


def command(
    features: flags.Features = None,
    loss: flags.Loss = "similarity",
    f: flags.F = None,
    p: flags.P = None,
    f_key: flags.FKey = None,
    p_key: flags.PKey = None,
    key: flags.Key = None,
    layout: flags.Layout = None,
    reduction: flags.Reduction = "mean",
    temperature: flags.Temperature = None,
    format: flags.Format = "auto",
    matches: flags.Matches = None,
    image: flags.Image = None,
    device: flags.Device = "auto",
    memory: flags.Memory = None,
    quiet: flags.Quiet = False,
    debug: flags.Debug = False,  # noqa: ARG001 - console.run reads it, for usage errors too
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
    groups = _groups(features, f, p)
    given = _Given(loss, f_key, p_key, key, layout, reduction, temperature, image, device, memory)
    request = _request(given, matches)
    _check_drawing(matches, image, groups)
    printer = _Printer(console.resolved_format(format), request, is_list=len(groups) > 1)
    try:
        return _score_all(groups, request, printer, matches, quiet=quiet)
    finally:
        printer.finish()  # a fault must not lose what was scored before it


class _Given(NamedTuple):
    """The flags that say what to evaluate, as they were typed; None was not."""

    loss: str
    f_key: str | None
    p_key: str | None
    key: str | None
    layout: str | None
    reduction: str
    temperature: float | None
    image: int | None
    device: str
    memory: str | None


def _groups(features: list[str] | None, f: str | None, p: str | None) -> list[list[Path]]:
    """List the files that are scored together: one file each, or a pair of f and p."""
    if (f is None) != (p is None):
        raise InputError("--f and --p go together; give both, or files of features")
    if f is not None and p is not None:
        if features:
            raise InputError("--f and --p take the place of FEATURES; give one or the other")
        return [[Path(f), Path(p)]]
    if not features:
        raise InputError("there are no features; give files, or --f and --p")
    return [[Path(path)] for path in features]


def _request(given: _Given, matches: str | None) -> Request:
    """Check the flags and fill in what was not given."""
    # These imports load torch, which takes a while. Errors in the flags before come at once.
    from patchsim.machine import devices
    from patchsim.machine.memory import default_limit, parse_size
    from patchsim.slots.evaluate import Request

    device = devices.check_name(given.device)
    _check_relevance(given, matches)
    is_of_crops = given.loss == "small-to-large"
    f_key, p_key = ("f_large", "p_small") if is_of_crops else ("f", "p")
    return Request(
        loss=given.loss,
        f_keys=(f_key if given.f_key is None else given.f_key,),
        p_keys=(p_key if given.p_key is None else given.p_key,),
        keys=("slots", "p") if given.key is None else (given.key,),
        layout="2BSC" if given.layout is None else given.layout.upper(),
        reduction=given.reduction,
        temperature=1.0 if given.temperature is None else given.temperature,
        drawn=given.image,
        device="cpu" if device == "auto" else devices.require(device),
        memory=default_limit() if given.memory is None else parse_size(given.memory),
    )


def _check_relevance(given: _Given, matches: str | None) -> None:
    """Refuse a flag that the loss does not use."""
    if given.loss not in choices.LOSSES:
        return  # the request refuses the loss
    is_of_crops = given.loss == "small-to-large"
    is_contrastive = given.loss.startswith("contrastive")
    for option, value, is_used in (
        ("--f-key", given.f_key, not is_contrastive),
        ("--p-key", given.p_key, not is_contrastive),
        ("--key", given.key, is_contrastive),
        ("--temperature", given.temperature, is_contrastive),
        ("--layout", given.layout, not is_of_crops),
        ("--matches", matches, not is_of_crops),
    ):
        if value is not None and not is_used:
            raise InputError(f"{option} says nothing to --loss {given.loss}; leave it out")


def _check_drawing(matches: str | None, image: int | None, groups: list[list[Path]]) -> None:
    from patchsim.files import atomic

    if matches is not None:
        if len(groups) > 1:
            raise InputError(f"--matches draws one file, not {len(groups)}; give one")
        atomic.check_target(matches, ".png", groups[0])
    elif image is not None:
        raise InputError("--image says what --matches draws; give --matches too")


def _score_all(
    groups: Sequence[Sequence[Path]],
    request: Request,
    printer: _Printer,
    matches: str | None,
    *,
    quiet: bool,
) -> int:
    """Score, print and draw file by file, and return the exit code.

    An error in one of several files is reported, and the others are still scored.
    """
    from patchsim.slots import affinity, evaluate

    code = FOUND
    for paths in groups:
        try:
            scored = evaluate.score(paths, request)
        except PatchsimError as error:
            if len(groups) == 1:
                raise
            console.say(str(error))
            code = max(code, error.exit_code)
            continue
        printer.add(scored)
        if matches is not None:
            description = affinity.draw(paths, request, scored, matches)
            if not quiet:
                console.say(f"matches {printable(matches)}: {description}")
    return code


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
        from patchsim.slots.records import LossRecords

        if self._waiting:
            records = LossRecords(self._waiting, self._request, is_list=self._is_list)
            self._waiting = []
            console.print_records(self._form, records, is_first=self._is_first)
            self._is_first = False
