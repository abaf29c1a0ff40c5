"""The request to a scan about one picture."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from patchsim.errors import InputError, printable
from patchsim.geometry.area import Region, check_region
from patchsim.output import names

if TYPE_CHECKING:
    from patchsim.pictures.reader import Source

_KEYS = ("image", "region")
# Further keys of the objects that a scan prints, so that they can be the list of another scan.
_ANSWER_KEYS = ("image_bytes", "width", "height", "level", "threshold", "matches", "error", "stamp")
# The key of the size and time of a file that could not be searched, in the file of `--resume`.
STAMP = "stamp"
# The key of the first line of a file that `--resume` wrote, which asks for no picture.
HEADER = "scan"
_EXAMPLE = '{"image": "a.png", "region": [0, 0, 64, 48]}'


@dataclass(frozen=True, slots=True)
class Request:
    """A picture to search.

    Attributes
    ----------
    name : str
        The picture's name as it was given.
    source : path, PIL image or array; None if there is a fault
    region : (x, y, width, height) or None
        The part of it to search, in place of the option of the scan.
    fault : str or None
        Why there is no picture to search; the request is answered with this error.
    """

    name: str
    source: Source | None = None
    region: Region | None = None
    fault: str | None = None


def of_line(line: str) -> Request | None:
    """Return what a line of a list asks: a path, or a JSON object with `image` and `region`.

    The first line of a file that `--resume` wrote asks nothing.
    """
    if not line.lstrip().startswith("{"):
        return of_path(line)
    try:
        value = json.loads(line)
    except ValueError as error:
        return Request(line, fault=f"{printable(line)} is no JSON ({error}); give {_EXAMPLE}")
    except RecursionError:
        return Request(line, fault=f"{printable(line)} is nested too deeply; give {_EXAMPLE}")
    if set(value) == {HEADER} and isinstance(value[HEADER], dict):
        return None
    try:
        return of_object(value)
    except InputError as error:
        return Request(line, fault=str(error))


def of_path(path: str) -> Request:
    """Return the request for a path; standard input cannot be one of many pictures."""
    if path == "-":
        return Request(path, fault="'-' is no picture of a list; give the path of a file")
    return Request(path, path)


def of_object(value: Mapping[str, Any]) -> Request:
    """Return the request of an object with the keys `image` and, where asked, `region`.

    What else a scan prints of a picture is passed over.

    Raises
    ------
    InputError
        If a key is unknown or lacks, or its value is of another kind.
    """
    unknown = [key for key in value if key not in (*_KEYS, *_ANSWER_KEYS)]
    if unknown:
        raise InputError(
            f"{printable(unknown[0])} is no key of a request; there is {', '.join(_KEYS)}"
        )
    try:
        image = names.original(value, "image")
        os.fsencode(image)
    except UnicodeEncodeError:  # half of a character of UTF-16, which no path holds
        raise InputError(f"{printable(image)} cannot be a path; give {_EXAMPLE}") from None
    except (KeyError, TypeError, ValueError):
        if value.get("image_bytes") is not None:
            raise InputError(
                f"image_bytes is {printable(value['image_bytes'])}, not the bytes of a path as"
                " hexadecimal digits; give these, or image alone"
            ) from None
        needed = "a request has an image, the path of a picture"
        raise InputError(f"{needed}; give {_EXAMPLE}") from None
    return replace(of_path(image), region=check_region(value.get("region")))
