"""The manual page of the command, made of what its help says.

``python -m patchsim.cli.manual >share/man/man1/patchsim.1`` writes it.
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from typing import Any

import typer

import patchsim
from patchsim.cli import environment, option_groups
from patchsim.cli.app import app

_DATE = "2026-11-28"  # when the text below was last changed
_ABOUT = "find a small picture in a big one"
_WIDTH = 78
_PREFORMATTED = "\b\n"  # begins a paragraph whose lines stay as they are
_INTRODUCTION = """\
patchsim finds a small picture, the kernel, in a big one. It gives every position a score, prints
the best places as a table, or as lines for the next command of a pipeline, and draws pictures and
pages of what it found. It also scans many pictures, and scores features of object-centric learning.

Results go to standard output, everything else to standard error. A name of a picture may be - for
standard input.
"""
_ENVIRONMENT = """\
A variable is the default of the option of its name, with _ for -. What is typed wins; an empty
variable is as if it were not set. The variable of an option without a value takes 1 or 0.
"""


def page() -> str:
    """Return the page in the macros of man(7)."""
    # A group has them, which Typer declares as a command.
    commands: dict[str, Any] = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    lines = [f'.TH PATCHSIM 1 {_DATE} "patchsim {patchsim.__version__}"']
    lines += [".SH NAME", f"patchsim \\- {_ABOUT}", ".SH SYNOPSIS"]
    contexts = {
        name: command.make_context(name, [], resilient_parsing=True)
        for name, command in commands.items()
    }
    for name, command in commands.items():
        words = " ".join(command.collect_usage_pieces(contexts[name])[1:])
        lines += [f".B patchsim {name}", _escaped(f"[options] {words}".rstrip()), ".br"]
    lines.pop()  # no line is broken at the end of the section
    lines += [".SH DESCRIPTION", *_paragraphs(_INTRODUCTION)]
    variables: set[str] = set()
    for name, command in commands.items():
        lines += [f'.SH "PATCHSIM {name.upper()}"', *_of_command(command, contexts[name])]
        options = _parameters(command, contexts[name], "option")
        variables |= {known for one in options if (known := environment.variable(one))}
    lines += [".SH ENVIRONMENT", *_paragraphs(_ENVIRONMENT)]
    lines += [".PP", *_wrapped(", ".join(sorted(variables)) + ".")]
    return "\n".join(lines) + "\n"


def _parameters(command: Any, context: Any, kind: str) -> list[Any]:
    return [one for one in command.get_params(context) if one.param_type_name == kind]


def _of_command(command: Any, context: Any) -> Iterator[str]:
    """Yield the lines about a command: text, arguments, options in groups, closing paragraphs."""
    before, closing = option_groups.split_help(command.help)
    yield from _paragraphs(before)
    arguments = _parameters(command, context, "argument")
    if arguments:
        yield ".SS Arguments"
    for one in arguments:
        _, text = one.get_help_record(context)
        yield from _item(str(one.metavar), text.removesuffix("[required]"))
    options = _parameters(command, context, "option")
    for title, members in option_groups.grouped(command.name, options).items():
        yield f'.SS "{title}"'
        for one in members:
            yield from _item(*one.get_help_record(context))
    yield from _paragraphs(closing)


def _item(name: str, text: str) -> Iterator[str]:
    yield ".TP"
    yield f".B {_escaped(name)}"
    yield from _wrapped(text)


def _paragraphs(text: str) -> Iterator[str]:
    """Yield the lines of paragraphs; those that are preformatted have a title of their own."""
    for number, paragraph in enumerate(re.split(r"\n\n+", text.strip())):
        if paragraph.startswith(_PREFORMATTED):
            title, *rows = paragraph.removeprefix(_PREFORMATTED).splitlines()
            yield f'.SS "{title.rstrip(":")}"'
            yield from (".EX", *(_escaped(row.removeprefix("  ")) for row in rows), ".EE")
        else:
            yield from ([".PP"] if number else [])
            yield from _wrapped(" ".join(paragraph.split()))


def _wrapped(text: str) -> list[str]:
    """Break text into lines, none of which is a macro."""
    rows = textwrap.wrap(text, _WIDTH - 8, break_on_hyphens=False, break_long_words=False)
    return [_escaped(row) for row in rows]


def _escaped(text: str) -> str:
    """Return text that roff shows as it is."""
    escaped = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped


if __name__ == "__main__":
    print(page(), end="")
