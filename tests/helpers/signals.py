"""The exception of a signal, raised wherever Python may raise it."""

from __future__ import annotations

import sys
import threading
from unittest import mock

from patchsim.cli import interruption

_SECONDS = 20  # after which something waits for ever


def at_each_step(run, behind=lambda: None):
    """Run something again and again, each time with a signal one step later, until there is none.

    Python looks for signals where a function begins, and behind each call of one written in C. The
    run must end by the signal, and what runs behind it, in another thread, must end, too. Where
    Python drops exceptions, as in what weak references call, the command ends at once.
    """
    step, sent = 0, [True]
    while sent:
        step += 1
        sent, ended, dropped = [], [], []
        with mock.patch("sys.unraisablehook", lambda lost, all=dropped: all.append(lost.exc_value)):
            _ending(lambda s=step, n=sent, e=ended: _run(run, s, n, e))
        if not sent:
            assert ended == [None]
        elif dropped != sent:
            assert interruption.behind(ended[0]) is sent[0], f"step {step}: the signal was lost"
        _ending(behind)
    return step - 1


def _run(run, step, sent, ended):
    left = step

    def profile(_frame, event, _argument):
        nonlocal left
        left -= event in ("call", "c_return")
        if not left:
            sys.setprofile(None)
            sent.append(interruption.Ended(143))
            raise sent[0]

    sys.setprofile(profile)
    try:
        run()
        sys.setprofile(None)
    except BaseException as error:
        ended.append(error)
    else:
        ended.append(None)


def _ending(work):
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(_SECONDS)
    assert not thread.is_alive(), "it waits for ever"
