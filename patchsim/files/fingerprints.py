"""Fingerprints: all that results depend on, as texts by names, so that runs can be compared."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from patchsim.errors import InputError, printable

_DIGEST = re.compile("[0-9a-f]{64}")
_SHOWN = 12  # digits of a digest


def check(old: Mapping[str, Any], new: Mapping[str, Any], *, what: str, advice: str) -> None:
    """Check that two fingerprints are the same.

    Parameters
    ----------
    old, new : mapping of str to str
    what : str
        The beginning of the message, such as ``m.zarr is of a search``.
    advice : str
        What to do; the second line of the message.

    Raises
    ------
    InputError
        If they differ; it names the first part that does.
    """
    for name in dict.fromkeys([*old, *new]):
        before, now = old.get(name), new.get(name)
        if before != now:
            raise InputError(
                f"{what} with another {printable(name)}: {shown(before)} then, {shown(now)} now;"
                f"\n{advice}"
            )


def shown(value: object) -> str:
    """Return a value for a message; the first digits of a digest tell it apart."""
    text = printable(value)
    return f"{text[:_SHOWN]}..." if _DIGEST.fullmatch(text) else text
