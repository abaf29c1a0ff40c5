"""Tab completion: what the command answers to a shell.

A script of `completion_scripts` puts the shell's name into `_PATCHSIM_COMPLETE`, the line up to the
cursor into `_PATCHSIM_LINE`, and runs the command. The command prints one answer a line. An exit
code of `Files` says that names of files are wanted. Bash and fish get these names; bash completes
only what stands behind the last = or : of a word, and gets the rest of each. zsh, which looks for
names itself, gets the endings of pictures. Any file is offered where no picture fits. Typer answers
PowerShell in its own way.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
import textwrap
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import typer

from patchsim.cli import console
from patchsim.cli.completion_scripts import SCRIPTS, VARIABLE
from patchsim.errors import FOUND

_PICTURE_COMMANDS = ("match", "scan")  # those whose words are pictures
_PICTURE_OPTIONS = ("kernel", "mask", "image_mask")
_MORE_ENDINGS = ("hdr", "svs", "ndpi", "scn", "bif")  # pictures that a scan of a folder passes over
_LONGEST_ABOUT = 70  # characters
_OPTION = re.compile("--[^=]*=")  # before its value, in one word
_CURSOR = "\0"  # marks the end of the line, so that a line that ends in a space has an empty word


class Answer(NamedTuple):
    """A word that completes the one at the cursor.

    Attributes
    ----------
    value : str
        An option, a command, or a value of an option.
    about : str
        What it means; may be empty.
    prefix : str
        What comes before the value in the same word, as in ``--metric=``.
    """

    value: str
    about: str = ""
    prefix: str = ""


class Files(IntEnum):
    """The files that a shell should offer, as an exit code; it looks for those of `ANY` itself."""

    ANY = 1
    PICTURES = 4


def answer(app: typer.Typer) -> int:
    """Print the answers to a shell's question, and return the exit code.

    Nothing goes to stderr, because it would stand in the prompt.
    """
    shell = os.environ[VARIABLE]
    if shell not in SCRIPTS:
        # Typer re-exports these three without declaring it.
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
        return console.run(app)
    try:
        line = os.environ.get("_PATCHSIM_LINE", "")
        completions = answers(app, line)
        if isinstance(completions, Files):
            return _answer_with_files(completions, shell, _words(line)[-1])
        _print(completions, shell, line)
    except Exception:  # a fault must not be printed into the prompt; the shell offers files
        return Files.ANY
    return FOUND


def answers(app: typer.Typer, line: str) -> list[Answer] | Files:
    """List the words that complete a line.

    Parameters
    ----------
    app : Typer
    line : str
        The command and what follows, quoted as in a shell, up to the cursor.

    Returns
    -------
    list of Answer, or Files
        The second if the word at the cursor is the name of a file.
    """
    command: Any = typer.main.get_command(app)
    context = command.make_context("patchsim", [], resilient_parsing=True)
    *before, begun = _words(line)[1:] or [""]
    if not before and not begun.startswith("-"):
        return [
            Answer(name, _first_sentence(summary))
            for name, summary in command.summaries.items()
            if name.startswith(begun)
        ]
    if before and before[0] in command.summaries:
        command, before = command.commands[before[0]], before[1:]
    return _of_command(command, context, before, begun)


def _of_command(command: Any, context: Any, before: list[str], begun: str) -> list[Answer] | Files:
    """Complete a word behind the words `before` of a command."""
    files = Files.PICTURES if command.name in _PICTURE_COMMANDS else Files.ANY
    if "--" in before:
        return files
    options = {
        name: parameter
        for parameter in command.get_params(context)
        if parameter.param_type_name == "option"
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    last = options.get(before[-1]) if before else None
    if last is not None and not last.is_flag:
        return _values(last, context, begun)
    if not begun.startswith("-"):
        return files
    name, has_value, value = begun.partition("=")
    if has_value:
        if name not in options or options[name].is_flag:
            return []
        values = _values(options[name], context, value)
        if isinstance(values, Files):
            return values
        return [one._replace(prefix=f"{name}=") for one in values]
    given = {
        options[word.partition("=")[0]] for word in before if word.partition("=")[0] in options
    }
    return [
        Answer(name, _first_sentence(option.help))
        for name, option in options.items()
        if name.startswith(begun) and option not in given
    ]


def _values(option: Any, context: Any, begun: str) -> list[Answer] | Files:
    if option.metavar == "PATH":
        return Files.PICTURES if option.name in _PICTURE_OPTIONS else Files.ANY
    return [Answer(item.value) for item in option.shell_complete(context, begun)]


def _words(line: str) -> list[str]:
    """Split a line as a shell does; the last word, which may lack its quote, is at the cursor."""
    lexer = shlex.shlex(line + _CURSOR, posix=True)
    lexer.whitespace_split = True
    lexer.commenters = ""
    words: list[str] = []
    try:
        words.extend(lexer)
    except ValueError:  # a quote is open
        words.append(lexer.token)
    return [word.replace(_CURSOR, "") for word in words]


def _first_sentence(text: str | None) -> str:
    sentence = (text or "").partition(". ")[0].rstrip(".")
    return textwrap.shorten(sentence, _LONGEST_ABOUT, placeholder=" ...")


def _print(words: Sequence[Answer], shell: str, line: str) -> None:
    """Print answers in the form that a shell's script reads."""
    if shell == "bash":
        skipped = _skipped(_words(line)[-1])
        lines = [f"{one.prefix}{one.value}"[skipped:] for one in words]
    elif shell == "zsh":
        lines = [one.value.replace(":", "\\:") + f":{one.about}" * bool(one.about) for one in words]
    else:
        lines = [f"{one.prefix}{one.value}" + f"\t{one.about}" * bool(one.about) for one in words]
    _print_lines(lines)


