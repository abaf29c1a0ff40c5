"""Commands are made when they are asked for, and take text as it is typed."""

from __future__ import annotations

from typing import Annotated

import pytest
import typer

from patchsim.cli import typed
from patchsim.cli.app import app


def run(words, function):
    """What a command of a function returns."""
    alone = typer.Typer(add_completion=False)
    alone.command(cls=typed.Command)(function)
    return alone(words, standalone_mode=False)


def echo(
    names: Annotated[list[str], typer.Argument()],
    more: Annotated[list[str] | None, typer.Option()] = None,
    some: Annotated[list[int] | None, typer.Option()] = None,
    text: Annotated[str | None, typer.Option()] = None,
    count: Annotated[int | None, typer.Option()] = None,
    share: Annotated[float, typer.Option()] = 0.5,
    is_quiet: Annotated[bool, typer.Option("--quiet")] = False,
) -> object:
    return names, more, some, text, count, share, is_quiet


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("a", (["a"], None, None, None, None, 0.5, False)),
        ("a b --text 1 --quiet", (["a", "b"], None, None, "1", None, 0.5, True)),
        ("a --count 3 --share 1", (["a"], None, None, None, 3, 1.0, False)),
        ("a --more b --more c", (["a"], ["b", "c"], None, None, None, 0.5, False)),
        ("a --some 1 --some 2", (["a"], None, [1, 2], None, None, 0.5, False)),
        ("a --text=", (["a"], None, None, "", None, 0.5, False)),
    ],
)
def test_values_are_those_of_typer(words, values):
    plain = typer.Typer(add_completion=False)
    plain.command()(echo)
    assert plain(words.split(), standalone_mode=False) == values
    assert run(words.split(), echo) == values


@pytest.mark.parametrize("words", ["", "a --count x", "a --share", "a --some 1 --some b", "a --no"])
def test_errors_are_those_of_typer(words):
    plain = typer.Typer(add_completion=False)
    plain.command()(echo)
    messages = []
    for command in (
        lambda: plain(words.split(), standalone_mode=False),
        lambda: run(words.split(), echo),
    ):
        with pytest.raises(typer.TyperException) as caught:
            command()
        messages.append(caught.value.format_message())
    assert messages[0] == messages[1]


def test_the_table_of_commands():
    commands = typer.main.get_command(app).commands
    assert list(commands) == ["match", "scan", "merge", "loss", "doctor"]
    assert len(commands) == 5
    assert "match" in commands
    assert "mtch" not in commands
    assert commands.get("mtch") is None
    assert [command.name for command in commands.values()] == [
        "match",
        "scan",
        "merge",
        "loss",
        "doctor",
    ]
