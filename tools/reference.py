"""The reference of Python and of the commands, made of docstrings and of what the help says.

``python tools/reference.py`` writes the pages in ``docs/reference/``; `tests/test_reference.py`
checks that they are up to date.
"""

from __future__ import annotations

import importlib
import inspect
import re
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import typer
from numpydoc.docscrape import NumpyDocString

import patchsim
from patchsim.cli import environment, option_groups
from patchsim.cli.app import app

FOLDER = Path(__file__).parents[1] / "docs" / "reference"
_WIDTH = 100
_NOTE = "<!-- Made by python tools/reference.py; change the docstrings and the help instead. -->"

# Public names by module and title, in the order of the page.
GROUPS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "Searching": ("patchsim", ("match", "Matcher", "scan", "wait", "Observer", "Cluster")),
    "Results": ("patchsim", ("Report", "Match", "ScanResult")),
    "The layer": ("patchsim", ("similarity_map",)),
    "Slot-matching losses": (
        "patchsim",
        (
            "matching_similarity_loss_per_img", "matching_similarity_loss_small_to_large",
            "matching_contrastive_loss", "matching_contrastive_loss_per_img", "match_slots",
            "stack_views", "collapsed", "orthogonal",
        ),
    ),
    "Errors": ("patchsim", ("PatchsimError", "InputError", "MachineError", "OutputError")),
    "In place of OpenCV": ("patchsim.compat.opencv", ("matchTemplate",)),
    "In place of scikit-image": ("patchsim.compat.skimage", ("match_template",)),
    "In place of PyScreeze": (
        "patchsim.compat.pyscreeze",
        (
            "locate", "locateAll", "center", "ImageNotFoundException", "Box", "Point",
        ),
    ),
    "In place of Multi-Template-Matching": (
        "patchsim.compat.mtm",
        ("matchTemplates", "findMatches", "NMS"),
    ),
}  # fmt: skip


def pages() -> dict[Path, str]:
    """Return the text of each page."""
    return {FOLDER / "python.md": python_page(), FOLDER / "commands.md": commands_page()}


def python_page() -> str:
    """Return the reference of the public names."""
    parts = ["# Python reference", _NOTE]
    parts += ["[In Python](../python.md) explains these names with examples."]
    listed = {name for _, names in GROUPS.values() for name in names}
    left = tuple(name for name in patchsim.__all__ if name not in listed)
    groups = {**GROUPS, "Further names": ("patchsim", left)} if left else GROUPS
    for title, (module_name, names) in groups.items():
        module = importlib.import_module(module_name)
        parts.append(f"## {title}")
        for name in names:
            parts += _described(f"{module_name}.{name}", getattr(module, name))
    return "\n\n".join(parts) + "\n"


def _described(path: str, thing: Any) -> Iterator[str]:
    yield f"### {path}"
    yield _signature(path.rpartition(".")[2], thing)
    yield from _documented(thing)
    if not inspect.isclass(thing):
        return
    for name, member in vars(thing).items():
        if name.startswith("_") or not (inspect.isfunction(member) or isinstance(member, property)):
            continue
        if not inspect.getdoc(member):
            continue
        if isinstance(member, property):
            yield f"#### {thing.__name__}.{name}"
        else:
            yield f"#### {thing.__name__}.{name}()"
            yield _signature(name, member)
        yield from _documented(member)


def _signature(name: str, thing: Any) -> str:
    """Return a signature as code, a parameter a line if it is long."""
    try:
        signature = inspect.signature(thing)
    except ValueError:
        return f"```py\n{name}\n```"
    given = [str(one) for one in _parameters(signature)]
    line = f"{name}({', '.join(given)})"
    if len(line) > _WIDTH:
        line = "\n".join([f"{name}(", *(f"    {one}," for one in given), ")"])
    return f"```py\n{line}\n```"


