"""Signals end the command with their own code, from its first step to its last, without a word."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from helpers import ENVIRONMENT

from patchsim import cli
from patchsim.cli import interruption

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has other signals")
SIGNALS = {"SIGHUP": 129, "SIGINT": 130, "SIGTERM": 143}


def run(code, *words):
    return subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env=ENVIRONMENT
    )


def shown(code, *words):
    """The exit code, and what a terminal gets that is standard error."""
    import pty  # which Windows lacks

    terminal, stderr = pty.openpty()
    done = subprocess.run(
        [sys.executable, "-c", code, *words], stderr=stderr, stdout=subprocess.PIPE, env=ENVIRONMENT
    )
    os.write(stderr, b"|")  # the end of what there is to read
    text = b""
    while not text.endswith(b"|"):
        text += os.read(terminal, 1 << 16)
    os.close(stderr)
    os.close(terminal)
    return done.returncode, text[:-1].decode()


def ended(done):
    return done.returncode, done.stdout, done.stderr


# In each of these, {0} is a statement that sends the process a signal.
MOMENTS = {
    "at the first import": """
import builtins, signal, patchsim.cli
true_import = builtins.__import__
def send(*words):
    builtins.__import__ = true_import
    {0}
    return true_import(*words)
builtins.__import__ = send
patchsim.cli.run_as_process()
""",
    "between imports and the run": """
import contextlib, signal, patchsim.cli
from patchsim.cli import streams
def guarded():
    {0}
streams.guarded_streams = guarded
patchsim.cli.run_as_process()
""",
    "in the run": """
import signal, patchsim.cli
from patchsim.cli import console
def say(app):
    try:
        {0}
    except Exception:
        print("a handler of errors took it")
console.run = say
patchsim.cli.run_as_process()
""",
    "where Python drops exceptions": """
import signal, patchsim.cli
from patchsim.cli import console
class Finalized:
    def __del__(self):
        {0}
def say(app):
    Finalized()
    print("the signal was lost")
console.run = say
patchsim.cli.run_as_process()
""",
    "where Python makes another exception of it": """
import signal, patchsim.cli, patchsim.cli.app
class Named:
    def __set_name__(self, owner, name):
        {0}
def app(*words, **options):
    class Owner:
        named = Named()
patchsim.cli.app.app = app
patchsim.cli.run_as_process()
""",
    "where a library makes another exception of it": """
import signal, patchsim.cli, patchsim.cli.app
def app(*words, **options):
    try:
        {0}
    except BaseException:
        raise ValueError("no picture") from None
patchsim.cli.app.app = app
patchsim.cli.run_as_process()
""",
    "behind the run": """
import os, signal, patchsim.cli
true_exit = os._exit
def exit(code):
    os._exit = true_exit
    {0}
    true_exit(code)
os._exit = exit
patchsim.cli.run_as_process()
""",
    "a second time, while it cleans up": """
import signal, patchsim.cli
from patchsim.cli import console
def say(app):
    try:
        {0}
    finally:
        {0}
        print("the second signal waited")
console.run = say
patchsim.cli.run_as_process()
""",
}


TIMES = {moment: code.count("{0}") for moment, code in MOMENTS.items()}  # of the signal


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", SIGNALS)
def test_a_signal_ends_the_command_quietly(name, moment):
    sent = MOMENTS[moment].format(f"signal.raise_signal(signal.{name})")
    out = "" if moment != "behind the run" else "patchsim 0.1.0\n"
    assert ended(run(sent, "--version")) == (SIGNALS[name], out, "")


@pytest.mark.parametrize("moment", MOMENTS)
@pytest.mark.parametrize("name", SIGNALS)
def test_the_line_on_which_a_terminal_shows_ctrl_c_is_ended(name, moment):
    """The prompt that follows begins a line. Other signals show nothing."""
    sent = MOMENTS[moment].format(f"signal.raise_signal(signal.{name})")
    assert shown(sent, "--version") == (SIGNALS[name], "\r\n" * (name == "SIGINT") * TIMES[moment])


def test_a_line_of_progress_is_taken_away_with_ctrl_c():
    code = MOMENTS["in the run"].format("""
        from patchsim.cli.scan_progress import Progress
        progress = Progress(is_shown=True)
        progress._write("3 of 4 pictures")
        try:
            signal.raise_signal(signal.SIGINT)
        finally:
            progress.clear()""")
    assert shown(code) == (130, "\r\x1b[K3 of 4 pictures\r\x1b[K")


def test_what_is_told_of_an_end_begins_a_line():
    code = """
