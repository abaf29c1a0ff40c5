"""Kernels of several that cannot be used: the others are searched for without them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from patchsim.errors import InputError
from patchsim.pictures.limits import MemoryNeed


@dataclass(frozen=True)
class SkippedKernel:
    """One kernel of several that could not be used, so that the others were searched for alone.

    Attributes
    ----------
    number : int
        Its number among the kernels that were given, from 0.
    name : str
    reason : str
        The error that the kernel alone would be.
    """

    number: int
    name: str
    reason: str


def remaining(count: int, faults: Mapping[int, InputError], *, strict: bool) -> list[int]:
    """Return the numbers of the kernels that can be used, of `count`.

    Parameters
    ----------
    count : int
    faults : mapping from number to InputError
        What is wrong with a kernel.
    strict : bool
        No kernel may be left out.

    Raises
    ------
    InputError
        If there is a fault and `strict`, or no kernel is left.
    """
    if not faults:
        return list(range(count))
    first = min(faults)
    if strict or count == 1:
        raise faults[first]
    if len(faults) == count:
        if all(isinstance(fault, MemoryNeed) for fault in faults.values()):
            raise faults[first]
        raise InputError(f"none of the {count} kernels can be used: {faults[first]}")
    return [number for number in range(count) if number not in faults]


def of(
    faults: Mapping[int, InputError], numbers: Sequence[int], names: Sequence[str]
) -> tuple[SkippedKernel, ...]:
    """List the kernels with faults, by their numbers and names among those that were given."""
    return tuple(
        SkippedKernel(numbers[one], names[one], str(error)) for one, error in sorted(faults.items())
    )
