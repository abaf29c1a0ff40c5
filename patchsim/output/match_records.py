"""The matches of a report in the forms that exporters of text take."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from patchsim.output import report as reports
from patchsim.output.contract import Table
from patchsim.output.report import COLUMNS, Report


@dataclass(frozen=True)
class MatchRecords:
    """A report as `contract.Records`: one row or JSON object for each match."""

    report: Report

    @property
    def columns(self) -> tuple[str, ...]:
        return reports.columns(self.report)

    def rows(self) -> Iterator[tuple[Any, ...]]:
        names = self.columns
        for match in self.report.matches:
            row = tuple(getattr(match, name) for name in names)
            if self.report.posed:
                *others, corners = row
                row = *others, " ".join(f"{x},{y}" for x, y in corners)
            yield row

    def objects(self) -> list[dict[str, Any]]:
        return reports.objects(self.report)

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
        if report.min_visible is not None:
            document["min_visible"] = report.min_visible
        if report.channel_weights is not None:
            document["channel_weights"] = list(report.channel_weights)
        if report.poses is not None:
            document["poses"] = asdict(report.poses)
        if report.best_below is not None:
            document["best_below"] = asdict(report.best_below)
        return document

    def table(self) -> Table:
        """Return numbered rows; scores are rounded down, so that only what is 1 reads as 1."""
        score, rest = COLUMNS.index("score"), len(COLUMNS)
        rows = (
            (
                str(number),
                *map(str, row[:score]),
                _rounded_down(row[score]),
                *map(str, row[score + 1 : rest]),
                *map(_cell, row[rest:]),
            )
            for number, row in enumerate(self.rows(), 1)
        )
        return Table(("", *self.columns), rows, text="kernel")


def _rounded_down(value: float, digits: int = 6) -> str:
    scale = 10**digits
    return f"{math.floor(value * scale) / scale:.{digits}f}"


def _cell(value: float | str | None) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else f"{value:.4f}"
