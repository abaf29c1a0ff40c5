"""Messages about wrong words of a command line, in place of the parser's own texts."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from patchsim import choices
from patchsim.cli import console
from patchsim.errors import InputError, printable

# Files that `patchsim loss` reads and `patchsim match` does not.
_FEATURES = (".safetensors", ".pt", ".pth", ".npz")
# The names in other programs of options that Python has not, and of the words of a command.
_OTHER_NAMES = {
    **dict.fromkeys(("o", "out", "output", "draw"), "overlay"),
    "verbose": "explain",
    "V": "version",
    **dict.fromkeys(("template", "needle", "query"), "kernel"),
    "haystack": "image",
    **choices.OTHER_NAMES,
}
_SHOWN = 3  # words of a long command that a message repeats
_LONG = 5  # characters of an option that a misspelt one may mean
_SURPLUS = r"unexpected extra arguments?(?:\(s\))? \((.*)\)"


def explained(error: Any, command: Any, context: Any) -> InputError | None:
    """Return what was asked, found and is to do for an error of the parser; None if it is new.

    Parameters
    ----------
    error : typer.TyperException
    command : typed.Command or typed.Group
    context : typer.Context
    """
    where = f"see {context.command_path} --help"
    kind, text = type(error).__name__, error.format_message()
    option = str(getattr(error, "option_name", ""))
    known = [one for one in command.get_params(context) if option in _names(one)]
    if known:
        if known[0].is_flag:
            return InputError(f"{option} takes no value; give {option} alone")
        return InputError(f"{option} lacks its value; give {option} {known[0].metavar}")
    file = _file_of_dashes(option) if kind == "NoSuchOption" else None
    if file is not None:
        return InputError(
            f"{printable(file)} begins like an option; write {printable(f'./{file}')} for the"
            f" file\n{where}"
        )
    if kind == "NoSuchOption":
        near = _near_option(option, command, context)
        advice = f"did you mean {near}?" if near else "leave it out"
        word = _argument(option, command, context)
        if word is not None:
            advice = f"give {word} alone: {_form(command, context)}"
        return InputError(f"there is no option {printable(option)}; {advice}\n{where}")
    if kind == "MissingParameter":
        missing = getattr(getattr(error, "param", None), "metavar", "a word")
        return InputError(f"{missing} is missing; give {_form(command, context)}\n{where}")
    surplus = re.search(_SURPLUS, text, re.DOTALL)
    if surplus:
        return InputError(
            f"{context.command_path} takes no further words, but {printable(surplus[1])!r} follows;"
            f" leave that out\n{where}"
        )
    return None


def _arguments(command: Any, context: Any) -> list[Any]:
    return [one for one in command.get_params(context) if one.param_type_name == "argument"]


def _form(command: Any, context: Any) -> str:
    """Return a command with the words that it needs, such as ``patchsim match IMAGE KERNEL``."""
    needed = (str(one.metavar) for one in _arguments(command, context))
    return " ".join([context.command_path, *needed])


def _argument(name: str, command: Any, context: Any) -> str | None:
    """Return the word of a command that the name of an option means; None if it means none."""
    named = name.lstrip("-")
    wanted = {named, _OTHER_NAMES.get(named)}
    for one in _arguments(command, context):
        if one.name in wanted and one.required:
            return str(one.metavar)
    return None


def unknown_command(words: Sequence[str], known: Sequence[str]) -> InputError:
    """Return the error for words of which the first is no command: it is misspelt, or forgotten."""
    first, *rest = words
    near = choices.nearest(first, known)
    advice = "see patchsim --help"
    if near is not None:
        advice = f"did you mean: patchsim {_shortened([near, *rest])}"
    elif rest or "." in first or "/" in first:
        command = "loss" if first.endswith(_FEATURES) else "match"
        advice = f"did you mean: patchsim {_shortened([command, *words])}"
    return InputError(f"{printable(first)!r} is no command; there is {', '.join(known)}\n{advice}")


def _shortened(words: Sequence[str]) -> str:
    return shlex.join(words[: _SHOWN + 1]) + (" ..." if len(words) > _SHOWN + 1 else "")


def _names(option: Any) -> tuple[str, ...]:
    return (*option.opts, *option.secondary_opts)


def _file_of_dashes(option: str) -> str | None:
    """Return the file that the word with an unknown option is the name of.

    The parser takes a word of one dash for several short options, and names the first of them.
    """
    for word in console.command_words():
        if word.startswith(option) and word not in ("-", "--") and Path(word).exists():
            return word
    return None


def _near_option(name: str, command: Any, context: Any) -> str | None:
    """Return the option that a name may mean: by what other programs call it, or by its letters."""
    other = _OTHER_NAMES.get(name.lstrip("-").replace("-", "_"))
    known = [
        option
        for one in command.get_params(context)
        for option in _names(one)
        if option.startswith("-")
    ]
    if other is not None and f"--{other}" in known:
        return f"--{other}"
    value = name.lstrip("-")
    if value in choices.FORMATS and "--format" in known:
        return f"--format {value}"
    return choices.nearest(name, [one for one in known if len(one) >= _LONG])
