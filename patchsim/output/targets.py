"""The files a search writes: their names, whether they can be written, what goes into them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError, printable
from patchsim.events import Observer
from patchsim.files import atomic
from patchsim.output.report import Report
from patchsim.pictures.reader import Picture
from patchsim.types import Pixels

PathLike = str | os.PathLike[str]

# What drawing takes beside the map and the picture: a byte a cell; three bytes a pixel and four in
# Pillow.
_HEATMAP_BYTES = 1
_OVERLAY_BYTES = 7


@dataclass(frozen=True)
class Outputs:
    """Paths, checked; of maps and heatmaps one a kernel, or none."""

    maps: tuple[str, ...]
    heatmaps: tuple[str, ...]
    overlay: str | None
    keeps_map: bool

    @property
    def paths(self) -> tuple[str, ...]:
        """All files that will be written."""
        return (*self.heatmaps, *self.maps, *([] if self.overlay is None else [self.overlay]))

    def drawing_bytes(self, cells: int, pixels: int) -> int:
        """Memory that drawing takes, for the largest map and the image."""
        return max(
            _HEATMAP_BYTES * cells if self.heatmaps else 0,
            _OVERLAY_BYTES * pixels if self.overlay else 0,
        )

    def write(
        self,
        report: Report,
        maps: Sequence[NDArray[np.float32]],
        pixels: Pixels,
        span: float,
        low: float,
        observer: Observer,
    ) -> None:
        """Write the files of a finished search.

        Raises
        ------
        OutputError
            If one cannot be written; those before it are there.
        """
        if self.heatmaps or self.overlay:
            from patchsim.output import drawing

        names = [kernel.name for kernel in report.kernels]
        several = len(names) > 1
        for path, scores, name in zip(self.heatmaps, maps, names, strict=False):
            with atomic.writing(path) as file:
                least, most = drawing.heatmap(scores, file)
            of = f" of {printable(name)}" if several else ""
            observer.wrote(
                f"heatmap {printable(path)}{of}: scores {least:.6f} (dark) to {most:.6f} (bright)"
            )
        for path, scores, kernel in zip(self.maps, maps, report.kernels, strict=False):
            with atomic.writing(path) as file:
                # Header and values by hand: np.save seeks, which a pipe cannot.
                header = np.lib.format.header_data_from_array_1_0(scores)
                np.lib.format.write_array_header_1_0(file, header)
                file.write(scores.data)
            rows, cols = scores.shape
            x, y = kernel.origin
            start = f" from x={x}, y={y}" if (x, y) != (0, 0) else ""
            observer.wrote(f"map {printable(path)}: float32, {rows} rows x {cols} columns{start}")
        if self.overlay:
            with atomic.writing(self.overlay) as file:
                drawing.overlay(pixels, span, low, report.matches, file)
            count = len(report.matches)
            observer.wrote(f"overlay {printable(self.overlay)}: {count} box{'es' * (count != 1)}")


def check(
    pictures: Sequence[Picture],
    map: bool | PathLike,
    heatmap: PathLike | None,
    overlay: PathLike | None,
    mask: Picture | None = None,
) -> Outputs:
    """The files that are asked for, for the image and then the kernels.

    Raises
    ------
    InputError
        If a path cannot be written, is an input, stands for several files, or is none.
    """
    stems = [picture.stem for picture in pictures[1:]]
    map_path = None if isinstance(map, bool) else _path(map, "map")
    heatmap_path = None if heatmap is None else _path(heatmap, "heatmap")
    drawn = None if overlay is None else _path(overlay, "overlay")
    if drawn is not None and "{kernel}" in drawn:
        raise InputError(f"overlay {printable(drawn)} shows all kernels; take {{kernel}} out")
    maps = _per_kernel(map_path, "map", stems)
    heatmaps = _per_kernel(heatmap_path, "heatmap", stems)
    pngs = [*heatmaps, *([] if drawn is None else [drawn])]
    read = pictures if mask is None else [*pictures, mask]
    inputs = [picture.file for picture in read if picture.file]
    for path in maps:
        atomic.check_target(path, ".npy", inputs)
    for path in pngs:
        atomic.check_target(path, ".png", inputs)
    atomic.check_distinct([*maps, *pngs])
    return Outputs(maps, heatmaps, drawn, map is not False or heatmap is not None)


def _path(value: object, option: str) -> str:
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        raise InputError(f"{option} {value!r} is no path; give the path of a file to write")
    return os.fspath(value)


def _per_kernel(path: str | None, option: str, stems: list[str]) -> tuple[str, ...]:
    """The path for each kernel: ``{kernel}`` is its stem, with -2, -3 where stems repeat."""
    if path is None:
        return ()
    if len(stems) > 1 and "{kernel}" not in path:
        raise InputError(
            f"{option} {printable(path)} is one file for {len(stems)} kernels;"
            " put {kernel} into its name"
        )
    taken: set[str] = set()
    paths = []
    for stem in stems:
        unique, count = stem, 1
        # Some file systems take A and a for one name.
        while unique.casefold() in taken:
            count += 1
            unique = f"{stem}-{count}"
        taken.add(unique.casefold())
        paths.append(path.replace("{kernel}", unique))
    return tuple(paths)
