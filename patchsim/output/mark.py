"""The mark of pictures that patchsim draws: their software is ``patchsim``.

A folder that is searched may hold heatmaps, overlays and maps of earlier searches, which `is_own`
tells from pictures that were meant. PNG files have the mark in a text before their pixels, TIFF in
a tag, JPEG and WebP in their EXIF data, Zarr in the attributes of the array. A .npy has no place
for it.
"""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path
from typing import BinaryIO

SOFTWARE = "patchsim"
_ATTRIBUTE = "software"
ATTRIBUTES = {_ATTRIBUTE: SOFTWARE}  # of a Zarr array
# EXIF data with nothing but the tag of the software (305), a text.
EXIF = struct.pack("<2sHIHHHIII", b"II", 42, 8, 1, 305, 2, 9, 26, 0) + SOFTWARE.encode() + b"\0"

_MOST = 4096  # bytes at either end of a file in which the mark stands
_MOST_ABOUT = 1 << 20  # bytes of the description of a Zarr array
_PNG, _PNG_TEXT = b"\x89PNG\r\n\x1a\n", b"tEXtSoftware\0" + SOFTWARE.encode()
_BIG_TIFF = b"II\x2b\0"
_BIG_TIFF_ENTRY = struct.pack(
    "<HHQ", 305, 2, len(SOFTWARE) + 1
)  # behind it stands the text's place
_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")


def is_own(path: str) -> bool:
    """Return whether a file is a picture that patchsim drew, as the file says."""
    if Path(path).suffix.lower() == ".zarr":
        return _is_in_zarr(Path(path) / "zarr.json")
    if not path.lower().endswith(_ENDINGS):
        return False
    with contextlib.suppress(OSError, ValueError), Path(path).open("rb") as file:
        start = file.read(_MOST)
        if start.startswith(_PNG):
            return _PNG_TEXT in start
        if start.startswith(b"\xff\xd8"):
            return EXIF in start
        if start.startswith(b"RIFF"):
            return EXIF in _end(file)
        if start.startswith(_BIG_TIFF):
            return _is_in_tiff(start)
    return False


def _is_in_zarr(about: Path) -> bool:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError):
        with about.open("rb") as file:
            import json  # few folders have one

            described = json.loads(file.read(_MOST_ABOUT))
        return bool(described["attributes"][_ATTRIBUTE] == SOFTWARE)
    return False


def _end(file: BinaryIO) -> bytes:
    """Return the last bytes of a file: the EXIF data of a WebP stand behind its pixels."""
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _MOST))
    return file.read()


def _is_in_tiff(start: bytes) -> bool:
    place, _, rest = start.partition(_BIG_TIFF_ENTRY)
    if len(rest) < 8 or len(place) < 16:
        return False
    (at,) = struct.unpack_from("<Q", rest)
    return start[at : at + len(SOFTWARE) + 1] == SOFTWARE.encode() + b"\0"
