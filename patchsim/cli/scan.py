"""`patchsim scan`: the matches of many pictures, printed as they are found."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from patchsim import errors
from patchsim.cli import clusters, console, environment, imports, streams, watcher
from patchsim.cli.flags import takes
from patchsim.cli.match import Form, check, options_of
from patchsim.cli.scan_flags import WITHOUT, ScanFlags
from patchsim.cli.scan_progress import Progress
from patchsim.errors import FOUND, INPUT_ERROR, NOT_FOUND, InputError, MachineError, printable

if TYPE_CHECKING:
    from patchsim.planning.planner import Plan
    from patchsim.scanning.records import ScanResult
    from patchsim.scanning.requests import Request
    from patchsim.scanning.scanner import Scanner

_TABLE_ROWS = 100  # pictures that a table on the terminal waits for
_MOST_AHEAD = 100_000  # pictures that are listed ahead of the search, some 40 MB


@takes(ScanFlags, without=WITHOUT)
def command(flags: ScanFlags) -> int:
    """Find kernels in many pictures, and print the matches of each, in the order of the pictures.

    The kernels are read once, and several pictures are searched at a time. Each match is a line
    that begins with its picture; as JSON lines, each picture is an object with its matches. A
    picture that cannot be searched is an object with an error there, and otherwise told on stderr.

    \b
    Exit codes:
      0    a match was found
      1    nothing was found
      2    wrong usage, or no picture could be searched (--strict: not all)
      3    a fault of the program or the machine
      129  the terminal was closed (SIGHUP)
      130  interrupted (Ctrl-C)
      143  terminated (SIGTERM)

    \b
    Examples:
      patchsim scan screens/ --kernel icon.png --threshold 0.95
      patchsim scan '2024/**/*.jpg' -k a.png -k b.png --resume found.jsonl
      find . -name '*.tif' -print0 | patchsim scan -0 - -k a.png --format jsonl
    """
    form = Form.of(flags)
    _check(flags, form)
    imports.limit_libraries()
    with imports.quickly():  # after the flags: what a search needs takes a while
        from patchsim.files.waits import tell_to
        from patchsim.scanning.scanner import Scanner

    progress = Progress(is_shown=watcher.is_watched(quiet=flags.quiet))
    observer = _Watcher(progress, quiet=flags.quiet, explain=flags.explain)
    tell_to(observer.notice)
    with _opened_list(flags) as descriptor, clusters.opened(flags.cluster, observer) as cluster:
        scanner = Scanner(
            flags.kernel,
            mask=flags.mask,
            image_mask=flags.image_mask,
            observer=observer,
            cluster=cluster,
            **options_of(flags),
        )
        todo = _requests(flags, descriptor, observer.notice)
        if progress.is_shown and descriptor is None:
            todo = _counted(todo, progress)
        if flags.resume is not None:
            return _resumed(flags, form, scanner, todo, progress)
        printer = _Printer(form, progress, is_of_unmatched=flags.unmatched)
        results = scanner.results(todo)
        if flags.report is not None:
            page = scanner.page(flags.report, force=flags.force, command=observer.command)
            results = page.collecting(results, observer.wrote)
        with contextlib.closing(results):  # behind the results: a page takes its time
            try:
                return _run(flags, results, printer.add, progress)
            finally:
                progress.clear()
                printer.finish()  # what was found before an interruption stays


class _Watcher(watcher.Watcher):
    """Tells notices without leaving half a line of progress."""

    def __init__(self, progress: Progress, *, quiet: bool, explain: bool) -> None:
        super().__init__(quiet=quiet, explain=explain)
        self._line = progress

    def planned(self, plan: Plan, kernels: Sequence[str]) -> None:
        if self._explain:
            self._line.clear()
        super().planned(plan, kernels)

    def swept(self, text: str) -> None:
        if self._explain:
            self._line.clear()
        super().swept(text)

    def notice(self, text: str) -> None:
        self._line.clear()
        super().notice(text)


def _check(flags: ScanFlags, form: Form) -> None:
    """Refuse flags that the search itself does not see."""
    check(flags)
    if not flags.kernel:
        raise InputError("there is no kernel; give --kernel PATH, once for each")
    lists = _lists(flags)
    if not flags.pictures and not lists:
        raise InputError("there are no pictures; give files, folders, patterns, or - for a list")
    if flags.null and not lists:
        raise InputError("--null is about a list; give - or --list with it")
    if len(lists) > 1:
        raise InputError("there are two lists; give one")
    if lists == ["-"] and "-" in (*flags.kernel, flags.mask, flags.image_mask):
        raise InputError("standard input '-' is the list; give paths for kernels and masks")
    if flags.unmatched and flags.threshold is None:
        raise InputError(
            "--unmatched needs --threshold: without one, each picture has a best match"
        )
    if flags.unmatched and (flags.columns is not None or form.template is not None):
        raise InputError("--unmatched prints names alone; leave out --columns and --print")
    if flags.resume is not None and (
        flags.unmatched
        or form.template is not None
        or form.format not in ("auto", "jsonl")
        or not form.has_header
    ):
        raise InputError("--resume writes JSON lines into its file; leave out how to print")
    if flags.resume is not None and flags.report is not None:
        raise InputError("--report shows the pictures of one run; leave out --resume")
    if flags.force and flags.report is None:
        raise InputError("--force is about the page; give --report with it")


def _lists(flags: ScanFlags) -> list[str]:
    stream_lists = ["-" for word in flags.pictures or () if word == "-"]
    return stream_lists if flags.list is None else [*stream_lists, flags.list]


@contextlib.contextmanager
def _opened_list(flags: ScanFlags) -> Iterator[int | None]:
    """Open the list, if there is one."""
    (name,) = _lists(flags) or (None,)
    if name is None:
        yield None
    elif name == "-":
        if sys.stdin is None:
            raise InputError("the list '-' is read from standard input, which is closed")
        yield sys.stdin.fileno()
    else:
        from pathlib import Path

        from patchsim.files import atomic
        from patchsim.scanning import lines

        try:
            if Path(name).is_dir():
                raise IsADirectoryError
            # Without buffering, and not closed at the end: another thread may be reading.
            with lines.waiting(name):  # a pipe has a reader once it has a writer
                descriptor = os.open(name, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except (OSError, ValueError) as error:
            if isinstance(error, OSError):
                raise atomic.read_error(error, printable(name), Path(name), "a list") from error
            raise InputError(f"{printable(name)} cannot be read: {error}") from error
        yield descriptor


def _requests(
    flags: ScanFlags, descriptor: int | None, tell: Callable[[str], None]
) -> Iterator[Request]:
    from patchsim.scanning import lines, listing

    words = flags.pictures or ()
    for word in words:
        if word == "-" and descriptor is not None:
            yield from lines.read(descriptor, by_null=flags.null)
        else:
            yield from listing.listed([word], tell, are_many=len(words) > 1)
    if flags.list is not None and descriptor is not None:
        yield from lines.read(descriptor, name=flags.list, by_null=flags.null)


def _counted(todo: Iterator[Request], progress: Progress) -> Iterator[Request]:
    """Yield requests that are listed ahead of the search, so that their number is known soon."""
    from patchsim.machine import ahead

    def count(total: int) -> None:
        progress.total = total

    return ahead.taken(todo, _MOST_AHEAD, count)


def _run(
    flags: ScanFlags,
    results: Iterator[ScanResult],
    add: Any,
    progress: Progress,
    *,
    matched: int = 0,
    failed: int = 0,
    count: int = 0,
) -> int:
    """Hand over the results, and return the exit code; earlier results may be counted already."""
    for result in results:
        count += 1
        matched += bool(result)
        failed += result.error is not None
        add(result)
        progress.advance()
        if streams.is_reader_gone():
            break
    progress.clear()
    if not count and not flags.quiet:
        console.say("the list has no picture")
    if (failed and flags.strict) or (count and failed == count):
        return INPUT_ERROR
    return FOUND if matched else NOT_FOUND


def _resumed(
    flags: ScanFlags, form: Form, scanner: Scanner, todo: Iterator[Request], progress: Progress
) -> int:
    """Append what is left to do to the file of an earlier run."""
    from patchsim.scanning.journal import Journal

    assert flags.resume is not None
    stamp = {"columns": "usual" if form.columns is None else ",".join(form.columns)}
    tell = _Errors(progress)
    with Journal(flags.resume, {**scanner.matcher.fingerprint, **stamp}) as journal:

        def add(result: ScanResult) -> None:
            # The next run tries again what the machine could not do.
            if not isinstance(result.error, MachineError):
                journal.add(result, form.columns)
            if result.error is not None:
                tell(result.image, result.error)

        with contextlib.closing(scanner.results(journal.left(todo, progress.skip))) as results:
            code = _run(
                flags,
                results,
                add,
                progress,
                matched=journal.found,
                failed=journal.failed,
                count=journal.kept,
            )
        if not flags.quiet:
            console.say(f"{printable(flags.resume)}: {journal.describe()}")
    return code


class _Errors:
    """Tells why pictures are not searched, and once which variable of the environment is behind."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._are_named = False

    def __call__(self, image: str, error: Exception) -> None:
        # On one line: only the first of several would name the picture.
        text = errors.naming(str(error).replace("\n", " "), image)
        if isinstance(error, InputError) and not self._are_named:
            named = environment.naming(text)
            self._are_named = named != text
            text = named.replace("\n", "; ")
        self._progress.clear()
        console.say(text)


