"""The command line: one file for each command, `console` for stdout and stderr.

It may use `matching`, `slots` and what lies below, and has no arithmetic of its own. Nothing else
imports it; the installed command calls `main`.
"""

from __future__ import annotations

import os

from patchsim.cli import interruption

TYPE_CHECKING = False  # loading `typing` would delay the answers to signals
if TYPE_CHECKING:
    from typing import NoReturn


def main() -> NoReturn:
    """Run the command with the process's arguments and streams, and end the process."""
    interruption.end_at_once()
    try:
        from patchsim.cli import imports

        with imports.quickly():
            from patchsim.cli import completion, console
            from patchsim.cli.app import app

        interruption.raise_from_now_on()
        with console.guarded_streams():
            code = completion.answer(app) if completion.is_asked() else console.run(app)
        interruption.end_at_once()
    except interruption.Ended as ended:  # beside the run, which answers it, too
        code = ended.code
    # All files are written and closed here. With torch an orderly exit takes 0.4 s more, on each
    # run and after each interrupt.
    os._exit(code)
