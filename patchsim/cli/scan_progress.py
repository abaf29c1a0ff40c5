"""One line on the terminal that says how far a scan is."""

from __future__ import annotations

import contextlib
import sys
import time

from patchsim.cli import interruption

_EVERY_SECONDS = 0.2


class Progress:
    """Shows the number of pictures that are done, their rate, and the time that is left.

    Parameters
    ----------
    is_shown : bool
        Standard error is a terminal that someone watches.

    Attributes
    ----------
    is_shown : bool
    total : int
        The number of all pictures; 0 as long as it is not known.
    """

    def __init__(self, *, is_shown: bool) -> None:
        self.is_shown = is_shown
        self._started = self._shown_at = time.monotonic()
        self._done = self._skipped = self.total = 0

    def clear(self) -> None:
        """Take the line away, before something else is printed."""
        if self.is_shown:
            self._write("")

    def skip(self) -> None:
        """Count one more picture that was done before this run."""
        self._skipped += 1

    def advance(self) -> None:
        """Count one more picture, and show the line where it is time."""
        self._done += 1
        now = time.monotonic()
        if self.is_shown and now - self._shown_at >= _EVERY_SECONDS:
            self._shown_at = now
            seconds = now - self._started
            self._write(described(self._done, self.total, seconds, before=self._skipped))

    def _write(self, text: str) -> None:
        interruption.take_line_away(is_shown=bool(text))
        # A closed stderr must not change how the scan ends.
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()


def described(new: int, total: int, seconds: float, *, before: int = 0) -> str:
    """Say how far a scan is; a total of 0 is not known.

    The rate is that of the `new` pictures; those `before` were done by an earlier run.
    """
    rate, done = new / max(seconds, 1e-9), before + new
    text = f"{done:,}{f' of {total:,}' if total else ''} pictures, {rate:.3g} a second"
    left = round((total - done) / max(rate, 1e-9))
    if total <= done:
        return text
    clock = f"{left // 60}:{left % 60:02}" if left < 3600 else f"{left // 3600} h {left // 60 % 60}"
    return f"{text}, {clock} left"