class _Printer:
    """Prints results as they come; a table waits for some, and JSON is one list."""

    def __init__(self, form: Form, progress: Progress, *, is_of_unmatched: bool) -> None:
        self._form, self._progress = form, progress
        self._format = streams.resolved_format(form.format)
        self._is_of_unmatched = is_of_unmatched
        self._tell_error = _Errors(progress)
        self._waiting: list[ScanResult] = []
        self._is_first = True
        self._is_printing = False

    def add(self, result: ScanResult) -> None:
        is_object = self._format in ("json", "jsonl") and self._form.template is None
        if result.error is not None and not is_object:
            self._tell_error(result.image, result.error)
        elif not (self._is_of_unmatched and result):
            self._waiting.append(result)
            if self._format != "table" or len(self._waiting) >= _TABLE_ROWS:
                self._print()

    def finish(self) -> None:
        """Print what waits, and the end of a list."""
        if self._is_printing:  # a signal came between: none knows how much of it is out
            return
        is_piped = self._format not in ("table", "json")
        if self._waiting or (self._is_of_unmatched and self._is_first and is_piped):
            self._print()  # without a picture the header alone
        if self._format == "json" and self._form.template is None:
            streams.print_lines(["[]" if self._is_first else "\n]"])
            self._is_first = False

    def _print(self) -> None:
        self._is_printing = True
        results, self._waiting = self._waiting, []
        self._print_all(results)
        self._is_printing = False

    def _print_all(self, results: list[ScanResult]) -> None:
        from patchsim.scanning.records import NameRecords, ScanRecords

        records = ScanRecords(results, self._form.columns)
        if sys.stdout is not None and sys.stdout.isatty():
            self._progress.clear()
        if self._form.template is not None:
            streams.print_lines(records.lines(self._form.template))
            return
        if self._format == "json":
            self._print_objects(records)
            return
        if self._format == "table" and not any(results) and not self._is_of_unmatched:
            return
        streams.print_records(
            self._format,
            NameRecords(results) if self._is_of_unmatched else records,
            is_first=self._is_first and self._form.has_header,
            csv_safe=self._form.csv_safe,
        )
        self._is_first = False

    def _print_objects(self, records: Any) -> None:
        from patchsim.output import names

        for one in records.objects():
            text = json.dumps(names.in_unicode(one), indent=2).replace("\n", "\n  ")
            streams.print_lines([f"{'[' if self._is_first else ','}\n  {text}"], end="")
            self._is_first = False
