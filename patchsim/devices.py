"""Which devices there are; torch is asked only where that pays."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Iterator

from patchsim.errors import InputError

_NAME = re.compile(r"cpu|(?:cuda|mps|xpu)(?::\d+)?")

# Threads inside `one_torch_thread`, and how many torch used before the first came.
_threads_lock = threading.Lock()
_inside = 0
_threads_outside = 1

# Start-up that a choice would cause, seconds; Linux, 2 cores of an AMD EPYC (Zen 4):
# python -X importtime -c 'import torch'
TORCH_IMPORT_SECONDS = 2.0


def check_name(name: str) -> str:
    """The device name as torch writes it, or an InputError that says how one is written."""
    plain = str(name).strip().lower()  # a torch.device is known by its name
    if plain != "auto" and not _NAME.fullmatch(plain):
        raise InputError(f"device {name!r} is unknown; there are auto, cpu, cuda[:N], mps and xpu")
    return plain


def require(name: str) -> str:
    """A device that is here, named in full (``cuda`` is ``cuda:0``).

    Raises
    ------
    InputError
        If this machine, or this torch, has no such device.
    """
    if name == "cpu":
        return name
    present = accelerators()
    kind, _, index = name.partition(":")
    full = f"{kind}:{index or 0}"
    if full not in present:
        have = ", ".join(["cpu", *present])
        raise InputError(f"device {name!r} is not here; torch sees {have}. Use one of these")
    return full


def accelerators() -> list[str]:
    """Devices beside the CPU, e.g. ``["cuda:0", "cuda:1"]``; imports torch."""
    import torch

    found = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps:0")
    if hasattr(torch, "xpu"):
        found += [f"xpu:{i}" for i in range(torch.xpu.device_count())]
    return found


def torch_start_up() -> float:
    """Seconds that the first use of torch would still cost in this process."""
    return 0.0 if "torch" in sys.modules else TORCH_IMPORT_SECONDS


def cpu_count() -> int:
    """CPUs that this process may use (its affinity, where the system has one)."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let the calling thread compute alone; torch has as many threads as before afterwards.

    Several threads may be in here at once.
    """
    import torch

    global _inside, _threads_outside
    with _threads_lock:
        if not _inside:
            _threads_outside = torch.get_num_threads()
        _inside += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _threads_lock:
            _inside -= 1
            # Set for this thread and for those that have not asked yet; the others keep their 1.
            torch.set_num_threads(_threads_outside)
