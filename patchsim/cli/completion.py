"""Tab completion: what the command answers to a shell, and the scripts that ask it.

A script puts the shell's name into `_PATCHSIM_COMPLETE`, the line up to the cursor into
`_PATCHSIM_LINE`, and runs the command. The command prints one answer a line. An exit code of
`Files` says that the shell should complete the name of a file instead. For a picture the answer is
the endings of such names; the shell offers any file where no picture fits. Typer answers PowerShell
in its own way.
"""

from __future__ import annotations

import os
import shlex
import sys
import textwrap
from collections.abc import Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any, NamedTuple

import typer

from patchsim.cli import console
from patchsim.errors import FOUND, InputError, OutputError, printable
from patchsim.files import atomic

SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")

_VARIABLE = "_PATCHSIM_COMPLETE"
_PICTURE_COMMANDS = ("match", "scan")  # those whose words are pictures
_PICTURE_OPTIONS = ("kernel", "mask", "image_mask")
_MORE_ENDINGS = ("hdr", "svs", "ndpi", "scn", "bif")  # pictures that a scan of a folder passes over
_LONGEST_ABOUT = 70  # characters
_CURSOR = "\0"  # marks the end of the line, so that a line that ends in a space has an empty word

_BASH = """\
_patchsim_completion() {
    local answers file IFS=$'\\n'
    COMPREPLY=()
    answers=$(_PATCHSIM_COMPLETE=bash _PATCHSIM_LINE="${COMP_LINE:0:COMP_POINT}" \\
              _PATCHSIM_WORD="$2" "$1" 2>/dev/null)
    case $? in
        0)
            compopt +o default 2>/dev/null
            COMPREPLY=($answers);;
        4)
            compopt -o filenames 2>/dev/null || return
            while read -r file; do
                [[ -d ${file/#\\~/$HOME} || $file =~ \\.($answers)$ ]] && COMPREPLY+=("$file")
            done < <(compgen -f -- "$2");;
    esac
}

complete -o default -F _patchsim_completion patchsim"""

# zsh reads the file at the first Tab, as the body of a function of its name; the last lines then
# answer that Tab.
_ZSH = """\
#compdef patchsim

_patchsim() {
    local said
    local -a answers
    said=$(_PATCHSIM_COMPLETE=zsh _PATCHSIM_LINE="${words[1,CURRENT]}" patchsim 2>/dev/null)
    local code=$?
    [[ $PREFIX == --*=* ]] && compset -P '*='
    if (( code == 4 )); then
        _files -g "*.(#i)($said)"
    elif (( code )); then
        _files
    elif [[ -n $said ]]; then
        answers=("${(@f)said}")
        _describe 'patchsim' answers
    fi
}

if [[ $funcstack[1] == _patchsim ]]; then
    _patchsim "$@"
else
    compdef _patchsim patchsim
fi"""

_FISH = """\
complete --command patchsim --erase
function __patchsim_complete
    set --global __patchsim_answers (env _PATCHSIM_COMPLETE=fish \\
        _PATCHSIM_LINE=(commandline --cut-at-cursor --current-process) patchsim 2>/dev/null)
    set --local code $status
    test $code -eq 4; or return $code
    set --local word (commandline --cut-at-cursor --current-token)
    set --local option (string match --regex -- '^--[^=]*=' $word)
    set --local names (__fish_complete_path (string replace --regex -- '^--[^=]*=' '' $word) |
        string match --regex --ignore-case -- '^.*(?:/|\\.(?:'$__patchsim_answers'))(?=\\t|$)')
    set --global __patchsim_answers "$option"$names
    test (count $names) -gt 0
end
complete --command patchsim --no-files --condition __patchsim_complete \\
    --arguments '$__patchsim_answers'"""

_SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


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
    """What files a shell should offer, as an exit code."""

    ANY = 1
    PICTURES = 4


def is_asked() -> bool:
    """Return whether a shell asks for completions."""
    return bool(os.environ.get(_VARIABLE))


