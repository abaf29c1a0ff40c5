"""Results on stdout; notices, progress and errors on stderr; exit codes."""

from __future__ import annotations

import codecs
import contextlib
import io
import shlex
import sys
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import typer

from patchsim import choices
from patchsim.cli import environment, interruption
from patchsim.errors import (
    FAULT,
    FOUND,
    INPUT_ERROR,
    INTERRUPTED,
    InputError,
    MachineError,
    PatchsimError,
    escaped,
    printable,
)
from patchsim.events import Observer
from patchsim.files import atomic
from patchsim.machine import packages

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from patchsim.output.contract import Records
    from patchsim.planning.planner import Plan
    from patchsim.ranking.contract import Windows

_PROGRESS_AFTER_SECONDS = 1.0
# The words behind `patchsim` of the command that runs.
_words: ContextVar[tuple[str, ...]] = ContextVar("_words", default=())
_NAMED = 2  # names that a long list of kernels shows


class _PipeOutput(io.FileIO):
    """Standard output that ignores what it is given once its reader has closed the pipe."""

    is_given_up = False  # what is left in buffers is dropped
    is_reader_gone = False

    def write(self, data: Any, /) -> int:
        try:
            return memoryview(data).nbytes if self.is_given_up else super().write(data)
        except BrokenPipeError:
            self.is_reader_gone = True
            return memoryview(data).nbytes


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Let a closed pipe be no error and any name be printed; leave the streams as they were."""
    codecs.register_error(_ERROR_HANDLER, _encode_any_name)
    with _printing_any_name(sys.stdout), _printing_any_name(sys.stderr), _guarded_stdout():
        yield


@contextmanager
def _printing_any_name(stream: Any) -> Iterator[None]:
    """Let a stream print any name; a stream of the caller's own kind is left as it is."""
    if not isinstance(stream, io.TextIOWrapper):
        yield
        return
    before = stream.errors
    stream.reconfigure(errors=_ERROR_HANDLER)
    try:
        yield
    finally:
        with contextlib.suppress(OSError, ValueError):  # a full disk, or closed meanwhile
            stream.reconfigure(errors=before)


@contextmanager
def _guarded_stdout() -> Iterator[None]:
    """Let a closed pipe be no error on standard output, if that is no terminal."""
    stdout = sys.stdout
    descriptor = None
    if isinstance(stdout, io.TextIOWrapper) and not stdout.isatty():
        with contextlib.suppress(OSError):  # a stream in memory has none
            descriptor = stdout.fileno()
    if descriptor is None or stdout is None:
        yield
        return
    stdout.flush()
    raw = _PipeOutput(descriptor, "wb", closefd=False)
    buffer = io.BufferedWriter(raw)
    sys.stdout = io.TextIOWrapper(buffer, stdout.encoding, errors=_ERROR_HANDLER)
    try:
        yield
    finally:
        raw.is_given_up = True  # what a signal cut off; all else was flushed
        sys.stdout = stdout


_ERROR_HANDLER = "patchsim"  # the name under which Python knows `_encode_any_name`


def _encode_any_name(error: UnicodeError) -> tuple[str | bytes, int]:
    """Keep the bytes of a file name as they are; escape characters that the encoding lacks."""
    try:
        return codecs.lookup_error("surrogateescape")(error)
    except UnicodeError:
        return codecs.lookup_error("backslashreplace")(error)


def run(app: typer.Typer, arguments: Sequence[str] | None = None) -> int:
    """Run a command, and turn every error into a message and an exit code."""
    words = sys.argv[1:] if arguments is None else list(arguments)
    if not words:
        words = ["--help"]
    _words.set(tuple(words))
    try:
        with warnings.catch_warnings():
            # Pillow warns of broken metadata, which do not matter for a search.
            warnings.filterwarnings("ignore", module="PIL")
            code = app(words, standalone_mode=False, prog_name="patchsim")
        if sys.stdout is not None:
            sys.stdout.flush()
        return int(code or 0)
    except (KeyboardInterrupt, typer.Abort):
        return INTERRUPTED
    except interruption.Ended as ended:
        return ended.code
    except SystemExit as ended:  # the completion of a shell ends this way
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or FOUND
        say(str(ended.code))  # Python's rule: a text is a message, and the exit is a failure
        return FAULT
    except Exception as error:
        if "--debug" in words or environment.is_debugged():
            say(traceback.format_exc().rstrip())
        message, code = _explained(error, words)
        say(message)
        _drop_unwritten()
        return code


