"""The address of a cluster, as it is typed: a scheduler's, or processes of this machine."""

from __future__ import annotations

import re
from dataclasses import dataclass

from patchsim.errors import InputError, printable

_EXAMPLES = "give tcp://host:8786, the address that dask scheduler prints, or local:4"
_LOCAL = re.compile(r"local:(\d{1,4})")
_REMOTE = re.compile(r"(tcp|tls|ws|wss|ucx)://[^\s/]+:\d{1,5}/?")
MOST_LOCAL = 256


@dataclass(frozen=True)
class Address:
    """Where workers are.

    Attributes
    ----------
    text : str
        The address as it was typed.
    local : int or None
        The number of worker processes to start on this machine; None for a scheduler's address.
    """

    text: str
    local: int | None

    @classmethod
    def parsed(cls, text: object) -> Address:
        """Check an address.

        Raises
        ------
        InputError
            If it is none.
        """
        if not isinstance(text, str):
            raise InputError(f"cluster {printable(text)} is no address; {_EXAMPLES}")
        local = _LOCAL.fullmatch(text)
        if local is not None:
            count = int(local[1])
            if not 1 <= count <= MOST_LOCAL:
                raise InputError(
                    f"cluster {text} is not possible; give local:1 to local:{MOST_LOCAL}"
                )
            return cls(text, count)
        if not _REMOTE.fullmatch(text):
            raise InputError(f"cluster {printable(text)} is no address; {_EXAMPLES}")
        return cls(text, None)
