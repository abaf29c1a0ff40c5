"""Peak memory of this process, with what libraries in C and torch allocate.

Linux resets the peak of a process's resident memory on request. glibc is told to give freed memory
back at once, so that every case starts from the same. That is why cases run in a process of their
own: ``python peak_memory.py CASES`` prints a plan's estimate and the measured peak of each case, in
bytes, as JSON. A case has the fields of a `tile_memory.Search`.
"""

from __future__ import annotations

import ctypes
import json
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

from patchsim.machine import extensions

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def is_measurable():
    """Whether the peak can be reset here, and freed memory given back."""
    return hasattr(ctypes.CDLL(None), "mallopt") and Path("/proc/self/clear_refs").exists()


def give_back_at_once():
    """Let glibc map large arrays by themselves, so that their memory is given back when freed.

    This comes before the first search. Without it glibc learns from that to keep large arrays in an
    arena, where the next ones may leave holes, by chance.
    """
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, 1 << 17)
    libc.mallopt(_M_TRIM_THRESHOLD, 1 << 17)


@contextmanager
def resident_peak():
    """Measure what is allocated and used; the result is in `bytes` afterwards."""
    give_back_at_once()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    peak = SimpleNamespace(bytes=0)
    before = _high_water_mark()
    yield peak
    peak.bytes = _high_water_mark() - before


def _high_water_mark():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def tile_memory(search):
    """The plan's estimate and the peak of scoring a map in tiles, in bytes."""
    give_back_at_once()
    plan, score = search.prepared()
    score()  # imports, and what is made once
    for name in ("_correlation", "_sad"):
        built = extensions.extension(name)
        assert built is not None, "the cases ask for it"
        built.release()
    with resident_peak() as peak:
        score()
    return plan.working, peak.bytes


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    from helpers.tile_memory import Search

    print(json.dumps([tile_memory(Search(**case)) for case in json.loads(sys.argv[1])]))
