"""Commands of Typer that are made when they are asked for, and take text as it is typed.

Typer makes all commands, and for each parameter an adapter of pydantic, also for text and for what
was not given. To import pydantic and to make the adapters takes longer than most searches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup


class Command(TyperCommand):
    """A command whose values of text are not converted."""

    def get_params(self, ctx: Any) -> list[Any]:
        return [_as_typed(parameter) for parameter in super().get_params(ctx)]


class Group(TyperGroup):
    """A group of commands, whose own values of text are not converted, either.

    Attributes
    ----------
    summaries : mapping of str to str
        The commands, each a module of `patchsim.cli` with a function `command`, in the order of
        the help, and what it says of each.
    command_class : type of Command
    """

    summaries: ClassVar[Mapping[str, str]] = {}
    command_class: Any = Command

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.commands: Any = _Commands(tuple(self.summaries), self.command_class)

    def get_params(self, ctx: Any) -> list[Any]:
        return [_as_typed(parameter) for parameter in super().get_params(ctx)]

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - Typer's name
        """Write the commands, none of which is made for it."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.summaries.items()))


class _Commands(Mapping[str, Any]):
    """Commands by their names; each is imported and made when it is first taken."""

    def __init__(self, names: tuple[str, ...], kind: type[Command]) -> None:
        self._names = names
        self._kind = kind
        self._made: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        if name not in self._made:
            alone = typer.Typer(add_completion=False, rich_markup_mode=None)
            alone.command(name, cls=self._kind)(import_module(f"patchsim.cli.{name}").command)
            self._made[name] = typer.main.get_command(alone)
        return self._made[name]

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def _as_typed(parameter: Any) -> Any:
    """Let a parameter make its converter only for a value that needs one."""
    make = getattr(parameter, "get_runtime_param", None)
    # A Typer without this method converts values in its own way.
    if make is not None and not isinstance(make, _Converter):
        parameter.get_runtime_param = _Converter(make)
    return parameter


class _Converter:
    """Takes the place of a parameter's method that makes its converter, and of the converter."""

    def __init__(self, make: Any) -> None:
        self._make = make

    def __call__(self) -> _Converter:
        return self

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return a value in the parameter's type."""
        is_list = param.multiple or param.nargs == -1
        if value is None:
            return () if is_list else None
        kind = param.type_descriptor.annotation
        if isinstance(kind, type) and type(value) is kind:  # text, or a default
            return value
        if is_list and kind == list[str] and all(type(item) is str for item in value):
            return list(value)
        return self._make().coerce(value, param=param, ctx=ctx)
