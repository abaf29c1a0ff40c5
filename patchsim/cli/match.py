"""`patchsim match`: flags -> match() -> print, exit code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from patchsim.cli import console
from patchsim.errors import FOUND, NOT_FOUND, InputError, OutputError
from patchsim.text import FORMATS, LINES, check_format

DRAWN_TOLERANCE = 0.02

if TYPE_CHECKING:
    from patchsim.report import Report


def command(
    image: Annotated[
        str,
        typer.Argument(metavar="IMAGE", help="The big picture or .npy; - reads standard input."),
    ],
    kernel: Annotated[
        list[str], typer.Argument(metavar="KERNEL", help="One or more small pictures to find.")
    ],
    stride: Annotated[
        str,
        typer.Option(metavar="N|NxM", help="Pixels between windows, in x and y."),
    ] = "1",
    region: Annotated[
        str | None,
        typer.Option(
            metavar="X,Y,W,H",
            help="Search only windows inside this box of the image, as results have it: x and y of"
            " its top-left pixel, width, height. The map is then of the box.",
        ),
    ] = None,
    padding: Annotated[
        str,
        typer.Option(
            metavar="valid|edge|reflect|zero",
            help="How the image goes on beyond its border, so that kernels can hang over it: with"
            " its outermost pixels, mirrored at them, or with 0. valid: they cannot.",
        ),
    ] = "valid",
    metric: Annotated[
        str,
        typer.Option(
            metavar="sad|ssd|ncc|zncc",
            help="How windows are compared: mean absolute or squared difference, cosine, or cosine"
            " less the mean (correlation), which brightness and contrast do not change.",
        ),
    ] = "sad",
    color: Annotated[
        str,
        typer.Option(
            metavar="auto|gray|rgb|hsv|lab",
            help="What is compared: auto is grey with grey as grey, otherwise RGB; hsv has hue as"
            " a circle, lab differences as people see them.",
        ),
    ] = "auto",
    top: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="How many matches at the most: 5, or with --threshold all.",
        ),
    ] = None,
    threshold: Annotated[
        str | None,
        typer.Option(
            metavar="S|auto",
            help="The lowest score of a match; 1 is identical. Without one the best are"
            " printed however bad they are. auto: matches end where the scores of the best places"
            " have a gap too large for chance, if they have; it is told on stderr.",
        ),
    ] = None,
    overlap: Annotated[
        float,
        typer.Option(
            metavar="F",
            help="Of two boxes with a larger intersection over union the lower one goes.",
        ),
    ] = 0.3,
    no_margin: Annotated[
        bool,
        typer.Option(
            "--no-margin",
            help="Leave out the margin, the score less that of the best place that no match"
            " overlaps: without a heatmap it can take longer than to find the best match.",
        ),
    ] = False,
    per_kernel: Annotated[
        bool,
        typer.Option(
            "--per-kernel",
            help="Each kernel has matches of its own, --top of them, which do not compete with"
            " those of the others.",
        ),
    ] = False,
    subpixel: Annotated[
        bool,
        typer.Option(
            "--subpixel",
            help="Also print where matches lie between the pixels, as x_subpixel and y_subpixel;"
            " empty where the pixels do not tell.",
        ),
    ] = False,
    scales: Annotated[
        str | None,
        typer.Option(
            metavar="LIST|LO:HI:STEP",
            help="Search the kernel scaled: 0.5,1,2 or 0.5:2:0.1; between the steps of a range the"
            " best are refined.",
        ),
    ] = None,
    angles: Annotated[
        str | None,
        typer.Option(
            metavar="LIST|LO:HI:STEP",
            help="Search it turned, in degrees counter-clockwise: 0,90,180,270 or 0:360:15.",
        ),
    ] = None,
    flips: Annotated[
        str | None,
        typer.Option(
            metavar="h|v|h,v",
            help="Search it mirrored, too: h changes left and right, v top and bottom.",
        ),
    ] = None,
    exhaustive: Annotated[
        bool,
        typer.Option(
            "--exhaustive",
            help="Compare every pose with every window. Otherwise more than 8 poses are searched"
            " coarse to fine, which is faster and can miss what does not show in smaller pictures.",
        ),
    ] = False,
    max_poses: Annotated[
        int | None,
        typer.Option(metavar="N", help="More poses are refused, 10,000 by default."),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="T",
            help="How far scores of the heatmap or map may be off, which makes large kernels"
            " faster; matches are exact. By default 0.02, with --map 0.",
        ),
    ] = None,
    mask: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="How much each pixel of the kernel counts: white does, black does not, grey"
            " weighs. By default the kernel's alpha channel says so.",
            show_default=False,
        ),
    ] = None,
    ignore_alpha: Annotated[
        bool,
        typer.Option(
            "--ignore-alpha", help="Count transparent pixels of kernels and image like the others."
        ),
    ] = False,
    min_visible: Annotated[
        float,
        typer.Option(
            metavar="F",
            help="In an image with transparent pixels windows are compared over what is visible;"
            " one of which a smaller share is visible is no match.",
        ),
    ] = 0.5,
    channel_weights: Annotated[
        str | None,
        typer.Option(
            metavar="W,W,...",
            help="How much each channel counts, of those that --color compares; 0 leaves one out.",
            show_default=False,
        ),
    ] = None,
    data_range: Annotated[
        str | None,
        typer.Option(
            metavar="LO:HI",
            help="Range of the pixel values, which are then compared as they are: by default"
            " 0:255, 0:65535 for 16 bits, 0:1 for floats.",
        ),
    ] = None,
    format: Annotated[
        str,
        typer.Option(
            metavar="|".join(FORMATS),
            help="How matches are printed; auto is a table on a terminal, tsv in a pipe.",
        ),
    ] = "auto",
    heatmap: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Where the map is drawn: by default IMAGE.heatmap.png in this folder. {kernel}"
            " stands for the kernel's name.",
            show_default=False,
        ),
    ] = None,
    no_heatmap: Annotated[bool, typer.Option("--no-heatmap", help="Draw no heatmap.")] = False,
    map: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Write all scores as a float32 .npy of rows x cols.",
        ),
    ] = None,
    overlay: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            help="Draw the image with numbered boxes as a .png.",
        ),
    ] = None,
    quiet: Annotated[
        bool,
        typer.Option("--quiet", "-q", help="Print matches and errors alone."),
    ] = False,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Print how each kernel is searched for, and why, on stderr.",
        ),
    ] = False,
    device: Annotated[
        str,
        typer.Option(
            metavar="auto|cpu|cuda[:N]|mps|xpu",
            help="Where to compute; cuda: on all NVIDIA cards, which share the work, auto: on the"
            " CPU unless that takes long.",
        ),
    ] = "auto",
    engine: Annotated[
        str,
        typer.Option(
            metavar="auto|pruned|simd|fft|cuda|unfold",
            help="How to compute; the matches are the same. Only pruned draws no map.",
        ),
    ] = "auto",
    memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            help="Memory the search may take, like 512MB or 2GiB: by default a quarter of what"
            " is available.",
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="CPU threads: by default the CPUs this process may use.",
        ),
    ] = None,
    max_pixels: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="The largest picture to decode, 89,478,485 pixels by default.",
        ),
    ] = None,
    debug: Annotated[  # noqa: ARG001 - read by console.run, which meets usage errors too
        bool,
        typer.Option("--debug", help="Show a traceback when something fails."),
    ] = False,
) -> int:
    """Find KERNEL in IMAGE: print where, best first, and draw the similarity map.

    Every window of the image that the kernel fits gets a score, 1 if it is identical: by default
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
    check_format(format)
    if (exhaustive or max_poses is not None) and not (scales or angles or flips):
        raise InputError(
            f"{'--exhaustive' if exhaustive else '--max-poses'} is about poses; give --scales,"
            " --angles or --flips with it"
        )
    if heatmap is not None and no_heatmap:
        raise InputError("--heatmap and --no-heatmap contradict each other; give one")
    where = heatmap
    # A map is of one pose.
    if heatmap is None and not no_heatmap and not (scales or angles or flips):
        where = _default_heatmap(image, several=len(kernel) > 1)
    steps, box, span = _stride(stride), _region(region), _data_range(data_range)
    shares = _channel_weights(channel_weights)

    # After the flags: what a search needs takes a while to import.
    from patchsim import asked, images, matching

    with console.Watcher(quiet=quiet, explain=explain) as observer:
        try:
            report = matching.match(
                image,
                kernel,
                stride=steps,
                region=box,
                padding=padding,
                metric=metric,
                color=color,
                device=device,
                engine=engine,
                top=top,
                threshold=threshold,
                overlap=overlap,
                margin=not no_margin,
                mask=mask,
                ignore_alpha=ignore_alpha,
                min_visible=min_visible,
                channel_weights=shares,
                per_kernel=per_kernel,
                subpixel=subpixel,
                scales=scales,
                angles=angles,
                flips=flips,
                max_poses=asked.DEFAULT_MAX_POSES if max_poses is None else max_poses,
                exhaustive=exhaustive,
                map=False if map is None else map,
                heatmap=where,
                overlay=overlay,
                tolerance=_tolerance(tolerance, map),
                data_range=span,
                max_pixels=images.DEFAULT_MAX_PIXELS if max_pixels is None else max_pixels,
                memory=memory,
                threads=threads,
                observer=observer,
            )
        except OutputError as error:
            # The search is done: its matches must not be lost with a file.
            if error.report:
                _print(error.report, format)
            raise
    _print(report, format)
    return FOUND if report.matches else NOT_FOUND


