"""How a picture must be turned to stand upright: by its EXIF data, or else by XMP.

EXIF wins where both tell it, as the Metadata Working Group has it (Guidelines for Handling Image
Metadata 2.0); in a TIFF its tag is EXIF's. XMP tells it only where EXIF is absent, damaged or has
no value from 1 to 8. AVIF and HEIC (ISO/IEC 23008-12) and JPEG XL store turns of their own, and
EXIF and XMP do not count there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from PIL import ExifTags, Image

if TYPE_CHECKING:
    from typing import Any

UPRIGHT = 1
_VALUES = range(1, 9)
_XMP = rb"""tiff:Orientation\s*(?:=\s*["']|>)\s*([1-8])\s*["'<]"""


def of_image(image: Image.Image) -> int:
    """Return the orientation of a picture that Pillow opened, 1 to 8."""
    try:
        if image.format == "AVIF":  # Pillow puts its turns into its EXIF data
            exif = Image.Exif()
            exif.load(image.info.get("exif", b""))
        elif image.format == "PNG":  # Pillow would decode it to look behind the pixels, too
            exif = Image.Image.getexif(image)
        else:
            exif = image.getexif()
        stored = exif.get(ExifTags.Base.Orientation)
    except Exception:  # Pillow's parser raises exceptions of many types for damaged EXIF data
        stored = None
    if image.format == "AVIF":
        return chosen(stored, None)
    return chosen(stored, image.info.get("xmp") or image.info.get("XML:com.adobe.xmp"))


def chosen(exif: Any, xmp: Any) -> int:
    """Return the orientation, 1 to 8.

    Parameters
    ----------
    exif : object
        The value in the EXIF data, whatever it is.
    xmp : object
        The XMP data, if they are bytes or text.
    """
    if isinstance(exif, int) and exif in _VALUES:
        return int(exif)
    data = xmp.encode(errors="replace") if isinstance(xmp, str) else xmp
    tag = re.search(_XMP, data) if isinstance(data, bytes) else None
    return int(tag[1]) if tag else UPRIGHT
