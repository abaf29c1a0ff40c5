"""Pictures from pipes and URLs: read whole, within memory, once their start is known."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from patchsim.errors import InputError, printable
from patchsim.files import waits
from patchsim.machine.memory import format_size
from patchsim.machine.threads import check_cancellation, start
from patchsim.pictures import formats

_BLOCK = 1 << 20  # bytes that are read at a time
_PAUSE = 0.1  # seconds until a wait looks whether it is cancelled


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
    start(thread)
    with waits.telling(printable(path)):
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
