"""Scripts that answer in Triton's interpreter, each in a process that starts once.

Triton decides when it is imported whether it compiles or interprets, so that the process of the
tests cannot interpret. Such a process takes seconds to start, so it answers all tests of a run.
"""

from __future__ import annotations

import contextlib
import pickle
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from helpers import ENVIRONMENT

_servers = {}


def interpreted(script, cases):
    """What a script of this folder makes of some cases, in a process where Triton interprets."""
    if script not in _servers:
        _servers[script] = _Server(script)
    return _servers[script].answer(cases)


def run(code, folder):
    """Run code in a process of its own where Triton interprets."""
    start = (
        "import os, sys; os.environ['TRITON_INTERPRET'] = '1'\n"
        f"sys.path.insert(0, {str(Path(__file__).parents[1])!r})\n"
        "from helpers import interpreter; interpreter.hasten()\n"
    )
    subprocess.run([sys.executable, "-c", start + code], env=ENVIRONMENT, check=True, cwd=folder)


def close_all():
    while _servers:
        _servers.popitem()[1].close()


def serve(answer):
    """Answer pickled cases from stdin on stdout until stdin ends."""
    hasten()
    while True:
        try:
            cases = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(answer(cases), sys.stdout.buffer)
        sys.stdout.buffer.flush()


def hasten():
    """Leave out of the interpreter's work what has no effect.

    By itself it looks for Triton's built-ins at every call, which takes a quarter of its time, and
    never restores what it replaces for a device function: here it replaces once for a module. It
    also computes each sum and product of integers again in 64 bits, for an assertion that it makes
    only if it debugs, and a table of types for each value.
    """
    from triton.runtime import interpreter

    done, dtypes, dtype_of = set(), {}, interpreter._get_np_dtype

    def called(function, *arguments, **options):
        if function.fn.__module__ not in done:
            interpreter._patch_lang(function.fn)
            done.add(function.fn.__module__)
        return function.rewrite()(*arguments, **options)

    def dtype_kept(kind):
        if kind.name not in dtypes:
            dtypes[kind.name] = dtype_of(kind)
        return dtypes[kind.name]

    interpreter.InterpretedFunction.__call__ = called
    builder = interpreter.interpreter_builder
    assert not builder.options.debug
    builder.options = replace(builder.options, sanitize_overflow=False)
    interpreter._get_np_dtype = dtype_kept


class _Server:
    """A process that serves a script's answers; a fault ends it, and the next case starts anew."""

    def __init__(self, script):
        self.script = script
        self.errors = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as the process
        self.process = subprocess.Popen(
            [sys.executable, Path(__file__).parents[1] / script],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, env=ENVIRONMENT,
        )  # fmt: skip

    def answer(self, cases):
        try:
            pickle.dump(cases, self.process.stdin)
            self.process.stdin.flush()
            return pickle.load(self.process.stdout)
        except (EOFError, BrokenPipeError) as error:
            self.process.wait()
            self.errors.seek(0)
            said = self.errors.read().decode()
            del _servers[self.script]
            self.close()
            raise AssertionError(said) from error

    def close(self):
        # A broken pipe was reported with the answer that it broke.
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()
        self.errors.close()
