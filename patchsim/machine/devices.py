"""Which devices there are; torch is asked only where that pays."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from patchsim.errors import InputError

_NUMBER = "(?:0|[1-9][0-9]{0,3})"
_NAME = re.compile(rf"cpu|(?:cuda|mps|xpu)(?::{_NUMBER})?")
_NUMBERED = re.compile(rf"(cuda|mps|xpu):{_NUMBER}(?:,\1:{_NUMBER})*")

# Threads inside `one_torch_thread`, and how many torch used before the first came.
_threads_lock = threading.Lock()
_inside = 0
_threads_outside = 1

# Start-up that a choice would cause, seconds; Linux, 2 cores of an AMD EPYC (Zen 4):
# python -X importtime -c 'import torch'
TORCH_IMPORT_SECONDS = 2.0
# A context on a card, and the first pinned memory. No card was at hand: of the order that others
# report for CUDA.
CONTEXT_SECONDS = 0.5

# Bytes a second between a card and the memory here, derived: PCI Express 4.0 with 16 lanes, of
# which a driver gives about two thirds.
BUS_BANDWIDTH = 2.0e10
# Until torch begins an operation on a card, derived likewise.
OPERATION_SECONDS = 1e-5


def check_name(name: str, *, several: bool = False) -> str:
    """The device name as torch writes it, or an InputError that says how one is written.

    Several devices of one kind may be named, with their numbers and commas, where that is asked
    for.
    """
    plain = re.sub(
        r"\s*,\s*", ",", str(name).strip().lower()
    )  # a torch.device is known by its name
    if plain == "auto" or _NAME.fullmatch(plain):
        return plain
    if (
        several
        and _NUMBERED.fullmatch(plain)
        and len(set(plain.split(","))) == plain.count(",") + 1
    ):
        return plain
    if several and "," in plain:
        raise InputError(
            f"device {name!r} is no list of devices; give some of one kind, each once and with its"
            " number, as in cuda:0,cuda:1"
        )
    raise InputError(f"device {name!r} is unknown; there are auto, cpu, cuda[:N], mps and xpu[:N]")


def require(name: str) -> str:
    """A device that is here, named in full (``cuda`` is ``cuda:0``).

    Raises
    ------
    InputError
        If this machine, or this torch, has no such device.
    """
    if name == "cpu":
        return name
    kind, _, index = name.partition(":")
    return _present(f"{kind}:{index or 0}", name, accelerators())


def require_all(name: str) -> str:
    """The devices meant, named in full, with commas: all of a kind that has no number.

    Raises
    ------
    InputError
        If this machine, or this torch, has not all of them.
    """
    if name == "cpu":
        return name
    present = accelerators()
    if ":" not in name:
        alike = [one for one in present if one.startswith(f"{name}:")]
        return ",".join(alike) or _present(f"{name}:0", name, present)
    return ",".join(_present(one, name, present) for one in name.split(","))


def _present(full: str, asked: str, present: Sequence[str]) -> str:
    if full not in present:
        have = ", ".join(["cpu", *present])
        raise InputError(
            f"device {asked!r} is not here; torch sees {have}{_lacking(full)}."
            f" Use {'one of these' if present else 'the CPU'}"
        )
    return full


def _lacking(name: str) -> str:
    import torch

    if not name.startswith("cuda") or torch.version.cuda or torch.version.hip:
        return ""
    return f" (torch {torch.__version__} is a build without CUDA)"


def by_kind(names: Sequence[str]) -> list[str]:
    """Those of `accelerators` that work together: ``["cuda:0,cuda:1", "mps:0"]``."""
    return [",".join(alike) for _, alike in groupby(names, key=_kind)]


def _kind(name: str) -> str:
    return name.partition(":")[0]


def accelerators() -> list[str]:
    """Devices beside the CPU, e.g. ``["cuda:0", "cuda:1"]``; imports torch."""
    import torch

    found = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a driver that is too old: then there is none
        if torch.cuda.is_available():  # which asks the driver whether a context could be made
            found = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        found.append("mps:0")
    if hasattr(torch, "xpu"):
        found += [f"xpu:{i}" for i in range(torch.xpu.device_count())]
    return found


def torch_start_up() -> float:
    """Seconds that the first use of torch would still cost in this process."""
    return 0.0 if "torch" in sys.modules else TORCH_IMPORT_SECONDS


def start_up(name: str) -> float:
    """The same of a device, or of several."""
    if name == "cpu":
        return torch_start_up()
    return torch_start_up() + (0.0 if _initialized(name) else CONTEXT_SECONDS)


def _initialized(name: str) -> bool:
    torch = sys.modules.get("torch")
    module = getattr(torch, _kind(name), None)
    return module is not None and getattr(module, "is_initialized", lambda: True)()


def free_memory(name: str) -> int | None:
    """Bytes that a device has for us, or None where torch does not say; makes its context."""
    module = _module(name)
    if hasattr(module, "mem_get_info"):
        try:
            free: int = module.mem_get_info(name)[0]
        except RuntimeError:
            if name.startswith("xpu"):  # some of Intel's do not know
                return None
            raise
        # And what torch has of it, but does not use.
        return free + int(module.memory_reserved(name) - module.memory_allocated(name))
    if hasattr(module, "recommended_max_memory"):
        return int(module.recommended_max_memory() - module.current_allocated_memory())
    return None


def has_float64(name: str) -> bool:
    """Whether a device, or all of some, computes in 64 bits; Apple's and some of Intel's do not."""
    kind = _kind(name)
    if kind == "xpu":
        import torch

        return all(torch.xpu.get_device_properties(one).has_fp64 for one in name.split(","))
    return kind != "mps"


def forget_freed_memory(name: str) -> None:
    """Give memory back that torch keeps for later."""
    _module(name).empty_cache()


def finish(name: str) -> None:
    """Wait for all that was asked of a device."""
    _module(name).synchronize(*([name] if has_queues(name) else []))


def has_queues(name: str) -> bool:
    """Whether work on a device waits for that of its own queue alone: torch calls these streams."""
    return name.startswith(("cuda", "xpu"))


def feeders(names: Sequence[str]) -> int:
    """Threads that keep some devices busy: while one's tile is computed the other's comes."""
    return len(names) * (2 if has_queues(names[0]) else 1)


def new_queue(name: str) -> Any:
    """Whose work on a device waits for no other's; None where there is none."""
    return _module(name).Stream(name) if has_queues(name) else None


def using(name: str, queue: Any) -> contextlib.AbstractContextManager[Any]:
    """What the calling thread asks of the device goes to the queue."""
    if queue is None:
        return contextlib.nullcontext()
    context: contextlib.AbstractContextManager[Any] = _module(name).stream(queue)
    return context


def finish_queue(device: Any) -> None:
    """Wait for what the calling thread asked of a device, a torch.device with queues."""
    _module(device.type).current_stream(device).synchronize()


def _module(name: str) -> Any:
    import torch

    return getattr(torch, _kind(name))


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
