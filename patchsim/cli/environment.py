"""Defaults of options from the environment: ``PATCHSIM_`` and the option's name in capitals.

``PATCHSIM_DATA_RANGE=0:4095`` is as if ``--data-range 0:4095`` were typed, unless it is typed
otherwise. An empty variable is as if it were not set.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from contextvars import ContextVar
from typing import Any

from patchsim.errors import InputError, printable

_PREFIX = "PATCHSIM_"
# Options that no variable sets: to ask for help, and what is searched, looked for or scored.
_WITHOUT = ("help", "kernel", "list", "f", "p")
_TRUTHS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
# Options that contradict each other: what is typed takes the place of what a variable says.
_CONTRADICTIONS = (
    ("heatmap", "no_heatmap"),
    ("wait", "wait_gone"),
    ("print", "format"),
    ("print", "columns"),
    ("print", "no_header"),
    ("map", "resume"),
    ("unmatched", "columns"),
    ("unmatched", "print"),
    ("format", "csv_safe"),
)
_SHORTEST_PATH = 5  # characters of a value that a message may repeat, like "a.png"
# The variables that the command runs by, and the names of their options.
_used: ContextVar[tuple[tuple[str, str], ...]] = ContextVar("_used", default=())


def variable(option: Any) -> str | None:
    """Return the variable of an option; None if it has none.

    Parameters
    ----------
    option : typer.core.TyperOption
    """
    return None if option.name in _WITHOUT else f"{_PREFIX}{option.name.upper()}"


def defaults(options: Iterable[Any]) -> dict[str, Any]:
    """Return the values that variables set, by the names of options.

    Raises
    ------
    InputError
        If the variable of an option that takes no value is neither yes nor no.
    """
    found: dict[str, Any] = {}
    for option in options:
        name = variable(option)
        text = "" if name is None else os.environ.get(name, "")
        if name is None or not text:
            continue
        if option.is_flag:
            found[option.name] = _truth(name, text)
        else:
            found[option.name] = text.split() if option.multiple else text
    return found


def _truth(name: str, text: str) -> bool:
    try:
        return _TRUTHS[text.strip().lower()]
    except KeyError:
        raise InputError(
            f"{name} is {printable(text)!r}, but its option takes no value; set it to 1 or 0"
        ) from None


def settle(context: Any, options: Iterable[Any], given: dict[str, Any]) -> None:
    """Let options that are typed take the place of contradicting ones from the environment.

    Parameters
    ----------
    context : typer.Context
        Its parameters are parsed.
    options : iterable of typer.core.TyperOption
    given : dict
        What `defaults` returned.
    """
    if not given:
        _used.set(())
        return
    by_name = {one.name: one for one in options}
    typed = {
        name
        for name in by_name
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }
    used = {name for name in given if name not in typed}
    for pair in _CONTRADICTIONS:
        for one, other in (pair, pair[::-1]):
            if one in typed and other in used:
                used.remove(other)
                context.params[other] = by_name[other].default
    _used.set(tuple((f"{_PREFIX}{name.upper()}", name) for name in sorted(used)))


def naming(message: str) -> str:
    """Add to an error the variables that set the options, or the files, which it names."""
    words = message.lower().replace("-", " ").replace("_", " ")
    guilty = []
    for name, option in _used.get():
        value = printable(os.environ.get(name, ""))
        is_file = len(value) >= _SHORTEST_PATH and value in message
        if is_file or re.search(rf"\b{option.replace('_', ' ')}\b", words):
            guilty.append(f"{name}={value}")
    if not guilty:
        return message
    verb = "are" if len(guilty) > 1 else "is"
    return f"{message}\n{' and '.join(guilty)} {verb} set in the environment"


def is_debugged() -> bool:
    """Return whether the environment asks for tracebacks."""
    return _TRUTHS.get(os.environ.get(f"{_PREFIX}DEBUG", "").strip().lower(), False)
