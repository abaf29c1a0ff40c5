"""How large the tags of a TIFF are, before a library reads them as a whole.

The directories are those of TIFF 6.0, section 2, and of BigTIFF (43 in place of 42, and 64 bits).
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO, NamedTuple

from patchsim.errors import DamageError
from patchsim.pictures import metadata
from patchsim.pictures.limits import Limits

# Bytes of a value, by the number of its type.
_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8,
          17: 8, 18: 8}  # fmt: skip
# Tags of a few values: what a picture is like. The number of samples bounds theirs.
_FEW = frozenset(
    (254, 255, 256, 257, 258, 259, 262, 263, 266, 274, 277, 278, 280, 281, 282, 283, 284, 296, 317,
     322, 323, 332, 334, 338, 339, 340, 341, 529, 530, 531, 532, 32997)
)  # fmt: skip
_MOST_OF_FEW = 1 << 16
_MOST_ENTRIES = 1 << 16  # of a directory
_MOST_PAGES = 1000  # that are looked at
_COPIES = 16  # bytes for each of the file: numbers of two bytes become numbers of Python


class _Form(NamedTuple):
    """How directories are stored: formats of `struct`, and the bytes of a value that fit inside."""

    length: struct.Struct
    entry: struct.Struct
    next: struct.Struct
    inside: int


def _form(order: str, is_big: bool) -> _Form:
    length, entry, following = ("Q", "HHQ8x", "Q") if is_big else ("H", "HHI4x", "I")
    return _Form(
        struct.Struct(order + length),
        struct.Struct(order + entry),
        struct.Struct(order + following),
        8 if is_big else 4,
    )


def check(stream: BinaryIO, limits: Limits) -> None:
    """Check the tags of the first 1000 pages of a TIFF, without reading their values.

    Raises
    ------
    InputError
        If those of a page are too large.
    DamageError
        If a tag that has few values in every picture has more than 65536.
    """
    size = stream.seek(0, os.SEEK_END)
    stream.seek(0)
    start = stream.read(16).ljust(16, b"\0")
    order = "<" if start[:2] == b"II" else ">"
    is_big = struct.unpack_from(f"{order}H", start, 2)[0] == 43
    form = _form(order, is_big)
    place = int(form.next.unpack_from(start, 8 if is_big else 4)[0])
    seen: set[int] = set()
    while place and place < size and place not in seen and len(seen) < _MOST_PAGES:
        seen.add(place)
        place = _check_page(stream, place, form, size, limits)


def _check_page(stream: BinaryIO, place: int, form: _Form, size: int, limits: Limits) -> int:
    """Check the tags of the page whose directory is at a place; return that of the next, or 0."""
    stream.seek(place)
    head = stream.read(form.length.size)
    if len(head) < form.length.size:
        return 0
    (count,) = form.length.unpack(head)
    if count > _MOST_ENTRIES:
        raise DamageError(f"a directory of {count:,} tags")
    entries = stream.read(count * form.entry.size)
    total = len(entries)
    for tag, kind, values in form.entry.iter_unpack(
        entries[: len(entries) // form.entry.size * form.entry.size]
    ):
        stored = values * _BYTES.get(kind, 0)
        if stored <= form.inside or stored > size:  # libraries read no tag beyond the file's end
            continue
        if tag in _FEW and values > _MOST_OF_FEW:
            raise DamageError(f"its tag {tag} has {values:,} values")
        total += stored
    metadata.check(limits, total, _COPIES)
    after = stream.read(form.next.size)
    return int(form.next.unpack(after)[0]) if len(after) == form.next.size else 0
