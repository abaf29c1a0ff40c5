"""Which package does not load, and why: one that is missing, broken, or lacks a library."""

from __future__ import annotations

import errno
import os
import sys
import traceback
from pathlib import Path
from types import FrameType, ModuleType

from patchsim.errors import printable

_OURS = "patchsim"
# Packages whose name differs from that of their distribution.
_DISTRIBUTIONS = {"PIL": "pillow", _OURS: "patchsim-match"}
# The machine's words where files or memory lack, and not the package.
_SCARCE = (
    os.strerror(errno.EMFILE), os.strerror(errno.ENFILE), os.strerror(errno.ENOMEM),
    "failed to map segment",
)  # fmt: skip
_FREE = "close other programs, or raise the limits of the shell (ulimit)"
_IMPORTING = "<frozen importlib._bootstrap"  # and its parts


def failure(error: BaseException) -> str | None:
    """Return what to tell of an error if it says that a package does not load, else None.

    Parameters
    ----------
    error : BaseException
        An error that was caught. Its traceback tells which package was being imported.
    """
    if isinstance(error, MemoryError) or not isinstance(error, Exception):
        return None
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    name, lacking = _package(error, frames), _lacking(error)
    what = "does not load" if name is not None else "is broken or of another version"
    name = name or lacking
    if name is None:
        return None
    reason = _reason(error)
    hidden = _hidden(frames)
    if hidden is not None:
        module, file = hidden
        return f"{printable(file)} stands in the way of Python's module {module}; rename it"
    if any(text in reason for text in _SCARCE):
        return f"package {printable(name)} {what}: {reason};\n{_FREE}"
    if name in sys.stdlib_module_names:
        return f"Python's module {name} does not load: {reason}; reinstall Python"
    advice = f"pip install --force-reinstall {_DISTRIBUTIONS.get(name, name)}"
    return f"package {printable(name)} {what}: {reason}; reinstall it\n{printable(advice)}"


def _package(error: Exception, frames: list[FrameType]) -> str | None:
    """Return the first part of the name of the package that does not load."""
    # The first module of others that is run is the package that patchsim asked for; what fails
    # may be one that it needs.
    for frame in frames:
        name = _top(frame.f_globals.get("__name__"))
        if frame.f_code.co_name == "<module>" and name not in (_OURS, "__main__"):
            return name
    if isinstance(error, ImportError):
        return _top(error.name) or None
    if isinstance(error, SyntaxError) and error.filename:
        return _top_of_file(error.filename)
    for frame in frames:  # a module whose file cannot be read as code
        if frame.f_code.co_filename.startswith(_IMPORTING):
            loaded = frame.f_locals.get("name") or frame.f_locals.get("fullname")
            if isinstance(loaded, str) and _top(loaded) != _OURS:
                return _top(loaded)
    return None


def _lacking(error: BaseException) -> str | None:
    """Return the package that lacks what it was asked for: an empty folder, or another version."""
    if not isinstance(error, AttributeError) or not isinstance(error.obj, ModuleType):
        return None
    name = _top(error.obj.__name__)
    return None if name == _OURS or name in sys.stdlib_module_names else name


def _top(name: object) -> str:
    return str(name or "").partition(".")[0]


def _top_of_file(file: str) -> str | None:
    """Return the package or module at the top of a search path that a file belongs to."""
    for folder in sorted(filter(None, sys.path), key=len, reverse=True):
        path = Path(file)
        if path.is_relative_to(folder):
            name = path.relative_to(folder).parts[0].partition(".")[0]
            return None if name == _OURS else name
    return None


def _hidden(frames: list[FrameType]) -> tuple[str, str] | None:
    """Return a module of Python's and the file that is run in its place, if there is one."""
    library = Path(os.__file__).parent
    for frame in frames:
        name, file = _top(frame.f_globals.get("__name__")), frame.f_code.co_filename
        is_run = frame.f_code.co_name == "<module>" and not file.startswith("<")
        if is_run and name in sys.stdlib_module_names and not Path(file).is_relative_to(library):
            return name, file
    return None


def _reason(error: BaseException) -> str:
    """Return the first line of the error that was the cause of the others."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return printable(lines[0].rstrip(".;") if lines else type(error).__name__)
