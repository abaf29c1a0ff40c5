"""Shows a search on stderr while it runs: notices, plans, a progress bar."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from patchsim.cli import console, interruption
from patchsim.events import Observer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from patchsim.planning.planner import Plan
    from patchsim.ranking.contract import Windows

_PROGRESS_AFTER_SECONDS = 1.0
_NAMED = 2  # names that a long list of kernels shows


def is_watched(*, quiet: bool) -> bool:
    """Return whether a person may read stderr as it comes: it is a terminal, and not silenced."""
    return not quiet and sys.stderr is not None and sys.stderr.isatty()


class Watcher(Observer):
    """Shows a search on stderr; as a context manager it leaves no progress bar behind.

    Parameters
    ----------
    quiet, explain : bool
        The flags.
    advice : mapping of str to str
        What to add to the line that tells of a file of this kind.
    """

    def __init__(
        self, *, quiet: bool, explain: bool, advice: Mapping[str, str] | None = None
    ) -> None:
        self._quiet = quiet
        self._explain = explain
        self._advice = advice or {}
        self.command = shlex.join(["patchsim", *console.command_words()])
        self._terminal = is_watched(quiet=quiet)
        self._started = time.monotonic()  # what comes before the first progress counts, too
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def notice(self, text: str) -> None:
        if not self._quiet:
            console.say(text)

    def wrote(self, text: str) -> None:
        self.notice(text + self._advice.get(text.partition(" ")[0], ""))

    def planned(self, plan: Plan, kernels: Sequence[str]) -> None:
        if self._explain:
            lines = "\n  ".join(str(plan).splitlines())
            console.say(f"plan for {some(kernels)}: {lines}")

    def swept(self, text: str) -> None:
        if self._explain:
            console.say(f"plan: {text}")

    def resolved(self, fields: Sequence[Windows], plan: Plan, kernels: Sequence[str]) -> None:
        singly = sum(field.windows_evaluated for field in fields)
        settled = sum(field.blocks_evaluated for field in fields)
        if not self._explain or not (singly or settled):
            return
        blocks = ""
        others = plan.direct_plan or plan.exact_plan
        if settled and others:
            share = settled / sum(field.block_count for field in fields)
            of_all = f"{share:.0%} of the map{'s' * (len(fields) > 1)}"
            blocks = f" and {settled:,} blocks ({of_all}) by {others.engine}"
        windows = f"{singly:,} window{'s' * (singly != 1)}"
        console.say(f"scored exactly for {some(kernels)}: {windows} alone{blocks}")

    def progress(self, done: int, total: int) -> None:
        if not self._terminal:
            return
        now = time.monotonic()
        if done == total:
            self._stop()
        elif self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done)
        elif now - self._started > _PROGRESS_AFTER_SECONDS:
            self._start(done, total)

    def _start(self, done: int, total: int) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TimeRemainingColumn

        self._bar = Progress(
            "searching",
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        interruption.take_line_away(is_shown=True)
        self._bar.start()
        self._task = self._bar.add_task("searching", total=total, completed=done)

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            interruption.take_line_away(is_shown=False)
            self._bar = None


def some(names: Sequence[str]) -> str:
    """Join names as in a sentence, long lists shortened: a.png, b.png and 98 more."""
    if len(names) == 1:
        return names[0]
    most = _NAMED if len(names) > _NAMED + 1 else len(names) - 1
    left = len(names) - most
    return f"{', '.join(names[:most])} and {names[-1] if left == 1 else f'{left} more'}"
