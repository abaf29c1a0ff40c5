"""Which errors a user can meet, and which exit codes they have.

A message has one or two lines. It names the request, the finding with its numbers, and a remedy.
"""

from __future__ import annotations

import re
from typing import Any

FOUND = 0
NOT_FOUND = 1
INPUT_ERROR = 2
FAULT = 3
INTERRUPTED = 130


AGAIN = "download or save it again"  # what to do with a damaged file

# Characters of one name or text of others in a message.
_LONGEST = 200


def escaped(name: object) -> str:
    """Return a name on one line, with control characters escaped, for tables."""
    text = str(name)
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() or "\udc80" <= char <= "\udcff" else repr(char)[1:-1]
        for char in text
    )


def printable(name: object) -> str:
    """Return a name or a text of others for messages: `escaped`, and at most 200 characters.

    The middle of a longer one is left out: the end of a path says more than its folders.
    """
    text = str(name)
    if len(text) > _LONGEST:  # before each of its characters is looked at
        text = text[:_LONGEST] + text[-_LONGEST:]
    readable = escaped(text)
    half = (_LONGEST - 3) // 2
    return readable if len(readable) <= _LONGEST else f"{readable[:half]}...{readable[-half:]}"


def naming(message: str, picture: object) -> str:
    """Return a message that names a picture: as it is if it does, or after the picture's name."""
    name = printable(picture)
    # As a word: a message about 11.png does not name 1.png.
    is_named = re.search(rf"(?<![\w./-]){re.escape(name)}(?![\w/-]|\.\w)", message)
    return message if is_named else f"{name}: {message}"


def titled(kind: str, name: object) -> str:
    """Return a picture's name behind its kind, once: pictures without a file are named by it.

    Parameters
    ----------
    kind : str
        ``image``, ``kernel`` or ``mask``.
    name : str
        It may have a pose in brackets behind it.
    """
    is_kind = name == kind or re.fullmatch(rf"{kind}(-\d+)?( \(.*\))?", str(name)) is not None
    return printable(name) if is_kind else f"{kind} {printable(name)}"


class PatchsimError(Exception):
    """Any error that patchsim raises on purpose; `exit_code` is the command's exit code."""

    exit_code = FAULT


class InputError(PatchsimError, ValueError):
    """The request is invalid: a bad option, an unreadable picture, sizes that do not fit."""

    exit_code = INPUT_ERROR


class DamageError(ValueError):
    """The fault of a file, as the end of a message that its reader turns into InputError."""


class MachineError(PatchsimError, RuntimeError):
    """The machine failed: it lacks memory or disk space, for example."""


class OutputError(MachineError):
    """An output could not be written after the search; `report` holds the search's result.

    Attributes
    ----------
    report : Report or None
        The finished search, so that its matches are not lost.
    """

    report: Any = None