import contextlib, os, signal, sys, patchsim.cli, patchsim.cli.app
def app(*words, **options):
    true = os.dup(2)
    with open(os.devnull, "w") as decoders:
        os.dup2(decoders.fileno(), 2)  # as while a decoder's lines are collected
        try:
            signal.raise_signal(signal.SIGINT)
        except BaseException as error:
            error.add_note("a file was left")
            raise
        finally:
            os.dup2(true, 2)
patchsim.cli.app.app = app
patchsim.cli.run_as_process()
"""
    assert shown(code) == (130, "\r\npatchsim: a file was left\r\n")


def test_a_signal_at_any_import_ends_the_command_quietly():
    """At each import of the command, a copy of the process gets the signal."""
    code = """
import builtins, os, signal, sys, patchsim.cli
true_import = builtins.__import__
moments = 0
def send(name, module=None, *words):
    global moments
    if module and module.get("__name__", "").startswith("patchsim"):
        copy = os.fork()
        if not copy:
            builtins.__import__ = true_import
            signal.raise_signal(signal.SIGTERM)
            os._exit(0)
        ended = os.waitstatus_to_exitcode(os.waitpid(copy, 0)[1])
        assert ended == 143, (module["__name__"], name, ended)
        moments += 1
    return true_import(name, module, *words)
def run(app):
    builtins.__import__ = true_import
    assert moments > 100, moments
    return 0
from patchsim.cli import interruption
interruption.end_at_once()
builtins.__import__ = send
from patchsim.cli import console
console.run = run
patchsim.cli.run_as_process()
"""
    assert ended(run(code)) == (0, "", "")


def test_the_end_at_once_leaves_no_temporary_file(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from patchsim import cli
from patchsim.cli import interruption
from patchsim.files import atomic, replacement
replacement._WITHOUT_NAME = None  # as on a system that has no files without a name
folder = Path({str(tmp_path)!r})
interruption.end_at_once()
with atomic.writing(folder / "a") as file:
    assert len(list(folder.iterdir())) == 1
    signal.raise_signal(signal.SIGTERM)
"""
    assert ended(run(code)) == (143, "", "")
    assert list(tmp_path.iterdir()) == []


def test_another_lost_exception_is_told_as_ever():
    code = """
import sys
from patchsim import cli
from patchsim.cli import interruption
interruption.raise_from_now_on()
class Finalized:
    def __del__(self):
        raise ValueError("lost")
Finalized()
"""
    done = run(code)
    assert done.returncode == 0
    assert "ValueError: lost" in done.stderr


def test_ignored_signals_stay_ignored(monkeypatch):
    before = signal.getsignal(signal.SIGHUP)
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setattr(sys, "unraisablehook", sys.unraisablehook)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        interruption.raise_from_now_on()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
        signal.raise_signal(signal.SIGHUP)
        with pytest.raises(interruption.Ended) as raised:
            signal.raise_signal(signal.SIGTERM)
        assert raised.value.code == 143
    finally:
        signal.signal(signal.SIGHUP, before)
        for number, handler in kept.items():
            signal.signal(number, handler)


def test_a_signal_from_before_the_handlers_is_quiet(monkeypatch):
    """It is answered by Python's own handler, as soon as the first line of the command runs."""

    def interrupted():
        raise KeyboardInterrupt

    codes = []

    def ended(code):
        codes.append(code)
        raise SystemExit(code)  # as os._exit, nothing runs behind it

    monkeypatch.setattr(interruption, "end_at_once", interrupted)
    monkeypatch.setattr(os, "_exit", ended)
    with pytest.raises(SystemExit):
        cli.run_as_process()
    assert codes == [130]
