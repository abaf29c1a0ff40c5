"""Whether the numbers that users give are valid."""

from __future__ import annotations

import operator

from patchsim.errors import InputError


def positive_integer(value: object, option: str) -> int:
    """Return an option's value as an integer from 1.

    Raises
    ------
    InputError
        If the value is not an integer, or less than 1.
    """
    try:
        # bool is a subclass of int, but True is no number of things.
        count = 0 if isinstance(value, bool) else operator.index(value)  # type: ignore[arg-type] # refused below
    except TypeError:
        count = 0
    if count < 1:
        raise InputError(f"{option} {value!r} is not possible; give a whole number from 1")
    return count
