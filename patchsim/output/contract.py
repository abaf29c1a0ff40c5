"""The contract of outputs: what an exporter gets, and what it defines.

An exporter is a module with the names of `FileExporter` or `TextExporter`. A new format is a new
file beside the others, and its name in their table: `exporters.NAMES` for files that a search
writes, `choices.FORMATS` for text on standard output. Modules of exporters are imported when their
format is asked for, so that a search without pictures imports no drawing.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Protocol, TextIO

import numpy as np
from numpy.typing import NDArray

from patchsim.output.report import Report
from patchsim.output.report_parts import KernelReport
from patchsim.pictures.reader import Picture
from patchsim.types import Pixels

if TYPE_CHECKING:
    from patchsim.output.reduced_image import View


class Finished(NamedTuple):
    """A finished search, as exporters of files get it.

    Attributes
    ----------
    report : Report
    maps : sequence of float32 arrays [rows, cols]
        The scores of all windows, one array for each kernel; empty if no maps were kept.
    pixels : array [H, W, C]
        The image as it is shown; one that is read by windows, where it is too large for memory.
    span, low : float
        The data range R of `pixels`, and its lower end.
    reduced : View or None
        The image as pictures show it, where that is not all of its pixels.
    factors : sequence of int
        One for each map: the best of so many rows and columns of windows is a cell of it.
    heatmap_size : int or None
        The most pixels of a heatmap's side, if they were given.
    pictures : sequence of Picture
        The kernels as they were opened, in the order of the report's.
    command : str or None
        The command that asked for the search, quoted for a shell.
    labels : sequence of str
        What the labels of boxes say, of `choices.LABELS`; empty for no labels.
    """

    report: Report
    maps: Sequence[NDArray[np.float32]]
    pixels: Pixels
    span: float
    low: float
    factors: Sequence[int] = ()
    pictures: Sequence[Picture] = ()
    command: str | None = None
    heatmap_size: int | None = None
    labels: Sequence[str] = ()
    reduced: View | None = None

    @property
    def view(self) -> View:
        """The image as pictures show it."""
        from patchsim.output.reduced_image import View  # where the image is drawn

        return self.reduced or View(self.pixels, self.span, self.low)

    @property
    def kernels(self) -> tuple[KernelReport, ...]:
        return self.report.kernels


class FileExporter(Protocol):
    """One kind of file that a search writes, named like the option that asks for it.

    Attributes
    ----------
    SUFFIXES : tuple of str
        How the file's name may end, each with its dot; the first is the usual one.
    IS_PER_KERNEL : bool
        Each kernel has a file of its own. Otherwise one file shows all kernels.
    NEEDS_MAP : bool
        The file is made from maps, so that the search keeps them.
    NEEDS_IMAGE : bool
        The file shows the image, so that the search keeps its pixels.
    """

    SUFFIXES: tuple[str, ...]
    IS_PER_KERNEL: bool
    NEEDS_MAP: bool
    NEEDS_IMAGE: bool

    def working_bytes(self, cells: int, pixels: int) -> int:
        """Estimate the memory that `write` takes for a map of so many cells and such an image."""

    def check_image(self, path: str, height: int, width: int) -> None:
        """Check that a file of this name can show an image of this size.

        Raises
        ------
        InputError
            If it cannot.
        """

    def write(self, file: BinaryIO, search: Finished, kernel: int, path: str) -> str:
        """Write the file and describe it.

        Parameters
        ----------
        file : binary file
            It may be a pipe, so that it cannot seek.
        search : Finished
        kernel : int
            The index of the kernel whose file this is; 0 for a file of all kernels.
        path : str
            The file's path, whose ending says the format.

        Returns
        -------
        str
            The text that follows the file's name in the notice to the user.
        """


class Table(NamedTuple):
    """Results as a person reads them; the columns `texts` are text, the others numbers.

    A terminal that is too narrow leaves out the columns in `dropped`, as many as it must, the first
    first.
    """

    columns: Sequence[str]
    rows: Iterable[Sequence[str]]
    texts: Sequence[str]
    dropped: Sequence[str] = ()


class Records(Protocol):
    """Results in each of the forms that exporters of text take."""

    @property
    def columns(self) -> Sequence[str]:
        """The names of the values in a row."""

    def rows(self) -> Iterable[Sequence[Any]]:
        """List the results as rows of values; a missing value is None."""

    def objects(self) -> Iterable[dict[str, Any]]:
        """List the results as JSON objects."""

    def document(self) -> Any:
        """Return the results and what they belong to as one JSON value."""

    def table(self) -> Table:
        """Return the results as a person reads them."""


class TextExporter(Protocol):
    """One way to print results.

    Attributes
    ----------
    CAN_APPEND : bool
        Results can be written as they come, each behind those before. Otherwise all are written
        at once.
    """

    CAN_APPEND: bool

    def write(self, records: Records, file: TextIO, *, is_first: bool) -> None:
        """Write results; those that are not the first go behind others, without a header."""
