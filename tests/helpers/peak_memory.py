"""Peak memory of this process, with what libraries in C and torch allocate.

Linux resets the peak of a process's resident memory on request. glibc is told to give freed memory
back at once, so that every case starts from the same. That is why cases run in a process of their
own: ``python peak_memory.py '[["unfold", "sad", "uint8", 8]]'`` prints a plan's estimate and the
measured peak of each case, in bytes, as JSON.
"""

from __future__ import annotations

import ctypes
import json
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


def is_measurable():
    """Whether the peak can be reset here, and freed memory given back."""
    return hasattr(ctypes.CDLL(None), "mallopt") and Path("/proc/self/clear_refs").exists()


@contextmanager
def resident_peak():
    """Measure what is allocated and used; the result is in `bytes` afterwards."""
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, 1 << 17)
    libc.mallopt(_M_TRIM_THRESHOLD, 1 << 17)
    libc.malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    peak = SimpleNamespace(bytes=0)
    before = _high_water_mark()
    yield peak
    peak.bytes = _high_water_mark() - before


def _high_water_mark():
    status = Path("/proc/self/status").read_text()
    return 1024 * int(status.split("VmHWM:")[1].split()[0])


def tile_memory(engine, metric, dtype, side):
    """The plan's estimate and the peak of scoring a map in tiles, in bytes."""
    import numpy as np

    from helpers.problems import problem, values
    from patchsim.execution import runner
    from patchsim.metrics import Kernel
    from patchsim.planning import planner

    image = values(np.random.default_rng(0), dtype, 480, 460, 3)
    kernel = image[9 : 9 + side, 9 : 9 + side].copy()
    plan = planner.make(
        problem(image, kernel, metric), engine=engine, device="cpu", memory=1 << 30, resident=0
    )

    def score():
        for _tile, bounds in runner.run(plan, image, runner.prepare(plan, Kernel(kernel))):
            del bounds

    score()  # imports, and what is made once
    with resident_peak() as peak:
        score()
    return plan.working, peak.bytes


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    print(json.dumps([tile_memory(*case) for case in json.loads(sys.argv[1])]))
