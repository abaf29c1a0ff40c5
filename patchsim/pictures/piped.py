"""Pictures from pipes and URLs: read whole, within memory, once their start is known."""

from __future__ import annotations

from io import BytesIO
from typing import BinaryIO

from patchsim.errors import InputError
from patchsim.machine.memory import format_size
from patchsim.pictures import formats

_BLOCK = 1 << 20  # bytes that are read at a time


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
