"""The progress that a terminal shows."""

from __future__ import annotations

import io
import sys

import pytest

from patchsim.cli import watcher


class Stderr(io.StringIO):
    def __init__(self, *, is_terminal):
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self):
        return self._is_terminal


@pytest.mark.parametrize(
    ("is_terminal", "quiet", "shows"),
    [(True, False, True), (True, True, False), (False, False, False)],
)
def test_the_bar_appears_with_the_first_progress_of_a_search_that_began_a_while_ago(
    monkeypatch, is_terminal, quiet, shows
):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Stderr(is_terminal=is_terminal))
    now = 100.0
    monkeypatch.setattr(watcher.time, "monotonic", lambda: now)
    with watcher.Watcher(quiet=quiet, explain=False) as observer:
        now += 0.9
        observer.progress(1, 1000)
        assert not sys.stderr.getvalue()
        now += 0.2
        observer.progress(2, 1000)
        assert ("searching" in sys.stderr.getvalue()) == shows
    with watcher.Watcher(quiet=quiet, explain=False) as observer:
        now += 1.1
        sys.stderr.truncate(0)
        observer.progress(1, 1000)
        assert ("searching" in sys.stderr.getvalue()) == shows
