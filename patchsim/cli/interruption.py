"""How signals end the command: quietly, with their own exit codes, and with nothing left behind.

SIGINT (Ctrl-C), SIGTERM and SIGHUP (a terminal that closes) end it with 128 and their number. A
signal that the caller ignores, as `nohup` does, stays ignored.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False  # loading `typing` would delay the answers to signals
if TYPE_CHECKING:
    from collections.abc import Callable

_NAMES = ("SIGINT", "SIGTERM", "SIGHUP")  # Windows lacks the last one
_STDERR = 2

_is_line_taken_away = False  # by who shows progress on it, and the ^C of the terminal with it
_is_at_start_of_line = True


class Ended(BaseException):
    """Raised by a signal, so that the command cleans up before it ends with `code`.

    It is no KeyboardInterrupt: Typer would answer that with an empty line.
    """

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


def behind(error: BaseException) -> Ended | None:
    """Return the signal's exception of which Python or a library has made another one, if any.

    Python 3.11 does so with what is raised while a class is made.
    """
    seen: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause not in seen:
        if isinstance(cause, Ended):
            return cause
        seen.append(cause)
        cause = cause.__cause__ or cause.__context__
    return None


def end_at_once() -> None:
    """Let signals end the process without an exception, while there is nothing to clean up."""
    _handle_by(_end)


def raise_from_now_on() -> None:
    """Let the first signal raise `Ended`, and a further one end the process at once."""
    _handle_by(_raise)
    sys.unraisablehook = _end_if_lost


def take_line_away(*, is_shown: bool) -> None:
    """Let a line of progress, which ends without a new line, be taken away where it is shown."""
    global _is_line_taken_away
    _is_line_taken_away = is_shown


def end_line() -> None:
    """End the line on which the terminal shows ^C, so that the shell's prompt begins a new one.

    Nothing is written if that line has an end, or standard error is no terminal, as while it is
    collected from decoders.
    """
    global _is_at_start_of_line
    try:
        if not _is_at_start_of_line and os.isatty(_STDERR):
            os.write(_STDERR, b"\n")
            _is_at_start_of_line = True
    except OSError:  # a terminal that is gone
        pass


def _note_echo(number: int) -> None:
    global _is_at_start_of_line
    if number == signal.SIGINT:
        _is_at_start_of_line = False


def _handle_by(handler: Callable[[int, object], None]) -> None:
    for name in _NAMES:
        number = getattr(signal, name, None)
        # None stands for a handler that is not Python's.
        if number is not None and signal.getsignal(number) not in (signal.SIG_IGN, None):
            signal.signal(number, handler)


def _raise(number: int, _frame: object) -> None:
    end_at_once()
    if not _is_line_taken_away:
        _note_echo(number)
        end_line()
    raise Ended(128 + number)


def _end(number: int, _frame: object) -> None:
    _note_echo(number)
    end_line()
    _end_with(128 + number)


def _end_if_lost(lost: sys.UnraisableHookArgs) -> None:
    """End the process if a signal's exception was raised where Python drops exceptions."""
    if isinstance(lost.exc_value, Ended):
        _end_with(lost.exc_value.code)
    sys.__unraisablehook__(lost)


def _end_with(code: int) -> None:
    replacement = sys.modules.get("patchsim.files.replacement")
    discard = getattr(replacement, "discard_unfinished", None)
    if discard is not None:  # else no file was begun: the module is not loaded, or not wholly
        discard()
    os._exit(code)
