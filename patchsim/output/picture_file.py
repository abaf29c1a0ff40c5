"""Pictures in the format that the name of their file asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from patchsim.errors import OutputError, printable

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_MOST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}  # of the encoders
_QUALITY = 90


def save(picture: Image.Image, file: BinaryIO, path: str) -> None:
    """Write an RGB picture: JPEG or WebP if the path says so, otherwise PNG.

    Raises
    ------
    OutputError
        If the picture is too large for the format.
    """
    form = _FORMATS.get(Path(path).suffix.lower(), "PNG")
    most = _MOST_SIDE.get(form)
    if most is not None and max(picture.size) > most:
        raise OutputError(
            f"cannot write {printable(path)}: the picture is {picture.width}x{picture.height}"
            f" pixels, and {form} takes {most:,} a side; end the name in .png"
        )
    # Colours keep their full resolution, or thin yellow lines would turn grey.
    options: dict[str, Any] = {"quality": _QUALITY, "subsampling": 0} if form == "JPEG" else {}
    if form == "WEBP":
        options = {"quality": _QUALITY}
    picture.save(file, form, **options)
