"""A command is run; every error becomes a message on stderr and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextvars import ContextVar

import typer

from patchsim import choices
from patchsim.cli import environment, interruption, streams
from patchsim.errors import (
    FAULT,
    FOUND,
    INPUT_ERROR,
    INTERRUPTED,
    InputError,
    OutputError,
    PatchsimError,
    escaped,
    printable,
)
from patchsim.files import atomic
from patchsim.machine import packages

_PREFIX = "patchsim: "
_NARROWEST = 30  # characters of a line that is broken
_INDENT = 2  # of what goes on with a line

# The words behind `patchsim` of the command that runs.
_words: ContextVar[tuple[str, ...]] = ContextVar("_words", default=())


def run(app: typer.Typer, arguments: Sequence[str] | None = None) -> int:
    """Run a command, and turn every error into a message and an exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if not words:
        words = ["--help"]
    _words.set(tuple(words))
    try:
        with warnings.catch_warnings():
            # Pillow warns of broken metadata, which do not matter for a search.
            warnings.filterwarnings("ignore", module="PIL")
            code = app(words, standalone_mode=False, prog_name="patchsim")
            if callable(code):  # a command that `flags.takes` made
                code = code()
        if sys.stdout is not None:
            sys.stdout.flush()
        return int(code or 0)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except interruption.Ended as ended:
        interruption.end_line()
        _say_notes(ended)
        return ended.code
    except SystemExit as ended:  # the completion of a shell ends this way
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or FOUND
        say(str(ended.code))  # Python's rule: a text is a message, and the exit is a failure
        return FAULT
    except Exception as error:  # of any type: it is explained, and decides the exit code
        signalled = interruption.behind(error)
        if signalled is not None:
            interruption.end_line()
            if isinstance(error, OutputError):  # of what was found until then
                say(str(error))
            return signalled.code
        if "--debug" in words or environment.is_debugged():
            say(traceback.format_exc().rstrip())
        message, code = _explained(error, words)
        say(message)
        _say_notes(error)
        streams.drop_unwritten()
        return code


def _explained(error: BaseException, words: Sequence[str]) -> tuple[str, int]:
    """Return one or two lines for an error, and its exit code."""
    if isinstance(error, InputError):
        return environment.naming(str(error)), error.exit_code
    if isinstance(error, PatchsimError):
        return str(error), error.exit_code
    if isinstance(error, typer.TyperException):
        return f"{error.format_message()}\nsee patchsim {_command(words)}--help", INPUT_ERROR
    unloaded = packages.failure(error)
    if unloaded is not None:  # a library that is missing is an OSError, too
        return unloaded, FAULT
    if isinstance(error, OSError):
        # An error of standard output names no file.
        what = "write the results" if error.filename is None else f"use {printable(error.filename)}"
        return f"cannot {what}: {atomic.failure_reason(error)}", FAULT
    text = str(error)
    if isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text:
        return "out of memory; give --memory a smaller size, or close other programs", FAULT
    return (
        f"a fault in patchsim: {type(error).__name__}: {text}".splitlines()[0]
        + "\nplease report it with what --debug prints",
        FAULT,
    )


def _say_notes(error: BaseException) -> None:
    """Tell what else failed while an error ended the command."""
    for note in getattr(error, "__notes__", ()):
        say(note)


def command_words() -> tuple[str, ...]:
    """Return the words behind `patchsim` of the command that runs."""
    return _words.get()


def _command(words: Sequence[str]) -> str:
    return f"{words[0]} " if words and words[0] in choices.COMMANDS else ""


def say(text: str) -> None:
    """Print a message on stderr, where each line says whose it is.

    A terminal has lines that break between words, as many as its width takes.
    """
    # A closed stderr must not change how the search ends.
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:
            # Nothing drives the terminal, whoever wrote the text.
            lines = [escaped(line) for line in text.split("\n")]
            if sys.stderr.isatty():
                width = os.get_terminal_size(sys.stderr.fileno()).columns - len(_PREFIX)
                lines = [row for line in lines for row in _broken(line, width)]
            print(
                "".join(f"{_PREFIX}{line}\n" for line in lines), end="", file=sys.stderr, flush=True
            )


def _broken(line: str, width: int) -> list[str]:
    """Break a line between words where it is longer than `width`; its further parts are indented.

    Words that are longer, as paths may be, are left to the terminal.
    """
    if len(line) <= width or width < _NARROWEST:
        return [line]
    import textwrap  # where there is such a line

    margin = " " * (len(line) - len(line.lstrip()) + _INDENT)
    return textwrap.wrap(
        line,
        width,
        subsequent_indent=margin,
        break_long_words=False,
        break_on_hyphens=False,
        replace_whitespace=False,
    )
