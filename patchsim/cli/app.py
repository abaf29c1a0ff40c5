"""The Typer app: its commands, and the options before a command."""

# Annotations are values here: as text, Typer would compile the options before a command four times.

import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer

import patchsim
from patchsim import choices
from patchsim.cli import environment, typed
from patchsim.errors import InputError

_COMPLETION = ("--install-completion", "--show-completion")
_ENVIRONMENT = (
    "PATCHSIM_<OPTION> sets the default of an option, such as PATCHSIM_FORMAT=json or"
    " PATCHSIM_DATA_RANGE=0:4095; an option without a value takes 1 or 0. What is typed wins."
)
_NAMES = 24  # characters of the column of names in the help of a command


class _Command(typed.Command):
    """A command whose help has options in groups, and exit codes and examples behind them."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        options = [one for one in self.get_params(ctx) if one.param_type_name == "option"]
        given = environment.defaults(options)
        ctx.default_map = given
        with _explaining(self, ctx):
            left = super().parse_args(ctx, args)
        ignored = environment.settle(ctx, options, given)
        for text in ignored + environment.unknown(ctx, options):
            from patchsim.cli import console  # which needs no help of this module

            console.say(text)
        return left

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        arguments = (one for one in self.get_params(ctx) if one.param_type_name == "argument")
        return ["[OPTIONS]", *(_shown(one) for one in arguments)]

    def format_help(self, ctx: Any, formatter: Any) -> None:
        from patchsim.cli import option_groups

        before, closing = option_groups.split_help(self.help)
        self.format_usage(ctx, formatter)
        if before:
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(before)
        self.format_options(ctx, formatter)
        with formatter.section("Environment"):
            formatter.write_text(_ENVIRONMENT)
        if closing:
            formatter.write_paragraph()
            formatter.write_text(closing)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        parameters = self.get_params(ctx)
        arguments = [one for one in parameters if one.param_type_name == "argument"]
        sections = {"Arguments": [_argument_record(one, ctx) for one in arguments]}
        from patchsim.cli import option_groups

        options = [one for one in parameters if one.param_type_name == "option"]
        for title, members in option_groups.grouped(self.name or "", options).items():
            sections[title] = [one.get_help_record(ctx) for one in members]
        for title, records in sections.items():
            if records:
                with formatter.section(title):
                    # Names as wide as in the other sections, so that all texts begin in one column.
                    formatter.write_dl(
                        [(f"{name:{_NAMES}}", text) for name, text in records], col_max=_NAMES
                    )


@contextmanager
def _explaining(command: Any, context: Any) -> Iterator[None]:
    """Raise in our words what the parser says of the words of a command."""
    try:
        yield
    except typer.TyperException as error:
        from patchsim.cli import usage  # where words are wrong

        known = usage.explained(error, command, context)
        if known is None:
            raise
        raise known from error


def _shown(argument: Any) -> str:
    """Return an argument as the usage shows it, such as ``KERNEL...``."""
    name = str(argument.metavar) if argument.required else f"[{argument.metavar}]"
    return f"{name}..." if argument.nargs != 1 else name


def _argument_record(argument: Any, ctx: Any) -> tuple[str, str]:
    """Return what the help says of an argument: its name and its text."""
    _, text = argument.get_help_record(ctx)
    return _shown(argument), text.removesuffix("[required]").rstrip()


class _Commands(typed.Group):
    """The commands; words that no command would see are refused."""

    summaries = choices.SUMMARIES
    command_class = _Command

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and not ctx.resilient_parsing:
            args = _alone(*args)
        with _explaining(self, ctx):
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        word = args[0]
        if word not in self.commands:
            from patchsim.cli import usage

            raise usage.unknown_command(args, tuple(self.commands))
        return super().resolve_command(ctx, args)


def _alone(option: str, *words: str) -> list[str]:
    """Check the words behind an option that stands alone; an option's absent value is empty."""
    if option in _COMPLETION and len(words) <= 1:
        return [option, *(words or [""])]
    if option.partition("=")[0] in ("--version", *_COMPLETION) and words:
        surplus = words[1:] if option in _COMPLETION else words
        raise InputError(
            f"{option} stands alone, but {shlex.join(surplus)!r} follows; leave that out"
        )
    return [option, *words]


def _version(asked: bool) -> None:
    if asked:
        print(f"patchsim {patchsim.__version__}")
        raise typer.Exit()


def _install(shell: str | None) -> None:
    if shell is not None:
        from patchsim.cli import completion_scripts  # as below, where a person installs it

        completion_scripts.install(shell)
        raise typer.Exit()


def _show(shell: str | None) -> None:
    if shell is not None:
        from patchsim.cli import completion_scripts

        completion_scripts.show(shell)
        raise typer.Exit()


def _shells(incomplete: str) -> list[str]:
    from patchsim.cli import completion_scripts

    return [shell for shell in completion_scripts.SHELLS if shell.startswith(incomplete)]


app = typer.Typer(
    name="patchsim",
    cls=_Commands,
    help="Find a small picture in a big one: exact sliding image similarity.",
    epilog="patchsim COMMAND --help tells the options of a command, with examples.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
    install_completion: Annotated[
        str | None,
        typer.Option(
            "--install-completion",
            metavar="[SHELL]",
            callback=_install,
            is_eager=True,
            autocompletion=_shells,
            help="Install Tab completion for bash, zsh, fish or PowerShell; by default for the"
            " calling shell.",
        ),
    ] = None,
    show_completion: Annotated[
        str | None,
        typer.Option(
            "--show-completion",
            metavar="[SHELL]",
            callback=_show,
            is_eager=True,
            autocompletion=_shells,
            help="Print the script that --install-completion installs.",
        ),
    ] = None,
) -> None:
    pass
