"""Standard output: a closed pipe is no error, any name can be printed; printed results."""

from __future__ import annotations

import codecs
import contextlib
import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO

from patchsim import choices
from patchsim.errors import InputError, MachineError

if TYPE_CHECKING:
    from patchsim.output.contract import Records


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


def drop_unwritten() -> None:
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


def print_records(
    form: str,
    records: Records,
    *,
    is_first: bool = True,
    csv_safe: bool = False,
    on_stderr: bool = False,
) -> None:
    """Print results on stdout, or stderr; those that are not the first go without a header."""
    from patchsim.output import names, text

    if csv_safe:
        records = names.WithoutFormulas(records)

    stream = _results(on_stderr=on_stderr)
    text.load(form).write(records, stream, is_first=is_first)
    stream.flush()  # an interrupt must not lose what is known by now


def _results(*, on_stderr: bool) -> TextIO:
    """Return where results go: stdout, unless a file takes that."""
    stream = sys.stderr if on_stderr else sys.stdout
    if stream is None:
        name = "standard error" if on_stderr else "standard output"
        raise MachineError(f"{name} is closed; the results could not be printed")
    return stream


def is_reader_gone() -> bool:
    """Return whether what was printed last met a pipe that its reader has closed."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    return isinstance(raw, _PipeOutput) and raw.is_reader_gone


def print_lines(lines: Iterable[str], end: str = "\n", *, on_stderr: bool = False) -> None:
    """Print lines on stdout, or on stderr."""
    stream = _results(on_stderr=on_stderr)
    for line in lines:
        print(line, end=end, file=stream)
    stream.flush()


def check_format(form: str, *, csv_safe: bool) -> str:
    """Check the flags that say how results are printed, and return the name of the format."""
    form = choices.check("format", form, choices.FORMATS)
    if csv_safe and form != "csv":
        raise InputError(f"--csv-safe says nothing to --format {form}; give --format csv with it")
    return form


def resolved_format(form: str, *, on_stderr: bool = False) -> str:
    """Replace ``auto`` by the format for where results go: a table on a terminal, else lines."""
    if form != "auto":
        return form
    stream = sys.stderr if on_stderr else sys.stdout
    return "table" if stream is not None and stream.isatty() else "tsv"
