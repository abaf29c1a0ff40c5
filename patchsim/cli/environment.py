"""Defaults of options from the environment: ``PATCHSIM_`` and the option's name in capitals.

``PATCHSIM_DATA_RANGE=0:4095`` is as if ``--data-range 0:4095`` were typed, unless it is typed
otherwise. An empty variable is as if it were not set.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

from patchsim import choices
from patchsim.errors import InputError, printable

if TYPE_CHECKING:
    from patchsim.cli.contradictions import Contradiction

_PREFIX = "PATCHSIM_"
# Options that no variable sets: to ask for help, and what is searched, looked for or scored.
_WITHOUT = ("help", "kernel", "list", "f", "p")
_TRUTHS = {
    **dict.fromkeys(("1", "true", "yes", "on"), True),
    **dict.fromkeys(("0", "false", "no", "off"), False),
}
# Other words by which messages speak of options, and options of whose values they speak.
_SYNONYMS = {
    **dict.fromkeys(("scales", "angles", "flips"), "poses?|scaled|turned|mirrored"),
    **dict.fromkeys(("format", "columns", "print", "no_header"), "how to print"),
    **dict.fromkeys(("ignore", "image_mask", "nan"), "visible"),
    **dict.fromkeys(("color", "channel_weights"), "channels?|colou?rs?"),
    **dict.fromkeys(("heatmap", "blend"), "map"),
    **dict.fromkeys(("map", "resume"), "may be off by"),  # more than a map allows
    "loss": "f large|p small",  # the keys that one of them reads
}
_WORDS = ("metric", "color", "engine", "padding", "format", "loss", "nan", "layout")
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
    values: dict[str, Any] = {}
    for option in options:
        name = variable(option)
        text = "" if name is None else os.environ.get(name, "")
        if name is None or not text:
            continue
        if option.is_flag:
            values[option.name] = _truth(name, text)
        else:
            values[option.name] = text.split() if option.multiple else text
    return values


def _truth(name: str, text: str) -> bool:
    try:
        return _TRUTHS[text.strip().lower()]
    except KeyError:
        raise InputError(
            f"{name} is {printable(text)!r}, but its option takes no value; set it to 1 or 0"
        ) from None


def settle(context: Any, options: Iterable[Any], given: dict[str, Any]) -> list[str]:
    """Let options that are typed take the place of contradicting ones from the environment.

    Parameters
    ----------
    context : typer.Context
        Its parameters are parsed.
    options : iterable of typer.core.TyperOption
    given : dict
        What `defaults` returned.

    Returns
    -------
    list of str
        Notices of variables that are ignored.

    Raises
    ------
    InputError
        If two variables contradict each other.
    """
    _used.set(())
    if not given:
        return []
    from patchsim.cli import contradictions  # where there are variables

    defaults_of = {one.name: one.default for one in options}
    typed = {
        name
        for name in defaults_of
        if getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    }
    used = {name for name in given if name not in typed}
    values, notices = context.params, []

    def drop(name: str, reason: str) -> None:
        used.remove(name)
        values[name] = defaults_of[name]
        if reason:
            notices.append(f"{_setting(name)} is ignored: {reason}")

    def meeting(one: set[str], other: set[str]) -> Iterator[tuple[Contradiction, str, str]]:
        for rule in contradictions.CONTRADICTIONS:
            pairs = list(product(rule.ones, rule.others))
            pairs += [pair[::-1] for pair in pairs] if rule.is_mutual else []
            for a, b in pairs:
                if a in one and b in other and values[a] and values[b]:
                    left_out = {*rule.ones, *rule.others} - {a, b}
                    if rule.holds({**values, **dict.fromkeys(left_out & {*values})}):
                        yield rule, a, b

    for rule, winner, loser in meeting(typed, used):
        option = f"--{winner.replace('_', '-')}"
        drop(loser, f"it contradicts {option}, which is typed" if rule.is_told else "")
    for need in contradictions.NEEDS:
        if need.option in used and values[need.option] and not need.is_met(values):
            drop(need.option, f"--{need.option.replace('_', '-')} {need.reason}")
    for _, one, other in meeting(used, used):
        raise InputError(f"{_setting(one)} and {_setting(other)} contradict each other; unset one")
    _used.set(tuple((f"{_PREFIX}{name.upper()}", name) for name in sorted(used)))
    return [] if values.get("quiet") else notices


def unknown(context: Any, options: Iterable[Any]) -> list[str]:
    """Return a notice of each variable that is set, and that no option of any command reads.

    Parameters
    ----------
    context : typer.Context
        That of the command that runs.
    options : iterable of typer.core.TyperOption
        The command's.
    """
    known = {one.name for one in options}
    names = {
        name.removeprefix(_PREFIX).lower()
        for name, value in os.environ.items()
        if name.startswith(_PREFIX) and value
    }
    if context.params.get("quiet") or names <= known - set(_WITHOUT):
        return []
    from patchsim.machine.extensions import VARIANT_SETTING

    known.add(VARIANT_SETTING.removeprefix(_PREFIX).lower())
    for command in getattr(context.find_root().command, "commands", {}).values():
        known |= {one.name for one in command.params if one.param_type_name == "option"}
    known -= set(_WITHOUT)
    return [_unread(name, known) for name in sorted(names - known)]


def _unread(name: str, known: set[str]) -> str:
    near = choices.nearest(name, sorted(known))
    advice = f"{_PREFIX}TOP would be that of --top, and so on for what --help lists"
    if name in _WITHOUT:
        advice = "what it names is typed"
    elif near is not None:
        advice = f"did you mean {_PREFIX}{near.upper()}?"
    return f"{_PREFIX}{printable(name.upper())} is ignored: no option reads it; {advice}"


def _setting(name: str) -> str:
    """Return the variable of an option with its value."""
    variable = f"{_PREFIX}{name.upper()}"
    return f"{variable}={printable(os.environ.get(variable, ''))}"


def naming(message: str) -> str:
    """Add to an error the variables that set the options, or the files, which it names."""
    words = message.lower().replace("-", " ").replace("_", " ")
    guilty = []
    for name, option in _used.get():
        value = printable(os.environ.get(name, ""))
        if (option, value) == ("heatmap", "none"):  # which asks for nothing
            continue
        paths = value, str(Path(value).parent)  # a message may be about the folder of a file
        is_file = any(len(path) >= _SHORTEST_PATH and path in message for path in paths) or (
            value == "-" and "'-'" in message
        )
        known = rf"{option.replace('_', ' ')}|{_SYNONYMS.get(option, '(?!)')}"
        if option in _WORDS:
            known += f"|{re.escape(value.lower())}"
        if is_file or re.search(rf"\b({known})\b", words):
            guilty.append(f"{name}={value}")
    if not guilty:
        return message
    verb = "are" if len(guilty) > 1 else "is"
    return f"{message}\n{' and '.join(guilty)} {verb} set in the environment"


def is_debugged() -> bool:
    """Return whether the environment asks for tracebacks."""
    return _TRUTHS.get(os.environ.get(f"{_PREFIX}DEBUG", "").strip().lower(), False)
