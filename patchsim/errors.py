"""Every error a user can meet, and the exit codes.

A message is one or two lines: what was asked, what was found (with the numbers), what to do next.
"""

from __future__ import annotations

from typing import Any

FOUND = 0
NOT_FOUND = 1
INPUT_ERROR = 2
FAULT = 3
INTERRUPTED = 130
TERMINATED = 143


def printable(name: object) -> str:
    """A name as messages and tables show it: on one line, without control characters."""
    return "".join(
        char if char.isprintable() or "\udc80" <= char <= "\udcff" else repr(char)[1:-1]
        for char in str(name)
    )


class PatchsimError(Exception):
    """Any error that patchsim raises on purpose; `exit_code` is what the command ends with."""

    exit_code = FAULT


class InputError(PatchsimError, ValueError):
    """What was asked cannot be done: a bad option, an unreadable picture, sizes that do not fit."""

    exit_code = INPUT_ERROR


class MachineError(PatchsimError, RuntimeError):
    """The machine could not do it: no memory, no disk space."""


class OutputError(MachineError):
    """An output could not be written after the search; `report` holds what was found.

    Attributes
    ----------
    report : Report or None
        The finished search, so that its matches are not lost with the file.
    """

    report: Any = None
