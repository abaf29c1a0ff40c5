"""The command line: one file for each command, `console` for stdout and stderr.

It may use `matching`, `slots` and what lies below, and has no arithmetic of its own. Nothing else
imports it; the installed command calls `main`.
"""

from __future__ import annotations

import os
from typing import NoReturn

from patchsim.errors import INTERRUPTED


def main() -> NoReturn:
    """Run the command with the process's arguments and streams, and end the process."""
    try:
        from patchsim.cli import imports

        with imports.quickly():
            from patchsim.cli import completion, console
            from patchsim.cli.app import app

        with console.guarded_streams():
            code = completion.answer(app) if completion.is_asked() else console.run(app)
    except KeyboardInterrupt:  # before the command began
        code = INTERRUPTED
    # All files are written and closed here. With torch an orderly exit takes 0.4 s more, on each
    # run and after each interrupt.
    os._exit(code)