def _parameters(signature: inspect.Signature) -> Iterator[str]:
    """Yield the parameters without their types, which the text has."""
    is_keyword = False
    for one in signature.parameters.values():
        if one.name == "self":
            continue
        if one.kind is one.KEYWORD_ONLY and not is_keyword:
            is_keyword = True
            yield "*"
        stars = {"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}.get(one.kind.name, "")
        is_keyword |= one.kind is one.VAR_POSITIONAL
        default = "" if one.default is one.empty else f"={_value(one.default)}"
        yield f"{stars}{one.name}{default}"


def _value(value: Any) -> str:
    """Return a default as code is formatted here."""
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _documented(thing: Any) -> Iterator[str]:
    """Yield the sections of a docstring as Markdown."""
    sections: Any = NumpyDocString(inspect.getdoc(thing) or "")
    for section in ("Summary", "Extended Summary"):
        yield from _paragraphs(sections[section])
    for section in ("Parameters", "Attributes", "Returns", "Yields", "Raises"):
        if sections[section]:
            yield f"**{section}**"
            yield "\n".join(_item(entry) for entry in sections[section])
    yield from _paragraphs(sections["Notes"])
    if sections["Examples"]:
        yield "**Examples**"
        yield "\n".join(["```pycon", *sections["Examples"], "```"])


def _item(entry: Any) -> str:
    """Return an entry of a section as an item of a list."""
    kind = _in_markdown(entry.type)
    head = f"`{entry.name}`: {kind}" if entry.name else kind
    text = " ".join(_in_markdown(" ".join(entry.desc)).split())
    return f"- {head}" + (f". {text}" if text else "")


def _paragraphs(lines: Iterable[str]) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", "\n".join(lines)):
        if paragraph.startswith("    "):
            yield f"```text\n{textwrap.dedent(paragraph)}\n```"
        elif paragraph.strip():
            yield _in_markdown(paragraph.strip())


def _in_markdown(text: str) -> str:
    """Return text of reStructuredText in Markdown; what looks like HTML is no tag."""
    marked = re.sub(r"``(.+?)``", r"`\1`", text, flags=re.DOTALL)
    parts = re.split(r"(`[^`]*`)", marked)
    parts[::2] = [re.sub(r"([<*\[])", r"\\\1", part) for part in parts[::2]]
    return "".join(parts)


def commands_page() -> str:
    """Return the reference of the commands and their options."""
    parts = ["# Command reference", _NOTE]
    parts += [
        "`man patchsim` and `patchsim COMMAND --help` say the same. [One picture](../match.md) and"
        " [many pictures](../scan.md) explain the options with examples;"
        " [environment](../environment.md) lists the variables that set their defaults. The JSON"
        " that commands print has schemas: "
        + ", ".join(
            f"[{path.name.partition('.')[0]}](../schemas/{path.name})"
            for path in sorted((FOLDER.parent / "schemas").glob("*.json"))
        )
        + "."
    ]
    commands: dict[str, Any] = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    for name, command in commands.items():
        context = command.make_context(name, [], resilient_parsing=True)
        parts += [f"## patchsim {name}", *_of_command(command, context)]
    return "\n\n".join(parts) + "\n"


def _of_command(command: Any, context: Any) -> Iterator[str]:
    before, closing = option_groups.split_help(command.help)
    usage = " ".join([command.name, *command.collect_usage_pieces(context)])
    yield f"```text\npatchsim {usage}\n```"
    yield from _help_paragraphs(before)
    known = command.get_params(context)
    arguments = [one for one in known if one.param_type_name == "argument"]
    if arguments:
        yield "### Arguments of " + command.name
        rows = [(one.metavar, one.get_help_record(context)[1]) for one in arguments]
        yield _table("argument", rows)
    options = [one for one in known if one.param_type_name == "option"]
    for title, members in option_groups.grouped(command.name, options).items():
        yield f"### {title} ({command.name})"
        yield _table("option", [one.get_help_record(context) for one in members], members)
    yield from _help_paragraphs(closing)


def _help_paragraphs(text: str) -> Iterator[str]:
    for paragraph in re.split(r"\n\s*\n", text.strip()):
        if paragraph.startswith("\b"):
            title, *lines = paragraph.removeprefix("\b").strip("\n").split("\n")
            code = textwrap.dedent("\n".join(lines))
            yield f"{_in_markdown(title.strip())}\n\n```text\n{code}\n```"
        elif paragraph:
            yield _in_markdown(" ".join(paragraph.split()))


def _table(kind: str, rows: Iterable[tuple[str, str]], options: Iterable[Any] = ()) -> str:
    variables = [environment.variable(one) for one in options]
    lines = [f"| {kind} | what it says |" + (" variable |" if variables else "")]
    lines.append("|---|---|---|" if variables else "|---|---|")
    for number, (name, text) in enumerate(rows):
        cells = [f"`{name}`", _in_markdown(" ".join(text.split()))]
        if variables:
            cells.append(f"`{variables[number]}`" if variables[number] else "")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for path, text in pages().items():
        path.write_text(text, encoding="utf-8")