def answer(app: typer.Typer) -> int:
    """Print the answers to a shell's question, and return the exit code.

    Nothing goes to stderr, because it would stand in the prompt.
    """
    shell = os.environ[_VARIABLE]
    if shell not in _SCRIPTS:
        # Typer re-exports these three without declaring it.
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
        return console.run(app)
    try:
        line = os.environ.get("_PATCHSIM_LINE", "")
        completions = answers(app, line)
        if isinstance(completions, Files):
            _print_lines([_endings(shell)] if completions is Files.PICTURES else [])
            return completions
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
    names = command.commands
    if not before and not begun.startswith("-"):
        return [
            Answer(name, _first_sentence(one.help))
            for name, one in names.items()
            if name.startswith(begun)
        ]
    if before and before[0] in names:
        command, before = names[before[0]], before[1:]
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
        # bash completes what stands behind the last = or : of the word.
        skipped = max(0, len(_words(line)[-1]) - len(os.environ.get("_PATCHSIM_WORD", "")))
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


def _endings(shell: str) -> str:
    """Return the endings of pictures' names with bars between them, for a pattern of a shell."""
    from patchsim.scanning.listing import SUFFIXES

    endings = sorted([*(suffix.removeprefix(".") for suffix in SUFFIXES), *_MORE_ENDINGS])
    if shell == "bash":  # whose patterns cannot leave the case open
        endings = [
            "".join(f"[{letter}{letter.upper()}]" if letter.isalpha() else letter for letter in one)
            for one in endings
        ]
    return "|".join(endings)


def show(shell: str) -> None:
    """Print the completion script of a shell; an empty name stands for the calling shell.

    Raises
    ------
    InputError
        If the shell has no completion, or is not known.
    """
    print(_script(_known(shell)))


def install(shell: str) -> None:
    """Install the completion of a shell; an empty name stands for the calling shell.

    Raises
    ------
    InputError
        If the shell has no completion, or is not known.
    OutputError
        If a file cannot be written.
    """
    shell = _known(shell)
    if shell == "bash":
        path = Path.home() / ".bash_completions" / "patchsim.sh"
        _append(Path.home() / ".bashrc", f"source '{path}'")
    elif shell == "zsh":
        path = Path.home() / ".zfunc" / "_patchsim"
        start = Path(os.environ.get("ZDOTDIR") or Path.home()) / ".zshrc"
        _append(start, "fpath+=~/.zfunc; autoload -Uz compinit; compinit")
    elif shell == "fish":
        base = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
        path = Path(base) / "fish" / "completions" / "patchsim.fish"
    else:
        # As above.
        from typer.completion import install as install_by_typer  # type: ignore[attr-defined]

        _, path = install_by_typer(shell, "patchsim", _VARIABLE)
    if shell in _SCRIPTS:
        _make_folder(path.parent)
        with atomic.writing(path) as file:
            file.write(f"{_script(shell)}\n".encode())
    print(f"{shell} completion is installed in {printable(path)}; it works in new shells")


def _script(shell: str) -> str:
    if shell in _SCRIPTS:
        return _SCRIPTS[shell]
    # As above.
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    return str(get_completion_script(prog_name="patchsim", complete_var=_VARIABLE, shell=shell))


def _known(shell: str) -> str:
    """Return the name of a shell that has a completion."""
    name = shell or _calling_shell()
    if name not in SHELLS:
        raise InputError(
            f"shell {name!r} has no completion; there is {', '.join(SHELLS)},"
            " as in patchsim --show-completion bash"
        )
    return name


def _calling_shell() -> str:
    import shellingham

    try:
        return str(shellingham.detect_shell()[0])
    except shellingham.ShellDetectionFailure:
        raise InputError(
            f"the calling shell is not known; name one of {', '.join(SHELLS)},"
            " as in patchsim --show-completion bash"
        ) from None


def _append(path: Path, line: str) -> None:
    """Append a line to a shell's start file, unless it is there."""
    try:
        text = path.read_text(errors="surrogateescape") if path.exists() else ""
        if line not in text.splitlines():
            _make_folder(path.parent)
            with path.open("a", errors="surrogateescape") as file:
                file.write(f"{line}\n" if text == "" or text.endswith("\n") else f"\n{line}\n")
    except OSError as error:
        raise OutputError(
            f"cannot write {printable(path)}: {atomic.failure_reason(error)}"
        ) from error


def _make_folder(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"cannot write {printable(path)}: {atomic.failure_reason(error)}"
        ) from error
