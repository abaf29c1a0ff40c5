"""Tab-separated lines; control characters and backslashes in names are escaped."""

from __future__ import annotations

from typing import Any, TextIO

from patchsim.output import names
from patchsim.output.contract import Records

CAN_APPEND = True


def write(records: Records, file: TextIO, *, is_first: bool) -> None:
    if is_first:
        print("\t".join(records.columns), file=file)
    for row in records.rows():
        print("\t".join(map(_escaped, row)), file=file)


def _escaped(value: Any) -> str:
    """Return a value as the field of a line; None is empty."""
    if not isinstance(value, str):
        return "" if value is None else str(value)
    return names.on_one_line(value.replace("\\", "\\\\"))
