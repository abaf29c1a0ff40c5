"""The matches of a report in the forms that exporters of text take."""

from __future__ import annotations

import re
from collections.abc import Iterator, Set
from dataclasses import asdict
from typing import Any, NamedTuple

from patchsim.errors import escaped
from patchsim.metrics.written import DECIMALS, rounded_down
from patchsim.output import columns
from patchsim.output.contract import Table
from patchsim.output.report import Report
from patchsim.output.report_parts import Match

# Columns that a narrow terminal leaves out, the first first.
DROPPED = (
    "corners", "margin", "height", "width", "flip", "max_difference", "scale_y", "scale_x",
    "differing", "worst", "y_subpixel", "x_subpixel", "inverted", "angle", "scale", "frame",
)  # fmt: skip
_MOST_DECIMALS = 17  # where scores differ by less than the usual ones tell
# Further digits of fitted poses differ between equal pixels; `pose_selection` ranks without them.
_POSED_DECIMALS = 8
# The decimals of other numbers in a table for people.
_CELL_DECIMALS = {
    "margin": 4,
    "worst": 4,
    "max_difference": 0,
    "scale": 3,
    "scale_x": 3,
    "scale_y": 3,
    "angle": 2,
    "x_subpixel": 2,
    "y_subpixel": 2,
}


class MatchRecords(NamedTuple):
    """A report as `contract.Records`: one row or JSON object for each match.

    Attributes
    ----------
    report : Report
    chosen : tuple of str or None
        What is printed of a match, of `choices.COLUMNS`; None for the usual columns and keys.
    """

    report: Report
    chosen: tuple[str, ...] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of TSV and CSV: those of a table, then the centres."""
        if self.chosen is not None:
            return self.chosen
        return self.report.columns + columns.CENTER_COLUMNS

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """List the matches as rows; scores have the digits that distinguish them."""
        most = _POSED_DECIMALS if self.report.posed else _MOST_DECIMALS
        decimals = _distinguishing({match.score for match in self.report.matches}, most)
        for match in self.report.matches:
            yield tuple(_printed(self._value(match, name), name, decimals) for name in self.columns)

    def lines(self, template: str) -> Iterator[str]:
        """Fill a template with names of columns in braces for each match; None is empty."""
        names = tuple(dict.fromkeys(re.findall(r"\{(\w+)\}", template)))
        for row in MatchRecords(self.report, names).rows():
            texts = {
                name: "" if value is None else escaped(value)
                for name, value in zip(names, row, strict=True)
            }
            parts = re.split(r"\{(\w+)\}", template)  # text and names in turn
            parts[1::2] = [texts[name] for name in parts[1::2]]
            yield "".join(parts)

    def objects(self) -> list[dict[str, Any]]:
        if self.chosen is None:
            return columns.objects(self.report.matches, columns.keys(self.report.columns))
        return [
            {name: self._value(match, name) for name in self.chosen}
            for match in self.report.matches
        ]

    def _value(self, match: Match, name: str) -> Any:
        return self.report.image if name == "image" else columns.value(match, name)

    def document(self) -> dict[str, Any]:
        """Return all of the report but its arrays as one JSON object."""
        report = self.report
        only = report.kernels[0] if len(report.kernels) == 1 else None
        stride_y, stride_x = report.stride
        document: dict[str, Any] = {
            "image": report.image,
            "width": report.width,
            "height": report.height,
            "metric": report.metric,
            "stride": [stride_x, stride_y],
            "device": report.device,
            "engine": only and only.engine,
            "tolerance": None if only is None else only.tolerance,
            "heatmap": only and only.heatmap,
            "map": only and only.map,
            "kernels": [asdict(kernel) for kernel in report.kernels],
            "matches": self.objects(),
            "seconds": report.seconds,
            "color": report.color,
            "region": report.region and list(report.region),
            "padding": report.padding,
            "threshold": report.threshold,
        }
        if report.level:
            document["level"] = report.level
        if report.min_visible is not None:
            document["min_visible"] = report.min_visible
        if report.channel_weights is not None:
            document["channel_weights"] = list(report.channel_weights)
        if report.poses is not None:
            poses = asdict(report.poses)
            stretches = poses.pop("stretches")
            if stretches:
                poses["stretches"] = [[across, down] for down, across in stretches]
            document["poses"] = poses
        if report.skipped:
            document["skipped"] = [asdict(one) for one in report.skipped]
        if report.missing:
            document["missing"] = [list(box) for box in report.missing]
        if report.frames:
            document["frames"] = [asdict(one) for one in report.frames]
        if report.best_below is not None:
            document["best_below"] = asdict(report.best_below)
        return document

    def table(self) -> Table:
        """Return numbered rows; scores are rounded down, so that only what is 1 reads as 1."""
        names = self.report.columns if self.chosen is None else self.chosen
        rows = (
            (str(number), *(_cell(self._value(match, name), name) for name in names))
            for number, match in enumerate(self.report.matches, 1)
        )
        dropped = DROPPED if self.chosen is None else ()
        return Table(("", *names), rows, texts=("image", "kernel"), dropped=dropped)


def _distinguishing(scores: Set[float], most: int) -> int:
    """Return the number of decimals in which scores, rounded down, still differ, or the most."""
    for decimals in range(DECIMALS, most):
        if len({rounded_down(score, decimals) for score in scores}) == len(scores):
            return decimals
    return most


def _printed(value: Any, name: str, decimals: int) -> Any:
    """Return a value as it stands in a row."""
    if name == "score":
        return float(rounded_down(value, decimals))
    if name in ("margin", "worst", "max_difference") and value is not None:
        return round(value, decimals)
    if name == "inverted":
        return str(value).lower()  # as in JSON
    if name == "corners" and value is not None:
        return " ".join(f"{x},{y}" for x, y in value)
    return value


def _cell(value: Any, name: str) -> str:
    """Return the text of a table's cell."""
    if value is None:
        return ""
    if name == "score":
        return str(rounded_down(value, DECIMALS))
    if name == "corners":
        return " ".join(f"{x:.1f},{y:.1f}" for x, y in value)
    if name == "inverted":
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.{_CELL_DECIMALS.get(name, 1)}f}"
    return str(value)
