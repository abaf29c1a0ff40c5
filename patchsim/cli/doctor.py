"""`patchsim doctor`: print what this installation can do, return the exit code."""

from __future__ import annotations

import json as json_module
import textwrap
from typing import Annotated, Any

import typer

from patchsim.cli import console, streams
from patchsim.errors import FAULT, FOUND
from patchsim.machine.memory import format_size

_WIDTH, _LABEL = 80, 13
_EXTENSION_OF = {
    "simd": "engines._sad",
    "fft": "engines._correlation",
    "pruned": "engines._pruned",
}


def command(
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> int:
    """Say what works here: engines, devices, formats, and what missing packages would add.

    \b
    Exit codes:
      0    nothing is broken; what is not installed is no fault
      2    wrong usage
      3    torch or a C extension cannot be loaded, or another fault
      129  the terminal was closed (SIGHUP)
      130  interrupted (Ctrl-C)
      143  terminated (SIGTERM)

    \b
    Examples:
      patchsim doctor
      patchsim doctor --json | jq -r '.engines[] | select(.reason == null).name'
    """
    # The help of all commands imports this module, and no facts.
    from patchsim.diagnosis import diagnosis

    facts = diagnosis()
    streams.print_lines([json_module.dumps(facts)] if json else _lines(facts))
    for problem in facts["problems"]:
        console.say(problem)
    return FAULT if facts["problems"] else FOUND


def _lines(facts: dict[str, Any]) -> list[str]:
    packages = [f"{one['name']} {one['version'] or 'absent'}" for one in facts["packages"]]
    read = [one["name"] for one in facts["formats"] if one["read"]]
    unread = [one["name"] for one in facts["formats"] if not one["read"]]
    rows = [
        ("patchsim", f"{facts['patchsim']}, Python {facts['python']}, {facts['platform']}"),
        ("packages", ", ".join(packages)),
        ("machine", f"{facts['cpus']} CPUs, {facts['processor']}"),
        (
            "devices",
            f"{', '.join(facts['devices'])}; {format_size(facts['memory_available'])} are free,"
            f" a search takes up to {format_size(facts['memory_limit'])} (--memory)",
        ),
        *((f"engine {one['name']}", _engine(one, facts)) for one in facts["engines"]),
        ("formats", ", ".join(read)),
        *([("", f"not in this build of Pillow: {', '.join(unread)}")] if unread else []),
        *((f"extra {one['name']}", _extra(one)) for one in facts["extras"]),
    ]
    return [line for label, text in rows for line in _wrapped(label, text)]


def _engine(engine: dict[str, Any], facts: dict[str, Any]) -> str:
    if not engine["metrics"]:
        return f"not here: {engine['reason']}"
    extension = _EXTENSION_OF.get(engine["name"])
    vectors = [one["instructions"] for one in facts["extensions"] if one["name"] == extension]
    return "; ".join([", ".join(engine["metrics"]), *(one for one in vectors if one)])


def _extra(extra: dict[str, Any]) -> str:
    """Say what an extra brings, and how to get it if packages are missing."""
    return f"{extra['install'] or 'installed'}: {extra['brings']}"


def _wrapped(label: str, text: str) -> list[str]:
    indent = " " * (_LABEL + 2)
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=f"{label:{_LABEL}}  ",
        subsequent_indent=indent,
        break_on_hyphens=False,
    )