def _print(report: Report, form: str) -> None:
    from patchsim.report import columns, document, objects, rows

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
    """A picture may be a little off; scores that are asked for may not."""
    if given is not None:
        return given
    return DRAWN_TOLERANCE if map_path is None else 0.0


def _stride(text: str) -> tuple[int, int]:
    """(y, x) from ``2`` or ``2x1``, which has x first."""
    parts = text.lower().split("x")
    try:
        steps = [int(part) for part in parts]
    except ValueError:
        steps = []
    if len(steps) not in (1, 2) or min(steps) < 1:
        raise InputError(
            f"stride {text!r} is no stride; give a whole number from 1, or two like 2x1 (x first)"
        )
    return steps[-1], steps[0]


def _region(text: str | None) -> tuple[int, int, int, int] | None:
    if text is None:
        return None
    try:
        x, y, width, height = map(int, text.split(","))
    except ValueError:
        raise InputError(
            f"region {text!r} is no region; give X,Y,W,H in pixels, like 90,110,36,36"
        ) from None
    return x, y, width, height


def _data_range(text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    low, _, high = text.partition(":")
    try:
        return float(low), float(high)
    except ValueError:
        raise InputError(f"data range {text!r} is no range; give LO:HI, like 0:4095") from None


def _channel_weights(text: str | None) -> list[float] | None:
    if text is None:
        return None
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"channel weights {text!r} are no numbers; give W,W,... like 1,1,2"
        ) from None
