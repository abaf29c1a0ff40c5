"""`patchsim loss`: check the flags, score each file of features, print, return the exit code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from patchsim import choices
from patchsim.cli import console, streams, values
from patchsim.cli.flags import takes
from patchsim.cli.loss_flags import LossFlags
from patchsim.errors import FOUND, InputError, PatchsimError, printable
from patchsim.output import text

if TYPE_CHECKING:
    from patchsim.slots.evaluate import Request, Scored


@takes(LossFlags)
def command(flags: LossFlags) -> int:
    """Evaluate a slot-matching loss on saved features, [2B, S, C] by default.

    Slots of an image's two views are matched one to one so that the sum of their cosines is
    largest. One line is printed for each file: a run's checkpoints give a curve. For the
    contrastive losses two references stand beside the loss: what it is if all slots are one
    (collapsed), and if matches are identical and all others orthogonal.

    \b
    Exit codes:
      0    all files were scored
      2    wrong usage or bad input; the other files are still scored
      3    a fault of the program or the machine
      129  the terminal was closed (SIGHUP)
      130  interrupted (Ctrl-C)
      143  terminated (SIGTERM)

    \b
    Examples:
      patchsim loss run/step-*.safetensors | cut -f1,5
      patchsim loss feats.pt --loss contrastive --temperature 0.1
      patchsim loss feats.npz --matches matches.png --image 0
    """
    form = streams.check_format(flags.format, csv_safe=flags.csv_safe)
    groups = _groups(flags)
    request = _request(flags)
    _check_drawing(flags, groups)
    printer = _Printer(form, flags, request, is_list=len(groups) > 1)
    try:
        return _score_all(groups, request, printer, flags)
    finally:
        printer.finish()  # a fault must not lose what was scored before it


def _groups(flags: LossFlags) -> list[list[Path]]:
    """List the files that are scored together: one file each, or a pair of f and p."""
    if (flags.f is None) != (flags.p is None):
        raise InputError("--f and --p go together; give both, or files of features")
    if flags.f is not None and flags.p is not None:
        if flags.features:
            raise InputError("--f and --p take the place of FEATURES; give one or the other")
        return [[Path(flags.f), Path(flags.p)]]
    if not flags.features:
        raise InputError("there are no features; give files, or --f and --p")
    return [[Path(path)] for path in flags.features]


def _request(flags: LossFlags) -> Request:
    """Check the flags and fill in what was not flags."""
    # Imported here, because torch takes a while and the flags checked before do not need it.
    from patchsim.checks import integer_from
    from patchsim.machine import devices
    from patchsim.machine.memory import default_limit, parse_size
    from patchsim.slots import tensor_checks
    from patchsim.slots.evaluate import Request

    device = devices.check_name(flags.device)
    _check_relevance(flags)
    temperature = 1.0 if flags.temperature is None else values.number(flags.temperature)
    tensor_checks.check_temperature(temperature)  # which repeats what was typed
    layout = "2BSC" if flags.layout is None else flags.layout
    f_key, p_key = ("f_large", "p_small") if flags.loss == "small-to-large" else ("f", "p")
    return Request(
        loss=flags.loss,
        f_keys=(f_key if flags.f_key is None else flags.f_key,),
        p_keys=(p_key if flags.p_key is None else flags.p_key,),
        keys=("slots", "p") if flags.key is None else (flags.key,),
        layout=layout.upper() if layout.upper() in choices.LAYOUTS else layout,
        reduction=flags.reduction,
        temperature=float(temperature),
        drawn=None if flags.image is None else integer_from(0, values.number(flags.image), "image"),
        device="cpu" if device == "auto" else devices.require(device),
        memory=default_limit() if flags.memory is None else parse_size(flags.memory),
    )


def _check_relevance(flags: LossFlags) -> None:
    """Refuse a flag that the loss does not use."""
    if flags.loss not in choices.LOSSES:
        return  # the request refuses the loss
    is_of_crops = flags.loss == "small-to-large"
    is_contrastive = flags.loss.startswith("contrastive")
    for option, value, is_used in (
        ("--f-key", flags.f_key, not is_contrastive),
        ("--p-key", flags.p_key, not is_contrastive),
        ("--key", flags.key, is_contrastive),
        ("--temperature", flags.temperature, is_contrastive),
        ("--layout", flags.layout, not is_of_crops),
        ("--matches", flags.matches, not is_of_crops),
    ):
        if value is not None and not is_used:
            raise InputError(f"{option} says nothing to --loss {flags.loss}; leave it out")


def _check_drawing(flags: LossFlags, groups: Sequence[Sequence[Path]]) -> None:
    from patchsim.files import atomic

    values.template(flags.matches, "matches")
    if flags.matches is not None:
        if len(groups) > 1:
            raise InputError(f"--matches draws one file, not {len(groups)}; give one")
        atomic.check_target(flags.matches, (".png",), groups[0], force=flags.force)
    elif flags.image is not None:
        raise InputError("--image says what --matches draws; give --matches too")


def _score_all(
    groups: Sequence[Sequence[Path]],
    request: Request,
    printer: _Printer,
    flags: LossFlags,
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
        if flags.matches is not None:
            description = affinity.draw(paths, request, scored, flags.matches)
            if not flags.quiet:
                console.say(f"matches {printable(flags.matches)}: {description}")
    return code


class _Printer:
    """Prints losses: each as it comes if the format allows it, otherwise all at the end."""

    def __init__(self, form: str, flags: LossFlags, request: Request, *, is_list: bool) -> None:
        self._form = streams.resolved_format(form)
        self._is_safe = flags.csv_safe
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
            streams.print_records(
                self._form, records, is_first=self._is_first, csv_safe=self._is_safe
            )
            self._is_first = False
