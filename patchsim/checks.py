"""Whether values that users give are numbers, whole numbers, or True or False."""

from __future__ import annotations

import operator
from typing import SupportsFloat

import numpy as np

from patchsim.errors import InputError


def number(value: object, option: str, remedy: str) -> float:
    """Return an option's value as a number.

    Parameters
    ----------
    value : object
    option : str
        Its name in the message.
    remedy : str
        What to give, as the end of the message.

    Raises
    ------
    InputError
        If the value is not a number. Text is none, and neither is True or False.
    """
    if not is_number(value):
        raise InputError(f"{option} {value!r} is not a number; {remedy}")
    return float(value)  # type: ignore[arg-type] # `is_number` has checked it


def is_number(value: object) -> bool:
    """Return whether a value is a real number; text is none, and neither is True or False."""
    if type(value) in (int, float):  # at once, because a protocol takes long to check
        return True
    if isinstance(value, bool | np.bool_ | str | bytes) or not isinstance(value, SupportsFloat):
        return False
    try:
        float(value)
    except (TypeError, ValueError):  # an array of several numbers
        return False
    return True


def positive_integer(value: object, option: str) -> int:
    """Return an option's value as an integer from 1.

    Raises
    ------
    InputError
        If the value is not an integer, or less than 1.
    """
    return integer_from(1, value, option)


def integer_from(smallest: int, value: object, option: str) -> int:
    """Return an option's value as an integer from `least`.

    Raises
    ------
    InputError
        If the value is not an integer, or less.
    """
    count = whole_number(value)
    if count is None or count < smallest:
        raise InputError(f"{option} {value!r} is not possible; give a whole number from {smallest}")
    return count


def whole_number(value: object) -> int | None:
    """Return an integer of Python or NumPy as an int, or None for anything else, as for True."""
    if isinstance(value, bool | np.bool_):  # bool is a subclass of int
        return None
    try:
        return operator.index(value)  # type: ignore[arg-type] # other types are refused
    except TypeError:
        return None


def true_or_false(value: object, option: str) -> bool:
    """Return an option's value if it is True or False.

    Raises
    ------
    InputError
        If it is anything else. A text such as ``"no"`` would count as True.
    """
    if not isinstance(value, bool | np.bool_):
        raise InputError(f"{option} {value!r} is neither True nor False; give one of them")
    return bool(value)
