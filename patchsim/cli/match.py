"""`patchsim match`: parse the flags, call `match()`, print the report, return the exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from patchsim import choices
from patchsim.cli import console, flags, values
from patchsim.errors import FOUND, NOT_FOUND, InputError, OutputError
from patchsim.output.formats import LINES

DRAWN_TOLERANCE = 0.02

if TYPE_CHECKING:
    from patchsim.output.report import Report


def command(
    image: flags.Image,
    kernel: flags.Kernel,
    stride: flags.Stride = "1",
    region: flags.Region = None,
    padding: flags.Padding = "valid",
    metric: flags.Metric = "sad",
    color: flags.Color = "auto",
    top: flags.Top = None,
    threshold: flags.Threshold = None,
    overlap: flags.Overlap = 0.3,
    no_margin: flags.NoMargin = False,
    per_kernel: flags.PerKernel = False,
    subpixel: flags.Subpixel = False,
    scales: flags.Scales = None,
    angles: flags.Angles = None,
    flips: flags.Flips = None,
    exhaustive: flags.Exhaustive = False,
    max_poses: flags.MaxPoses = None,
    tolerance: flags.Tolerance = None,
    mask: flags.Mask = None,
    ignore_alpha: flags.IgnoreAlpha = False,
    min_visible: flags.MinVisible = None,
    channel_weights: flags.ChannelWeights = None,
    data_range: flags.DataRange = None,
    format: flags.Format = "auto",
    heatmap: flags.Heatmap = None,
    no_heatmap: flags.NoHeatmap = False,
    map: flags.Map = None,
    overlay: flags.Overlay = None,
    quiet: flags.Quiet = False,
    explain: flags.Explain = False,
    device: flags.Device = "auto",
    engine: flags.Engine = "auto",
    memory: flags.Memory = None,
    threads: flags.Threads = None,
    max_pixels: flags.MaxPixels = None,
    debug: flags.Debug = False,  # noqa: ARG001 - read by console.run, which meets usage errors too
) -> int:
    """Find KERNEL in IMAGE, print the matches, best first, and draw the similarity map.

    Each window of the image has a score; an identical window scores 1. The default score is
    1 - mean |window - kernel| / range. x and y are the window's top-left pixel, from 0.

    \b
    Exit codes:
      0  a match was found
      1  nothing reached the threshold
      2  bad input
      3  a fault of the program or the machine

    \b
    Examples:
      patchsim match screen.png icon.png --threshold 0.95
      patchsim match photo.jpg a.png b.png --top 3 --overlay found.png
      curl -s example.org/map.png | patchsim match - pin.png | tail -n +2 | cut -f1,2
    """
    choices.check("format", format, choices.FORMATS)
    if (exhaustive or max_poses is not None) and not (scales or angles or flips):
        raise InputError(
            f"{'--exhaustive' if exhaustive else '--max-poses'} is about poses; give --scales,"
            " --angles or --flips with it"
        )
    if heatmap is not None and no_heatmap:
        raise InputError("--heatmap and --no-heatmap contradict each other; give one")
    where = heatmap
    # A map shows one pose.
    if heatmap is None and not no_heatmap and not (scales or angles or flips):
        where = _default_heatmap(image, several=len(kernel) > 1)

    # Imported after the flags are checked, because the search takes a while to import.
    from patchsim.matching.matcher import match
    from patchsim.pictures import reader
    from patchsim.poses import grid

    with console.Watcher(quiet=quiet, explain=explain) as observer:
        try:
            report = match(
                image,
                kernel,
                mask=mask,
                stride=values.stride(stride),
                region=values.region(region),
                padding=padding,
                metric=metric,
                color=color,
                device=device,
                engine=engine,
                top=top,
                threshold=threshold,
                overlap=overlap,
                margin=not no_margin,
                ignore_alpha=ignore_alpha,
                min_visible=min_visible,
                channel_weights=values.channel_weights(channel_weights),
                per_kernel=per_kernel,
                subpixel=subpixel,
                scales=scales,
                angles=angles,
                flips=flips,
                max_poses=grid.DEFAULT_MAX_POSES if max_poses is None else max_poses,
                exhaustive=exhaustive,
                tolerance=_tolerance(tolerance, map),
                data_range=values.data_range(data_range),
                max_pixels=reader.DEFAULT_MAX_PIXELS if max_pixels is None else max_pixels,
                memory=memory,
                threads=threads,
                map=False if map is None else map,
                heatmap=where,
                overlay=overlay,
                observer=observer,
            )
        except OutputError as error:
            # The search succeeded; print its matches although a file could not be written.
            if error.report is not None:
                _print(error.report, format)
            raise
    _print(report, format)
    return FOUND if report.matches else NOT_FOUND


def _print(report: Report, form: str) -> None:
    from patchsim.output.report import columns, document, objects, rows

    form = console.resolved_format(form)
    if form == "json":
        console.print_lines([json.dumps(document(report), indent=2)])
    elif form == "jsonl":
        console.print_lines(map(json.dumps, objects(report)))
    elif form != "table":
        console.print_lines(LINES[form](columns(report), rows(report)))
    elif report.matches:
        console.print_table(
            ("", *columns(report)),
            (
                (
                    str(number),
                    *map(str, row[:4]),
                    console.rounded_down(row[4]),
                    row[5],
                    *(_cell(value) for value in row[6:]),
                )
                for number, row in enumerate(rows(report), 1)
            ),
            text="kernel",
        )
    else:
        also = "" if report.min_visible is None else " where enough is visible"
        console.say(f"nothing reached the threshold{also}")


def _cell(value: float | str | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.4f}"


def _default_heatmap(image: str, *, several: bool) -> str:
    stem = "stdin" if image == "-" else Path(image).stem
    return f"{stem}.{{kernel}}.heatmap.png" if several else f"{stem}.heatmap.png"


def _tolerance(given: float | None, map_path: str | None) -> float:
    """Return the tolerance: a heatmap may be slightly off, a map of scores may not."""
    if given is not None:
        return given
    return DRAWN_TOLERANCE if map_path is None else 0.0
