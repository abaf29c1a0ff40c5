"""A map as a BigTIFF in tiles of float32 that are not compressed, so that each has its place."""

from __future__ import annotations

import io
from typing import Any, BinaryIO

from numpy.typing import NDArray

from patchsim.errors import InputError, printable
from patchsim.geometry.tiles import Tile
from patchsim.metrics import Indices
from patchsim.output import mark
from patchsim.output.map_files import placed
from patchsim.output.map_files.placed import PlacedWriter

IS_COMPRESSED = False
_BYTES = 4
_SIDE, _MULTIPLE = 256, 16  # of a tile's sides; TIFF wants multiples


def check(path: str) -> None:
    """Check that tifffile is installed."""
    try:
        import tifffile  # noqa: F401 - whether it is there
    except ImportError as error:
        raise InputError(
            f"map {printable(path)} needs the package tifffile: pip install tifffile;\nor give a"
            " name that ends in .npy"
        ) from error


class TiffMap:
    """Implements `contract.MapSink`."""

    def __init__(self, file: BinaryIO, shape: tuple[int, int]) -> None:
        import tifffile

        tall, wide = (min(_SIDE, -(-side // _MULTIPLE) * _MULTIPLE) for side in shape)
        self._tile, self._across = (tall, wide), -(-shape[1] // wide)
        written = _Unnamed(file)
        with tifffile.TiffWriter(written, bigtiff=True, byteorder="<") as writer:
            writer.write(
                None,
                shape=shape,
                dtype="<f4",
                tile=self._tile,
                photometric="minisblack",
                software=mark.SOFTWARE,
                metadata=None,
            )
        self._start = written.end - self._across * -(-shape[0] // tall) * tall * wide * _BYTES
        self._writer = PlacedWriter(file, file.tell())

    def put(self, tile: Tile, scores: NDArray[Any]) -> None:
        """Write the part of each of the file's tiles that a tile of scores covers."""
        tall, wide = self._tile
        bottom, right = tile.top + tile.rows, tile.left + tile.cols
        for down in range(tile.top // tall, (bottom - 1) // tall + 1):
            for across in range(tile.left // wide, (right - 1) // wide + 1):
                top, left = max(tile.top, down * tall), max(tile.left, across * wide)
                rows = slice(top - tile.top, min(bottom, (down + 1) * tall) - tile.top)
                cols = slice(left - tile.left, min(right, (across + 1) * wide) - tile.left)
                place = (down * self._across + across) * tall * wide
                place += (top - down * tall) * wide + left - across * wide
                self._writer.write(self._start + place * _BYTES, wide * _BYTES, scores[rows, cols])

    def settle(self, rows: Indices, cols: Indices, scores: NDArray[Any]) -> None:
        """Write single cells."""
        placed.settle(self, rows, cols, scores)

    def finish(self) -> None:
        """Nothing is left."""


class _Unnamed(io.RawIOBase):
    """A file for tifffile, which cannot take one whose name is the number of a descriptor."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self.end = file, 0

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        written = self._file.write(data)
        self.end = max(self.end, self._file.tell())
        return written

    def seek(self, place: int, whence: int = 0, /) -> int:
        return self._file.seek(place, whence)

    def tell(self) -> int:
        return self._file.tell()


def open_sink(place: BinaryIO, shape: tuple[int, int], tile: tuple[int, int] | None) -> TiffMap:  # noqa: ARG001 - as `Sinks` has it
    """Begin a map; as for `map_files.sink_of`."""
    return TiffMap(place, shape)
