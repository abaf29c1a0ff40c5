"""The results of a scan, and how they are printed.

Annotations of the public class are evaluated, as those in `output.report`.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from patchsim.errors import PatchsimError
from patchsim.geometry.area import Region
from patchsim.output import columns
from patchsim.output.contract import Table
from patchsim.output.match_records import DROPPED, MatchRecords
from patchsim.output.report import Report
from patchsim.output.report_parts import Match


@dataclass(frozen=True)
class ScanResult:
    """The result of a scan in one picture; it is true if there is a match.

    Attributes
    ----------
    image : str
        The picture's name as it was given.
    region : (x, y, width, height) or None
        The part that was asked for with the picture.
    report : Report or None
        What `match` reports of the picture; None if it could not be searched.
    error : PatchsimError or None
        Why it could not be searched.
    """

    __module__ = "patchsim"

    image: str
    region: Region | None
    report: Report | None
    error: PatchsimError | None

    @property
    def matches(self) -> tuple[Match, ...]:
        """The matches; none if the picture could not be searched."""
        return () if self.report is None else self.report.matches

    def __bool__(self) -> bool:
        return bool(self.matches)


@dataclass(frozen=True)
class ScanRecords:
    """Results as `output.contract.Records`: a row a match, or a JSON object a picture.

    Attributes
    ----------
    results : sequence of ScanResult
    chosen : tuple of str or None
        What is printed of a match; None for the picture and the usual columns or keys.
    """

    results: Sequence[ScanResult]
    chosen: tuple[str, ...] | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of TSV and CSV, the picture first; none where no picture was searched."""
        return next((one.columns for one in self._of_matches(columns.CENTER_COLUMNS)), ())

    def rows(self) -> Iterator[tuple[Any, ...]]:
        return chain.from_iterable(one.rows() for one in self._of_matches(columns.CENTER_COLUMNS))

    def lines(self, template: str) -> Iterator[str]:
        """Fill a template with names of columns in braces for each match."""
        return chain.from_iterable(one.lines(template) for one in self._of_matches(()))

    def objects(self) -> Iterator[dict[str, Any]]:
        for result in self.results:
            yield _object(result, self.chosen)

    def document(self) -> list[dict[str, Any]]:
        return list(self.objects())

    def table(self) -> Table:
        tables = [one.table() for one in self._of_matches(())]
        if not tables:
            return Table((), (), ())
        first = tables[0]
        rows = (row[1:] for table in tables for row in table.rows)  # without a number
        dropped = DROPPED if self.chosen is None else ()
        return Table(first.columns[1:], rows, first.texts, dropped)

    def _of_matches(self, more: tuple[str, ...]) -> Iterator[MatchRecords]:
        """Yield the matches of each picture that was searched; the usual columns end with more."""
        for result in self.results:
            if result.report is not None:
                usual = ("image", *result.report.columns, *more)
                yield MatchRecords(result.report, self.chosen or usual)


@dataclass(frozen=True)
class NameRecords:
    """The names of pictures alone as `output.contract.Records`."""

    results: Sequence[ScanResult]

    columns = ("image",)

    def rows(self) -> Iterator[tuple[str]]:
        return ((result.image,) for result in self.results)

    def lines(self, template: str) -> Iterator[str]:
        raise NotImplementedError("a template is about matches")

    def objects(self) -> Iterator[dict[str, Any]]:
        return (_object(result, None) for result in self.results)

    def document(self) -> list[dict[str, Any]]:
        return list(self.objects())

    def table(self) -> Table:
        return Table(self.columns, self.rows(), self.columns)


def _object(result: ScanResult, chosen: tuple[str, ...] | None) -> dict[str, Any]:
    """Return the JSON object of a picture; it depends on the picture and the request alone."""
    record: dict[str, Any] = {"image": result.image}
    if result.region is not None:
        record["region"] = list(result.region)
    report = result.report
    if report is None:
        return {**record, "error": str(result.error)}
    record |= {"width": report.width, "height": report.height}
    if report.level:
        record["level"] = report.level
    if isinstance(report.threshold, float):
        record["threshold"] = report.threshold
    record["matches"] = MatchRecords(report, chosen).objects()
    return record


def is_of(line: dict[str, Any]) -> bool:
    """Return whether a JSON object is that of a picture."""
    return isinstance(line.get("image"), str) and ("error" in line or "matches" in line)
