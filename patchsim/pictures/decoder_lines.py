"""Collects what decoders write to stderr while they decode, and tells it as one notice.

libtiff, libpng and others write to file descriptor 2, past Python's `sys.stderr`. The descriptor
belongs to the whole process, so that only the command, which owns its process, collects from it.
Others write to it, too: another thread, the interpreter (``python -X importtime``), the loader of
libraries. Lines without the beginning that a decoder gives its lines are written on as they are.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

from patchsim.errors import printable

_STDERR = 2
_MOST_BYTES = 1 << 20  # that are kept of what decoders write about one file
# Words that tell nothing of the picture.
_HARMLESS = r"Interlace handling should be turned on|Unknown field with tag"
_WARNING = "warning"
_NUMBER = r"\d+"
# libtiff's lines begin with its function, or the name of the file; libpng's, and those of
# imagecodecs about PNG, with the library; OpenEXR's with the name of the stream. One of libtiff's
# warnings has a second line.
_DECODER = (  # most processes compile none
    rb"(_?TIFF\w+|(Fax[34]|LZW|ZIP|PackBits|O?JPEG|LZMA|ZSTD|LERC|WebP|LogL|SGILog|PixarLog|NeXT"
    rb"|Thunder|DumpMode|Predictor|HorizontalPositioning|CCITT|InitCCITT|ChopUp|TryChopUp"
    rb"|allocChoppedUp|EvaluateIFD|DoubleTo|BuildMap|gtStrip|gtTile|jpeg_Create)\w*|MissingRequired"
    rb"|EstimateStripByteCounts|CheckDirCount|setExtraSamples|init(CIELab|YCbCr)Conversion"
    rb"|(swab)?[hH]or(Acc|Diff)\d*|fp(Acc|Diff)|OkToChangeTag|unix(Error|Warning)Handler"
    rb"|tempfile\.tif|<python_buffer>|(lib)?(png|PNG) (warning|error)): |Apparently should be "
)
# The names that Pillow gives to libtiff, and OpenEXR to a stream.
_NO_FILE = r"^(tempfile\.tif|<python_buffer>): (\(EXR_\w+\) )?"

_lock = threading.Lock()
_is_on = False


def turn_on() -> None:
    """Collect from now on; for a program that owns its process and whose stderr is open."""
    global _is_on
    with contextlib.suppress(OSError):
        os.fstat(_STDERR)
        _is_on = True


@contextmanager
def collected(lines: list[str]) -> Iterator[None]:
    """Append what decoders write to file descriptor 2 meanwhile; nothing unless turned on.

    One thread at a time collects. A crash is told on the true stderr.
    """
    sink = _sink() if _is_on else None
    if sink is None:
        yield
        return
    with _lock, sink:
        stderr = os.dup(_STDERR)
        had_handler = faulthandler.is_enabled()
        faulthandler.enable(stderr, all_threads=False)
        os.dup2(sink.fileno(), _STDERR)
        try:
            yield
        finally:
            os.dup2(stderr, _STDERR)
            faulthandler.disable()
            if had_handler:
                faulthandler.enable(_STDERR)
            os.close(stderr)
            _sort(sink, lines)


def _sink() -> BinaryIO | None:
    """Return a file without a name, in memory where the system can; None if it cannot be made."""
    with contextlib.suppress(OSError):
        if hasattr(os, "memfd_create"):
            return os.fdopen(os.memfd_create("patchsim"), "w+b")
        import tempfile  # here, because it takes some milliseconds

        return tempfile.TemporaryFile()
    return None


def _sort(sink: BinaryIO, lines: list[str]) -> None:
    """Append the lines of decoders to a list, and write the others to stderr."""
    sink.seek(0)
    left = _MOST_BYTES
    while line := sink.readline(_MOST_BYTES):
        if not re.match(_DECODER, line):
            # A closed stderr must not change how the search ends.
            with contextlib.suppress(OSError), open(_STDERR, "wb", closefd=False) as stderr:
                stderr.write(line)
        elif left > 0:
            left -= len(line)
            words = _words(line.decode(errors="replace"))
            lines += [words] if words else []


def _words(line: str) -> str:
    """Return what a line says, without a final stop and a made-up name of the file."""
    text = "".join(char for char in line if char.isprintable())
    if re.search(_HARMLESS, text):
        return ""
    return printable(re.sub(_NO_FILE, "", text).strip().rstrip("."))


def notices(name: str, lines: list[str]) -> tuple[str, ...]:
    """Return one notice on the lines that decoders wrote about a picture, or none.

    Parameters
    ----------
    name : str
        The picture's name in messages.
    lines : list of str
    """
    if not lines:
        return ()
    complaints = [line for line in lines if not re.search(_WARNING, line, re.IGNORECASE)]
    # Lines that differ in numbers alone are the same complaint.
    kinds = Counter(re.sub(_NUMBER, "#", line) for line in complaints or lines)
    most, count = kinds.most_common(1)[0]
    first = next(line for line in complaints or lines if re.sub(_NUMBER, "#", line) == most)
    times = f" ({count} times)" if count > 1 else ""
    if complaints:
        return (f"{name} is damaged: {first}{times}; what could be read is used",)
    return (f"{name} was read, but its decoder warns: {first}{times}",)
