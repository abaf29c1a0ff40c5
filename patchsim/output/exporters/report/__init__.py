"""A search as one HTML page: what was found, how sure it is, and what else was close.

The page is a single file that loads nothing: pictures are data URLs, and a Content-Security-Policy
forbids requests. Names and texts are escaped by the template, and in JSON for the script.
"""

from __future__ import annotations

from typing import Any, BinaryIO

from patchsim.errors import escaped, printable
from patchsim.machine.memory import format_size
from patchsim.metrics.written import told
from patchsim.output import columns, html_page, labels, rgb
from patchsim.output.contract import Finished
from patchsim.output.exporters.report import crops, layers
from patchsim.output.report import Report
from patchsim.output.report_parts import Match, box

SUFFIXES = (".html",)
IS_PER_KERNEL = False
NEEDS_MAP = False  # a map is shown where one is kept
NEEDS_IMAGE = True

# Digits behind the point; scores have six digits in all.
_DIGITS = {"x_subpixel": 3, "y_subpixel": 3, "scale": 4, "angle": 2}


def working_bytes(cells: int, pixels: int) -> int:
    # The image in RGB and in Pillow, and a copy that is reduced; the rows of a map that is reduced.
    return 10 * pixels + 4 * cells


def check_image(path: str, height: int, width: int) -> None:
    """Any size of an image will do."""


def write(file: BinaryIO, search: Finished, kernel: int, path: str) -> str:  # noqa: ARG001 - as `FileExporter` has it
    page = html_page.render(__name__, _context(search))
    file.write(page)
    return f": {format_size(len(page))}"


def _context(search: Finished) -> dict[str, Any]:
    report = search.report
    view = search.view
    picture = rgb.picture(view.pixels, view.span, view.low)
    kernels = crops.displayed(search)
    names = [name for name in report.columns if name != "corners"]
    rows = [
        {
            "number": number,
            "label": labels.text(number, match, labels.DEFAULT),
            "score": match.score,
            "corners": [list(corner) for corner in match.corners or box(match)],
            "cells": [_text(match, name) for name in names],
            "values": [columns.value(match, name) for name in names],
            "crop": crop,
        }
        for number, (match, crop) in enumerate(
            zip(report.matches, crops.of(search, picture, kernels), strict=True), 1
        )
    ]
    heat = layers.heat(search)
    return {
        "report": report,
        "summary": report.summary,
        "command": None if search.command is None else escaped(search.command),
        "columns": names,
        "rows": rows,
        "picture": layers.background(picture),
        "reduced": max(picture.size) > layers.SIDE or view.factor > 1,
        "heat": heat,
        "histogram": layers.histogram(search),
        "kernels": crops.kernels(search, kernels),
        "plans": _plans(report),
        "data": _json(rows, report),
    }


def _plans(report: Report) -> list[tuple[str, str]]:
    """Return the title and the text of each plan, with the kernel's name if there are several."""
    names = [f" for {printable(one.name)}" for one in report.kernels]
    if len(names) == 1 or len(names) != len(report.plans):  # as of poses
        names = [""] * len(report.plans)
    plans = zip(report.plans, names, strict=True)
    return [(f"Plan{name}: {plan.engine}", str(plan)) for plan, name in plans]


def _json(rows: list[dict[str, Any]], report: Report) -> str:
    """Return what the script needs, as text for a script's tag."""
    thresholds = [one.threshold for one in report.kernels if one.threshold is not None]
    kept = {
        "width": report.width,
        "height": report.height,
        "threshold": min(thresholds, default=None),
        "rows": [{key: row[key] for key in ("number", "score", "values")} for row in rows],
    }
    return html_page.json_of(kept)


def _text(match: Match, name: str) -> str:
    value = columns.value(match, name)
    if value is None:
        return ""
    if name == "score":
        return told(value)
    if isinstance(value, float):
        return f"{value:.{_DIGITS[name]}f}" if name in _DIGITS else f"{value:.6g}"
    return printable(str(value))
