"""The scripts by which shells ask the command for completions, and how they are installed."""

from __future__ import annotations

import os
from pathlib import Path

from patchsim.errors import InputError, OutputError, printable
from patchsim.files import atomic

SHELLS = ("bash", "zsh", "fish", "powershell", "pwsh")
VARIABLE = "_PATCHSIM_COMPLETE"  # of the environment: the shell that asks

_BASH = """\
_patchsim_completion() {
    local answers answer code
    COMPREPLY=()
    answers=$(_PATCHSIM_COMPLETE=bash _PATCHSIM_LINE="${COMP_LINE:0:COMP_POINT}" \\
              _PATCHSIM_WORD="$2" "$1" 2>/dev/null)
    code=$?
    case $code in
        0) compopt +o default 2>/dev/null;;
        4) compopt -o filenames 2>/dev/null || return;;
        *) return;;
    esac
    while IFS= read -r answer; do
        [[ -n $answer ]] && COMPREPLY+=("$answer")
    done <<< "$answers"
    # Bash cannot tell that what follows = or : of a name is a folder's.
    [[ $code == 4 && ${#COMPREPLY[@]} == 1 && ${COMPREPLY[0]} == */ ]] && compopt -o nospace
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
    [[ $PREFIX == --*=* ]] && compset -P 1 '*='
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
    contains -- $status 0 4
end
complete --command patchsim --no-files --condition __patchsim_complete \\
    --arguments '$__patchsim_answers'"""

SCRIPTS = {"bash": _BASH, "zsh": _ZSH, "fish": _FISH}


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
        # Typer re-exports it without declaring it.
        from typer.completion import install as install_by_typer  # type: ignore[attr-defined]

        _, path = install_by_typer(shell, "patchsim", VARIABLE)
    if shell in SCRIPTS:
        _make_folder(path.parent)
        with atomic.writing(path) as file:
            file.write(f"{_script(shell)}\n".encode())
    print(f"{shell} completion is installed in {printable(path)}; it works in new shells")


def _script(shell: str) -> str:
    if shell in SCRIPTS:
        return SCRIPTS[shell]
    # As above.
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    return str(get_completion_script(prog_name="patchsim", complete_var=VARIABLE, shell=shell))


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
