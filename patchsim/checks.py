"""Numbers as users give them, checked."""

from __future__ import annotations

import operator

from patchsim.errors import InputError


def positive_integer(value: object, option: str) -> int:
    """A whole number from 1."""
    try:
        count = operator.index(value)  # type: ignore[arg-type] # what is none is refused
    except TypeError:
        count = 0
    if count < 1:
        raise InputError(f"{option} {value!r} is not possible; give a whole number from 1")
    return count
