"""The Typer app: its commands, and the options before a command."""

from __future__ import annotations

from typing import Annotated

import typer

import patchsim
from patchsim.cli import typed


class _Commands(typed.Group):
    names = ("match", "loss")


app = typer.Typer(
    name="patchsim",
    cls=_Commands,
    help="Find a small picture in a big one: exact sliding image similarity.",
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        print(f"patchsim {patchsim.__version__}")
        raise typer.Exit()


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass
