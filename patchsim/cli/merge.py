"""`patchsim merge`: the files of all parts of a search become the matches of `patchsim match`."""

import sys
from dataclasses import MISSING, dataclass, fields, replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from patchsim.cli import (
    drawing_flags,
    imports,
    part,
    printing_flags,
    running_flags,
    watcher,
)
from patchsim.cli import match as match_command
from patchsim.cli.flags import Flags, MatchFlags, takes
from patchsim.errors import FOUND, NOT_FOUND, InputError, OutputError

if TYPE_CHECKING:
    from patchsim.cluster.parts import Merged

Parts = Annotated[
    list[str], typer.Argument(metavar="PART", help="The files that match --part wrote, all N.")
]


@dataclass(frozen=True, kw_only=True, init=False, eq=False, repr=False)
class MergeFlags(Flags):
    """The flags of `patchsim merge` as they were typed; others are those of the parts."""

    parts: Parts
    format: printing_flags.Format = "auto"
    columns: printing_flags.Columns = None
    no_header: printing_flags.NoHeader = False
    print: printing_flags.Print = None
    csv_safe: printing_flags.CsvSafe = False
    overlay: drawing_flags.Overlay = None
    labels: drawing_flags.Labels = None
    preview: drawing_flags.Preview = None
    report: drawing_flags.ReportPage = None
    force: running_flags.Force = False
    quiet: running_flags.Quiet = False
    explain: running_flags.Explain = False
    memory: running_flags.Memory = None
    threads: running_flags.Threads = None
    debug: running_flags.Debug = False


@takes(MergeFlags)
def command(flags: MergeFlags) -> int:
    """Print the matches of a search that was computed in parts, as patchsim match prints them.

    Each part is a run of patchsim match with --part I/N. The options are those of the parts; their
    image and kernels are read again, to score the windows that may be matches exactly. How matches
    are printed may be given here or to the parts.

    \b
    Exit codes:
      0    a match was found
      1    nothing reached the threshold
      2    wrong usage or bad input, such as a part that is missing
      3    a fault of the program or the machine
      129  the terminal was closed (SIGHUP)
      130  interrupted (Ctrl-C)
      143  terminated (SIGTERM)

    \b
    Examples:
      patchsim match big.tif icon.png --threshold 0.95 --part 1/2
      patchsim match big.tif icon.png --threshold 0.95 --part 2/2
      patchsim merge big.part-*.npz --format json
    """
    imports.limit_libraries()
    with imports.quickly():
        from patchsim.cluster import parts
        from patchsim.matching.matcher import Matcher

    merged = parts.read_all(flags.parts)
    given = _match_flags(merged, flags)
    form = match_command.Form.of(given)
    match_command.check(given)
    with watcher.Watcher(quiet=flags.quiet, explain=flags.explain) as observer:
        options = part.with_margin(given, match_command.options_of(given))
        try:
            report = Matcher(
                given.kernel, mask=given.mask, image_mask=given.image_mask, **options
            ).match(
                given.image,
                overlay=given.overlay,
                labels=given.labels,
                report=given.report,
                force=given.force,
                observer=observer,
                cluster=merged,
            )
        except OutputError as error:
            # The search is done: its matches must not be lost with a file.
            if error.report is not None:
                form.print(error.report)
            raise
    if sys.stdout is not None and sys.stdout.isatty():
        form.preview(report, given)
    form.print(report)
    return FOUND if report else NOT_FOUND


def _match_flags(merged: "Merged", flags: MergeFlags) -> MatchFlags:
    """Return the flags of the search: those of the parts, and those that are given here."""
    given = {
        field.name: getattr(flags, field.name)
        for field in fields(flags)
        if field.name != "parts" and getattr(flags, field.name) != field.default
    }
    by_name = {field.name: field for field in fields(MatchFlags) if part.is_told(field.name)}
    told: dict[str, Any] = dict(merged.flags)
    needed = {name for name, field in by_name.items() if field.default is MISSING}
    is_known = needed <= told.keys() <= by_name.keys()
    if not is_known or not all(_is_typed(told[name], by_name[name].default) for name in told):
        raise InputError("the parts are of another version; compute them again with this one")
    if "print" in given:  # it takes the place of what the parts say of it
        told = {name: told[name] for name in told if name not in ("format", "columns", "no_header")}
    elif "format" in given or "columns" in given or "no_header" in given:
        told.pop("print", None)
    return replace(MatchFlags(**told), **given)


def _is_typed(value: Any, default: Any) -> bool:
    """Return whether a value is one that a flag with this default may have."""
    if isinstance(default, bool):
        return isinstance(value, bool)
    if isinstance(value, list):
        return all(isinstance(one, str) for one in value)
    return isinstance(value, str | bool)