def _explained(error: BaseException, words: Sequence[str]) -> tuple[str, int]:
    """Return one or two lines for an error, and its exit code."""
    if isinstance(error, InputError):
        return environment.naming(str(error)), error.exit_code
    if isinstance(error, PatchsimError):
        return str(error), error.exit_code
    if isinstance(error, typer.TyperException):
        return f"{error.format_message()}\nsee patchsim {_command(words)}--help", INPUT_ERROR
    unloaded = packages.failure(error)
    if unloaded is not None:  # a library that is missing is an OSError, too
        return unloaded, FAULT
    if isinstance(error, OSError):
        # An error of standard output names no file.
        what = "write the results" if error.filename is None else f"use {printable(error.filename)}"
        return f"cannot {what}: {atomic.failure_reason(error)}", FAULT
    text = str(error)
    if isinstance(error, MemoryError) or "allocate memory" in text or "out of memory" in text:
        return "out of memory; give --memory a smaller size, or close other programs", FAULT
    return (
        f"a fault in patchsim: {type(error).__name__}: {text}".splitlines()[0]
        + "\nplease report it with what --debug prints",
        FAULT,
    )


def _command(words: Sequence[str]) -> str:
    return f"{words[0]} " if words and words[0] in choices.COMMANDS else ""


def _drop_unwritten() -> None:
    """Drop results that a full disk refused, which would be written again at the stream's end."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
        if isinstance(raw, _PipeOutput):
            raw.is_given_up = True
            sys.stdout.flush()


def say(text: str) -> None:
    """Print a message on stderr, where each line says whose it is."""
    # A closed stderr must not change how the search ends.
    with contextlib.suppress(OSError, ValueError):
        if sys.stderr is not None:
            # Nothing drives the terminal, whoever wrote the text.
            lines = "".join(f"patchsim: {escaped(line)}\n" for line in text.split("\n"))
            print(lines, end="", file=sys.stderr, flush=True)


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
        self.command = shlex.join(["patchsim", *_words.get()])
        self._terminal = is_watched(quiet=quiet)
        self._started: float | None = None
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def notice(self, text: str) -> None:
        if not self._quiet:
            say(text)

    def wrote(self, text: str) -> None:
        self.notice(text + self._advice.get(text.partition(" ")[0], ""))

    def planned(self, plan: Plan, kernels: Sequence[str]) -> None:
        if self._explain:
            lines = "\n  ".join(str(plan).splitlines())
            say(f"plan for {some(kernels)}: {lines}")

    def swept(self, text: str) -> None:
        if self._explain:
            say(f"plan: {text}")

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
        say(f"scored exactly for {some(kernels)}: {windows} alone{blocks}")

    def progress(self, done: int, total: int) -> None:
        if not self._terminal:
            return
        now = time.monotonic()
        if self._started is None:
            self._started = now
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
        self._bar.start()
        self._task = self._bar.add_task("searching", total=total, completed=done)

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def print_records(
    form: str, records: Records, *, is_first: bool = True, csv_safe: bool = False
) -> None:
    """Print results on stdout; those that are not the first go without a header."""
    from patchsim.output import names, text

    if csv_safe:
        records = names.WithoutFormulas(records)

    if sys.stdout is None:
        raise MachineError("standard output is closed; the results could not be printed")
    text.load(form).write(records, sys.stdout, is_first=is_first)
    sys.stdout.flush()  # an interrupt must not lose what is known by now


def is_reader_gone() -> bool:
    """Return whether what was printed last met a pipe that its reader has closed."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, _PipeOutput) and raw.is_reader_gone


def print_lines(lines: Iterable[str], end: str = "\n") -> None:
    """Print lines on stdout."""
    if sys.stdout is None:
        raise MachineError("standard output is closed; the results could not be printed")
    for line in lines:
        print(line, end=end)
    sys.stdout.flush()


def check_format(form: str, *, csv_safe: bool) -> str:
    """Check the flags that say how results are printed, and return the name of the format."""
    form = choices.check("format", form, choices.FORMATS)
    if csv_safe and form != "csv":
        raise InputError(f"--csv-safe says nothing to --format {form}; give --format csv with it")
    return form


def resolved_format(form: str) -> str:
    """Replace ``auto`` by the format for where stdout leads: a table on a terminal, else lines."""
    if form != "auto":
        return form
    return "table" if sys.stdout is not None and sys.stdout.isatty() else "tsv"


def some(names: Sequence[str]) -> str:
    """Join names as in a sentence, long lists shortened: a.png, b.png and 98 more."""
    if len(names) == 1:
        return names[0]
    most = _NAMED if len(names) > _NAMED + 1 else len(names) - 1
    left = len(names) - most
    return f"{', '.join(names[:most])} and {names[-1] if left == 1 else f'{left} more'}"
