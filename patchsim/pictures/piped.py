"""Pictures from pipes and URLs: read whole, within memory, once their start is known."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from patchsim.errors import InputError, MachineError, printable
from patchsim.machine.memory import format_size
from patchsim.machine.threads import check_cancellation
from patchsim.pictures import formats

_BLOCK = 1 << 20  # bytes that are read at a time
_PAUSE = 0.1  # seconds until a wait looks whether it is cancelled
_PATIENCE = 5.0  # seconds of a wait that nobody is told of

_tell: Callable[[str], None] | None = None


def tell_to(tell: Callable[[str], None]) -> None:
    """Tell from now on of pipes that are waited for; for a program that owns its process.

    Who reads a picture has no observer.
    """
    global _tell
    _tell = tell


@contextmanager
def telling(name: str, what: str = "is a pipe whose end has not come yet") -> Iterator[None]:
    """Tell of a wait for a pipe that lasts, and why.

    Parameters
    ----------
    name : str
        The pipe's in the message.
    what : str
        The predicate of the message.
    """
    if _tell is None:
        yield
        return
    timer = threading.Timer(_PATIENCE, _tell, (f"{name} {what}; waiting for it",))
    timer.daemon = True
    _start(timer)
    try:
        yield
    finally:
        timer.cancel()


def _start(thread: threading.Thread) -> None:
    try:
        thread.start()
    except (RuntimeError, MemoryError) as error:
        raise MachineError("the system gives no thread; close other programs") from error


def read_named(path: str, memory: int | None) -> BytesIO:
    """Read a pipe that has a name as `read_whole` does, until the work of this thread is cancelled.

    Opening the pipe waits for a process that writes, and nothing but the end of this process ends
    that wait: another thread has it.
    """
    future: Future[BytesIO] = Future()

    def read() -> None:
        try:
            with Path(path).open("rb") as pipe:
                future.set_result(read_whole(pipe, printable(path), memory))
        except BaseException as error:  # raised again where the content is taken
            future.set_exception(error)

    thread = threading.Thread(target=read, name="patchsim_pipe", daemon=True)
    _start(thread)
    with telling(printable(path)):
        while thread.is_alive():
            thread.join(_PAUSE)
            check_cancellation()
    return future.result()


def read_whole(pipe: BinaryIO, name: str, memory: int | None) -> BytesIO:
    """Read what a pipe gives, so that places in it can be sought; nothing if it is empty.

    A pipe may go on for ever. It is read no further than its first bytes if no picture begins with
    them.

    Parameters
    ----------
    pipe : binary file
    name : str
        Its name in messages.
    memory : int, optional
        The bytes that it may hold.

    Raises
    ------
    InputError
        If no format that is read begins so, or there is more than the memory.
    """
    start = pipe.read(formats.START)
    if start:
        formats.check_start(start, name)
    content = BytesIO()
    block = start
    while block:
        content.write(block)
        if memory is not None and content.tell() > memory:
            raise InputError(
                f"{name} goes on after {format_size(memory)}; allow more with --memory"
            )
        block = pipe.read(_BLOCK)
    content.seek(0)
    return content
