"""The command line: one file a command, `console` for what goes to stdout and stderr."""

from patchsim.errors import INTERRUPTED


def main() -> int:
    """Run the command with the process's arguments and streams; returns the exit code."""
    try:
        from patchsim.cli import console
        from patchsim.cli.app import app

        with console.guarded_streams():
            return console.run(app)
    except KeyboardInterrupt:  # before the command began
        return INTERRUPTED
