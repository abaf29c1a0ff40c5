"""A search as one HTML page: what was found, how sure it is, and what else was close.

The page is a single file that loads nothing: pictures are data URLs, and a Content-Security-Policy
forbids requests. Names and texts are escaped by the template, and in JSON for the script.
"""

from __future__ import annotations

import base64
import hashlib
import json
from importlib import resources
from typing import Any, BinaryIO

from patchsim.errors import escaped, printable
from patchsim.output import columns, labels
from patchsim.output.contract import Finished
from patchsim.output.exporters import overlay
from patchsim.output.exporters.report import crops, layers
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


def write(file: BinaryIO, search: Finished, kernel: int, path: str) -> str:  # noqa: ARG001
    text = render(search).encode(errors="replace")  # lone surrogates of file names
    file.write(text)
    return f": {len(text) / 1e6:.1f} MB"


def render(search: Finished) -> str:
    """Return the page of a finished search."""
    import jinja2  # which takes longer to load than most searches

    files = resources.files(__package__)
    style, script = (
        files.joinpath(name).read_text(encoding="utf-8") for name in ("page.css", "page.js")
    )
    environment = jinja2.Environment(
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["printable_text"] = printable
    template = environment.from_string(files.joinpath("page.html.j2").read_text(encoding="utf-8"))
    policy = (
        f"default-src 'none'; img-src data:; style-src {_hash(style)}; script-src {_hash(script)};"
        " base-uri 'none'; form-action 'none'"
    )
    return template.render(policy=policy, style=style, script=script, **_context(search))


def _hash(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _context(search: Finished) -> dict[str, Any]:
    report = search.report
    picture = overlay.displayable(search.pixels, search.span, search.low)
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
        "reduced": max(picture.size) > layers.SIDE,
        "heat": heat,
        "histogram": layers.histogram(search),
        "kernels": crops.kernels(search, kernels),
        "plans": [(plan.engine, str(plan)) for plan in report.plans],
        "data": _json({"rows": rows, "width": report.width, "height": report.height}),
    }


def _json(value: dict[str, Any]) -> str:
    """Return JSON that may stand between tags of a script."""
    kept = {key: value[key] for key in ("width", "height")}
    kept["rows"] = [
        {key: row[key] for key in ("number", "score", "values")} for row in value["rows"]
    ]
    text = json.dumps(kept, allow_nan=False, ensure_ascii=True)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _text(match: Match, name: str) -> str:
    value = columns.value(match, name)
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.{_DIGITS[name]}f}" if name in _DIGITS else f"{value:.6g}"
    return printable(str(value))
