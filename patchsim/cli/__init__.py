"""The command line: one file for each command; `console` runs them.

It may use `matching`, `slots` and what lies below, and has no arithmetic of its own. Nothing else
imports it, but for `__main__`. The installed command calls `run_as_process`, Python code `main`.
"""

from __future__ import annotations

import os
import sys

from patchsim.cli import interruption

TYPE_CHECKING = False  # loading `typing` would delay the answers to signals
if TYPE_CHECKING:
    from typing import NoReturn

_ASKED = "_PATCHSIM_COMPLETE"  # of the environment: the shell that asks for completions


def main() -> NoReturn:
    """Run the command within a process of the caller's, whose streams and signals stay as they are.

    The words of the command are those of `sys.argv`, behind the first.

    Raises
    ------
    SystemExit
        With the exit code.
    """
    sys.exit(_run())


def run_as_process() -> NoReturn:
    """Run the command as the whole of a process, and end the process."""
    try:
        interruption.end_at_once()
    except KeyboardInterrupt:  # a Ctrl-C that came before
        os._exit(130)
    try:
        code = _run(owns_process=True)
        interruption.end_at_once()
    except interruption.Ended as ended:  # beside the run, which answers it, too
        code = ended.code
    # All files are written and closed here. With torch an orderly exit takes 0.4 s more, on each
    # run and after each interrupt.
    os._exit(code)


def _run(*, owns_process: bool = False) -> int:
    """Run the command and return its exit code."""
    try:
        from patchsim.cli import imports

        with imports.quickly():
            from patchsim.cli import console, streams
            from patchsim.cli.app import app
    except Exception as error:  # whatever a package raises that does not load
        return _told(error)
    if owns_process:
        from patchsim.pictures import decoder_lines

        decoder_lines.turn_on()
        interruption.raise_from_now_on()
    with streams.guarded_streams():
        if not os.environ.get(_ASKED):
            return console.run(app)
        from patchsim.cli import completion  # where a shell asks

        return completion.answer(app)


def _told(error: Exception) -> int:
    """Tell of a package that the command cannot begin without; return the exit code."""
    from patchsim.errors import FAULT
    from patchsim.machine import packages

    message = packages.failure(error)
    if message is None or "--debug" in sys.argv:
        import traceback

        traceback.print_exception(error)
    # A shell that asks for completions shows stderr in its prompt.
    if message is not None and sys.stderr is not None and _ASKED not in os.environ:
        for line in message.splitlines():
            print(f"patchsim: {line}", file=sys.stderr, flush=True)
    return FAULT
