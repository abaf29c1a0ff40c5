"""Which devices exist, and how work is sent to them; torch is imported only where that pays."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import threading
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

from patchsim.errors import InputError
from patchsim.machine.quiet import without_warnings

_NUMBER = "(?:0|[1-9][0-9]{0,3})"
_NAME = rf"cpu|(?:cuda|mps|xpu)(?::{_NUMBER})?"
_NUMBERED = rf"(cuda|mps|xpu):{_NUMBER}(?:,\1:{_NUMBER})*"

# The number of threads inside `one_torch_thread`, and torch's number of threads before the first
# one entered.
_threads_lock = threading.Lock()
_threads_inside = 0
_torch_threads_before = 1

# Seconds that `import torch` takes, measured on Linux with 2 cores of an AMD EPYC (Zen 4) by
# python -X importtime -c 'import torch'
TORCH_IMPORT_SECONDS = 2.0
# Seconds to create a context on a GPU and to allocate the first pinned memory. Not measured: the
# order of magnitude that is commonly reported for CUDA.
CONTEXT_SECONDS = 0.5

# Bytes a second between GPU and main memory. Not measured: two thirds, which drivers reach, of
# PCI Express 4.0 with 16 lanes.
BUS_BANDWIDTH = 2.0e10
# Seconds until torch begins an operation on a GPU. Not measured: an order of magnitude.
OPERATION_SECONDS = 1e-5


def check_name(name: str, *, several: bool = False) -> str:
    """Return the device name as torch writes it.

    Parameters
    ----------
    name : str
        A device, such as ``cuda:0``; a torch.device is read by its name.
    several : bool
        True if the name may list several devices of one kind, such as ``cuda:0,cuda:1``.

    Raises
    ------
    InputError
        If the name is not a device's; the message says how one is written.
    """
    plain = re.sub(r"\s*,\s*", ",", str(name).strip().lower())
    if plain == "auto" or re.fullmatch(_NAME, plain):
        return plain
    if (
        several
        and re.fullmatch(_NUMBERED, plain)
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
    """Return the full name of a device of this machine (``cuda`` is ``cuda:0``).

    Raises
    ------
    InputError
        If the machine has no such device, or torch does not support it.
    """
    if name == "cpu":
        return name
    kind, _, index = name.partition(":")
    return _present(f"{kind}:{index or 0}", name, accelerators())


def require_all(name: str) -> str:
    """Return the full names of the devices, separated by commas.

    A kind without a number, such as ``cuda``, stands for all devices of that kind.

    Raises
    ------
    InputError
        If the machine lacks one of the devices, or torch does not support it.
    """
    if name == "cpu":
        return name
    present = accelerators()
    if ":" not in name:
        same_kind = [device for device in present if device.startswith(f"{name}:")]
        return ",".join(same_kind) or _present(f"{name}:0", name, present)
    return ",".join(_present(device, name, present) for device in name.split(","))


def _present(full_name: str, requested: str, present: Sequence[str]) -> str:
    """Return the full name if the device is present, or raise an error that lists those that are.

    `requested` is the name as the user wrote it.
    """
    if full_name not in present:
        visible = ", ".join(["cpu", *present])
        raise InputError(
            f"device {requested!r} is not here; torch sees {visible}{_missing_cuda(full_name)};"
            f" give {'one of these, like ' if present else ''}--device cpu (device='cpu')"
        )
    return full_name


def _missing_cuda(name: str) -> str:
    """Return a remark for messages if torch was built without CUDA, or else an empty text."""
    import torch

    if not name.startswith("cuda") or torch.version.cuda or torch.version.hip:
        return ""
    return f" (torch {torch.__version__} is a build without CUDA)"


def group_by_kind(names: Sequence[str]) -> list[str]:
    """Join the devices that can work together, as in ``["cuda:0,cuda:1", "mps:0"]``."""
    return [",".join(same_kind) for _, same_kind in groupby(names, key=_kind)]


def _kind(name: str) -> str:
    return name.partition(":")[0]


def accelerators() -> list[str]:
    """Return the devices beside the CPU, such as ``["cuda:0", "cuda:1"]``.

    This imports torch, which takes seconds and about 200 MB, unless it is a build for CPUs alone.
    """
    if "torch" not in sys.modules and _is_cpu_build():
        return []
    import torch

    names = []
    # torch warns of a driver that is too old; the device then counts as absent.
    with without_warnings():
        if torch.cuda.is_available():  # the driver checks that it could create a context
            names = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    if torch.backends.mps.is_available():
        names.append("mps:0")
    if hasattr(torch, "xpu"):
        names += [f"xpu:{i}" for i in range(torch.xpu.device_count())]
    return names


def _is_cpu_build() -> bool:
    """Return whether the installed torch is known to be built for CPUs, by the label it has then.

    macOS has one build, for Apple's GPUs, too. Builds without a label may be of either kind.
    """
    from importlib import metadata  # it takes a tenth of a second to import

    try:
        version = metadata.version("torch")
    except metadata.PackageNotFoundError:
        return False
    return sys.platform != "darwin" and version.partition("+")[2] == "cpu"


def torch_start_up() -> float:
    """Return the seconds that the first use of torch would still cost in this process."""
    return 0.0 if "torch" in sys.modules else TORCH_IMPORT_SECONDS


def start_up(name: str) -> float:
    """Return the seconds that the first use of a device, or of several, would still cost."""
    if name == "cpu":
        return torch_start_up()
    return torch_start_up() + (0.0 if _is_initialized(name) else CONTEXT_SECONDS)


def _is_initialized(name: str) -> bool:
    torch = sys.modules.get("torch")
    module = getattr(torch, _kind(name), None)
    return module is not None and getattr(module, "is_initialized", lambda: True)()


def free_memory(name: str) -> int | None:
    """Return the free bytes of a device, or None if torch does not know; creates its context."""
    module = _module(name)
    if hasattr(module, "mem_get_info"):
        try:
            free: int = module.mem_get_info(name)[0]
        except RuntimeError:
            if name.startswith("xpu"):  # some Intel devices do not report it
                return None
            raise
        # torch's allocator keeps freed memory, which is free for us too.
        return free + int(module.memory_reserved(name) - module.memory_allocated(name))
    if hasattr(module, "recommended_max_memory"):
        return int(module.recommended_max_memory() - module.current_allocated_memory())
    return None


def has_float64(name: str) -> bool:
    """Return whether a device computes in float64; for several devices, whether all of them do.

    Apple's GPUs and some of Intel's have no float64.
    """
    kind = _kind(name)
    if kind == "xpu":
        import torch

        return all(torch.xpu.get_device_properties(device).has_fp64 for device in name.split(","))
    return kind != "mps"


def release_cached_memory(name: str) -> None:
    """Release the freed memory that torch's allocator keeps for later."""
    _module(name).empty_cache()


