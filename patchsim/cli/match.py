"""`patchsim match`: flags become options, then the report is printed and gives the exit code."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from patchsim.cli import clusters, console, imports, part, streams, values, watcher
from patchsim.cli.flags import MatchFlags, takes
from patchsim.errors import FAULT, FOUND, NOT_FOUND, InputError, OutputError

DRAWN_TOLERANCE = 0.02

if TYPE_CHECKING:
    from patchsim.options import Given
    from patchsim.output.report import Report


@takes(MatchFlags)
def command(flags: MatchFlags) -> int:
    """Find KERNEL in IMAGE, print the matches, best first, and draw the similarity map.

    Each window of the image has a score; an identical window scores 1. The default score is
    1 - mean |window - kernel| / range. x and y are the window's top-left pixel, from 0.

    \b
    What happened to the picture, and what helps:
      other brightness or contrast   --metric zncc
      other colours, a theme         --color edges or gray, with --metric zncc
      JPEG, noise                    the default; a lower --threshold, or auto
      parts are covered              the default, sad
      parts of KERNEL do not count   --mask, --transparent FF00FF, or its alpha
      parts of IMAGE do not count    --image-mask, --ignore X,Y,W,H, or its alpha
      one digit or letter differs    --worst 0.9 --metric zncc, --max-differing 0
      another size                   --scales 0.5:2; --same-scale on a screenshot
      turned or mirrored             --angles any, --flips h
      inverted, light on dark        --invert
      values of 12 bits, or floats   --data-range 0:4095

    \b
    Exit codes:
      0    a match was found
      1    nothing reached the threshold
      2    wrong usage or bad input
      3    a fault of the program or the machine
      129  the terminal was closed (SIGHUP)
      130  interrupted (Ctrl-C)
      143  terminated (SIGTERM)

    \b
    Examples:
      patchsim match screen.png icon.png --threshold 0.95
      patchsim match photo.jpg a.png b.png --top 3 --overlay found.png
      curl -s example.org/map.png | patchsim match - pin.png | cut -f1,2
    """
    form = Form.of(flags)
    check(flags)
    _check_resume(flags)
    part.check(flags)
    if flags.part is not None:
        return part.command(flags, options_of)
    waits = flags.wait is not None or flags.wait_gone is not None
    imports.limit_libraries()
    with imports.quickly():  # after the flags: what a search needs takes a while
        from patchsim.files.waits import tell_to
        from patchsim.matching.match import match
        from patchsim.matching.matcher import Matcher

    advice = {"heatmap": "; --no-heatmap draws none"} if flags.heatmap is None else {}
    with (
        contextlib.ExitStack() as stack,
        watcher.Watcher(quiet=flags.quiet, explain=flags.explain, advice=advice) as observer,
    ):
        tell_to(observer.notice)
        try:
            masks: dict[str, Any] = {"mask": flags.mask, "image_mask": flags.image_mask}
            outputs = _outputs(flags) | {"observer": observer}
            cluster = stack.enter_context(clusters.opened(flags.cluster, observer))
            if waits:
                from patchsim.matching.waiting import look_until

                report = look_until(
                    Matcher(flags.kernel, **masks, **options_of(flags)),
                    flags.image,
                    values.number(flags.wait or flags.wait_gone),
                    gone=flags.wait_gone is not None,
                    interval=values.number(flags.interval or "0.1"),
                    **outputs,
                )
            else:
                report = match(
                    flags.image,
                    flags.kernel,
                    cluster=cluster,
                    **masks,
                    **outputs,
                    **options_of(flags),
                )
        except OutputError as error:
            # The search is done: its matches must not be lost with a file.
            if error.report is not None:
                form.print(error.report)
            raise
    if sys.stdout is not None and sys.stdout.isatty():
        form.preview(report, flags)
    form.print(report)
    if report.missing:
        if flags.quiet:  # else a notice said it
            console.say(f"{len(report.missing)} parts of the image were not scored")
        return FAULT
    if not waits and flags.cluster is None and watcher.is_watched(quiet=flags.quiet):
        _hint(flags, report)
    is_wanted = bool(report) != (flags.wait_gone is not None)
    return FOUND if is_wanted else NOT_FOUND


def _outputs(flags: MatchFlags) -> dict[str, Any]:
    """Return the keywords about files and drawings."""
    return {
        "map": False if flags.map is None else flags.map,
        "resume": flags.resume,
        "heatmap": _heatmap(flags),
        "heatmap_size": values.number(flags.heatmap_size),
        "blend": flags.blend,
        "overlay": flags.overlay,
        "labels": flags.labels,
        "report": flags.report,
        "force": flags.force,
    }


def check(flags: MatchFlags) -> None:
    """Refuse flags that the search itself does not see."""
    about_poses = {
        "--same-scale": flags.same_scale,
        "--exhaustive": flags.exhaustive,
        "--max-poses": flags.max_poses is not None,
    }
    given = [name for name, is_given in about_poses.items() if is_given]
    if given and not _has_poses(flags):
        raise InputError(f"{given[0]} is about poses; give --scales, --angles or --flips with it")
    if flags.heatmap is not None and flags.no_heatmap:
        raise InputError("--heatmap and --no-heatmap contradict each other; give one")
    if flags.wait is not None and flags.wait_gone is not None:
        raise InputError("--wait and --wait-gone contradict each other; give one")
    waits = flags.wait is not None or flags.wait_gone is not None
    if waits and flags.cluster is not None:
        raise InputError("--wait looks at a picture of this machine; leave out --cluster")
    if flags.interval is not None and flags.wait is None and flags.wait_gone is None:
        raise InputError("--interval is about waiting; give --wait or --wait-gone with it")
    values.template(flags.heatmap, "heatmap", "kernel")
    values.template(flags.blend, "blend", "kernel")
    values.template(flags.map, "map", "kernel")
    if flags.labels is not None and flags.overlay is None:
        raise InputError("--labels is about the overlay; give --overlay with it")
    taker = _takes_stdout(flags)
    if taker is not None and sys.stdout is not None and sys.stdout.isatty():
        raise InputError(f"{taker} - writes a file to the terminal; redirect it, as by > found.png")
    for name, path in (("overlay", flags.overlay), ("report", flags.report)):
        if "{kernel}" not in (path or ""):  # which the outputs refuse
            values.template(path, name)


def _check_resume(flags: MatchFlags) -> None:
    """Refuse what does not go with a map that is gone on with."""
    values.template(flags.resume, "resume", "kernel")
    if flags.resume is None:
        return
    if flags.map is not None:
        raise InputError("--map and --resume both name the file of the map; give one of them")
    if flags.wait is not None or flags.wait_gone is not None:
        raise InputError("--resume goes on with the map of one image; leave out the waiting")


def _takes_stdout(flags: MatchFlags) -> str | None:
    """Return the option whose file is standard output, if there is one."""
    for name in ("heatmap", "blend", "map", "overlay", "report"):
        if getattr(flags, name) == "-":
            return f"--{name}"
    return None


def options_of(flags: MatchFlags) -> Given:
    """Turn flags into the keywords of Python; a flag without a value leaves its default there."""
    options: Given = {
        "stride": values.stride(flags.stride),
        "region": values.region(flags.region),
        "padding": flags.padding,
        "metric": flags.metric,
        "color": flags.color,
        "ignore_profile": flags.ignore_profile,
        "device": flags.device,
        "engine": flags.engine,
        "top": values.number(flags.top),
        "threshold": values.number(flags.threshold),
        "overlap": values.number(flags.overlap),
        "margin": flags.margin,
        "frame": values.number(flags.frame),
        "level": values.number(flags.level or "0"),
        "transparent": flags.transparent,
        "ignore": values.boxes(flags.ignore),
        "nan": flags.nan,
        "worst": values.number(flags.worst),
        "pixel_tolerance": values.number(flags.pixel_tolerance),
        "max_differing": values.count_or_share(flags.max_differing),
        "alpha": not flags.no_alpha,
        "ignore_alpha": flags.ignore_alpha,
        "trim": not flags.no_trim,
        "min_visible": values.number(flags.min_visible),
        "channel_weights": values.channel_weights(flags.channel_weights),
        "per_kernel": flags.per_kernel,
        "strict": flags.strict,
        "sort": flags.sort,
        "subpixel": flags.subpixel,
        "scales": flags.scales,
        "angles": flags.angles,
        "flips": flags.flips,
        "invert": flags.invert,
        "same_scale": flags.same_scale,
        "exhaustive": flags.exhaustive,
        "max_poses": values.number(flags.max_poses),
        "tolerance": _tolerance(flags),
        "data_range": values.data_range(flags.data_range),
        "memory": flags.memory,
        "threads": values.number(flags.threads),
    }
    if flags.max_pixels is not None:
        options["max_pixels"] = values.number(flags.max_pixels)
    return options


def _has_poses(flags: MatchFlags) -> bool:
    return bool(flags.scales or flags.angles or flags.flips)


def _heatmap(flags: MatchFlags) -> str | None:
    """Choose where the map is drawn, by default in this folder; a map is of one pose and frame."""
    waits = flags.wait is not None or flags.wait_gone is not None
    is_several = _has_poses(flags) or flags.invert or flags.frame == "all" or waits
    if flags.heatmap == "none":
        return None
    if flags.heatmap is not None or flags.no_heatmap or is_several or flags.cluster is not None:
        return flags.heatmap
    stem = "stdin" if flags.image == "-" else Path(flags.image).stem
    return f"{stem}.{{kernel}}.heatmap.png" if len(flags.kernel) > 1 else f"{stem}.heatmap.png"


def _tolerance(flags: MatchFlags) -> Any:
    """A picture may be a little off; scores that are asked for may not."""
    if flags.tolerance is not None:
        return values.number(flags.tolerance)
    exact = flags.map is not None or flags.resume is not None or flags.cluster is not None
    return 0.0 if exact else DRAWN_TOLERANCE


def _hint(flags: MatchFlags, report: Report) -> None:
    """Tell a person if the best places may be no matches, and if another scale has one."""
    from patchsim.matching import other_scales
    from patchsim.output.doubts import doubt

    text = doubt(report) if flags.threshold is None else None
    if text is not None:
        console.say(text)
    if text is None and report:
        return
    options, masks = options_of(flags), {"mask": flags.mask, "image_mask": flags.image_mask}
    other = other_scales.hint(flags.image, flags.kernel[0], masks, options, report)
    if other is not None:
        console.say(other)


class Form(NamedTuple):
    """The form in which matches are printed; on stderr where a file takes standard output."""

    format: str
    columns: tuple[str, ...] | None
    has_header: bool
    template: str | None
    csv_safe: bool
    on_stderr: bool = False

    @classmethod
    def of(cls, flags: MatchFlags) -> Form:
        others = {
            "--columns": flags.columns is not None,
            "--no-header": flags.no_header,
            "--format": flags.format != "auto",
        }
        given = [name for name, is_given in others.items() if is_given]
        if flags.print is not None and given:
            raise InputError(f"--print and {given[0]} both say what is printed; give one of them")
        return cls(
            streams.check_format(flags.format, csv_safe=flags.csv_safe),
            values.columns(flags.columns),
            not flags.no_header,
            values.print_template(flags.print),
            flags.csv_safe,
            _takes_stdout(flags) is not None,
        )

    def preview(self, report: Report, flags: MatchFlags) -> None:
        """Draw the matches above their table, where the terminal shows it or the flag asks."""
        from patchsim.cli import preview

        form = streams.resolved_format(self.format)
        is_table = not self.on_stderr and self.template is None
        if is_table and preview.is_wanted(flags.preview, form, quiet=flags.quiet):
            preview.draw(report)

    def print(self, report: Report) -> None:
        from patchsim.output.match_records import MatchRecords

        records = MatchRecords(report, self.columns)
        if self.template is not None:
            streams.print_lines(records.lines(self.template), on_stderr=self.on_stderr)
            return
        form = streams.resolved_format(self.format, on_stderr=self.on_stderr)
        if form != "table" or report:  # a notice said why there is no match
            streams.print_records(
                form,
                records,
                is_first=self.has_header,
                csv_safe=self.csv_safe,
                on_stderr=self.on_stderr,
            )