def _print_lines(lines: Sequence[str]) -> None:
    if sys.stdout is not None:
        for text in lines:
            print(text)
        sys.stdout.flush()


def _answer_with_files(files: Files, shell: str, word: str) -> int:
    """Print the names of files that complete a word, and return the exit code.

    zsh, which finds them itself, gets the endings that it should look for.
    """
    if shell == "zsh":
        _print_lines(["|".join(_endings())] if files is Files.PICTURES else [])
        return files
    option, begun = _OPTION.match(word), word
    if option is not None:
        begun = word[option.end() :]
    names = _names(begun)
    if files is Files.PICTURES:
        endings = tuple(f".{ending}" for ending in _endings())
        pictures = [name for name in names if name.lower().endswith(("/", *endings))]
        names = pictures or names
    skipped, head = _skipped(word) if shell == "bash" else 0, word[: len(word) - len(begun)]
    _print_lines([f"{head}{name}"[skipped:] for name in names])
    if names:
        return Files.PICTURES
    # Where nothing fits shells look for names on their own, but bash for no word that it cuts.
    return FOUND if skipped > len(head) else Files.ANY


def _names(begun: str) -> list[str]:
    """List the files that a path may become, hidden ones only if it names their dot.

    Folders have a slash at their end. A name of several lines is left out.
    """
    from patchsim.files.atomic import is_folder  # where names of files are asked for

    folder, slash, start = begun.rpartition("/")
    try:
        return [
            f"{folder}{slash}{path.name}{'/' * is_folder(path)}"
            for path in Path(folder + slash).expanduser().iterdir()
            if path.name.startswith(start)
            and (start or not path.name.startswith("."))
            and "\n" not in path.name
        ]
    except (OSError, RuntimeError):  # the second for a home that is not known
        return []


def _skipped(word: str) -> int:
    """Return how many characters of the word at the cursor lie before what bash completes."""
    begun = os.environ.get("_PATCHSIM_WORD", "")
    for text in (begun, re.sub(r"\\(.)", r"\1", begun)):
        if word.endswith(text):
            return len(word) - len(text)
    return 0


def _endings() -> list[str]:
    """Return the endings of pictures' names, without the dot."""
    from patchsim.scanning.listing import SUFFIXES

    return sorted([*(suffix.removeprefix(".") for suffix in SUFFIXES), *_MORE_ENDINGS])