def synchronize(name: str) -> None:
    """Wait until a device has finished all its work."""
    _module(name).synchronize(*([name] if has_queues(name) else []))


def has_queues(name: str) -> bool:
    """Return whether a device has several queues of work (torch calls them streams).

    Work in one queue does not wait for the work in another.
    """
    return name.startswith(("cuda", "xpu"))


def feeding_threads(names: Sequence[str]) -> int:
    """Return the number of threads that keep some devices busy.

    A device with queues gets two threads, so that one tile is copied while the other is computed.
    """
    return len(names) * (2 if has_queues(names[0]) else 1)


def new_queue(name: str) -> Any:
    """Return a new queue (a torch stream) of a device, or None if the device has no queues."""
    return _module(name).Stream(name) if has_queues(name) else None


def using_queue(name: str, queue: Any) -> contextlib.AbstractContextManager[Any]:
    """Return a context in which the calling thread sends its work to the queue."""
    if queue is None:
        return contextlib.nullcontext()
    context: contextlib.AbstractContextManager[Any] = _module(name).stream(queue)
    return context


def synchronize_queue(device: Any) -> None:
    """Wait for the calling thread's work on a device, a torch.device with queues."""
    _module(device.type).current_stream(device).synchronize()


def _module(name: str) -> Any:
    import torch

    return getattr(torch, _kind(name))


def cpu_count() -> int:
    """Return the number of CPUs that this process may use, by its affinity where there is one."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextlib.contextmanager
def one_torch_thread() -> Iterator[None]:
    """Return a context in which torch uses one thread; its number of threads is restored after.

    Several threads may be inside the context at once.
    """
    import torch

    global _threads_inside, _torch_threads_before
    with _threads_lock:
        if not _threads_inside:
            _torch_threads_before = torch.get_num_threads()
        _threads_inside += 1
        torch.set_num_threads(1)
    try:
        yield
    finally:
        with _threads_lock:
            _threads_inside -= 1
            # This call affects the calling thread and new threads; threads that are still inside
            # keep their single one.
            torch.set_num_threads(_torch_threads_before)
