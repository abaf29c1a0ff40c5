"""Pictures in the format that the name of their file asks for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from patchsim.errors import InputError, printable
from patchsim.output import mark

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")
_FORMATS = {".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP"}
_MOST_SIDE = {"JPEG": 65_500, "WEBP": 16_383}  # of the encoders
_QUALITY = 90


def check_side(path: str, width: int, height: int) -> None:
    """Check that a picture of this size can be written in the format of a path.

    Raises
    ------
    InputError
        If the picture is too large for the format.
    """
    form = _form(path)
    most = _MOST_SIDE.get(form)
    if most is not None and max(width, height) > most:
        raise InputError(
            f"cannot write {printable(path)}: the picture has {width}x{height} pixels, and"
            f" {form} takes {most:,} a side; end the name in .png"
        )


def save(picture: Image.Image, file: BinaryIO, path: str) -> None:
    """Write an RGB picture with the mark of patchsim: JPEG or WebP if the path says so, or PNG."""
    form = _form(path)
    options: dict[str, Any] = {"quality": _QUALITY, "exif": b"Exif\0\0" + mark.EXIF}
    if form == "JPEG":
        # Colours keep their full resolution, or thin yellow lines would turn grey.
        options["subsampling"] = 0
    if form == "PNG":
        from PIL.PngImagePlugin import PngInfo

        text = PngInfo()
        text.add_text("Software", mark.SOFTWARE)
        options = {"pnginfo": text}
    picture.save(file, form, **options)


def _form(path: str) -> str:
    return _FORMATS.get(Path(path).suffix.lower(), "PNG")
