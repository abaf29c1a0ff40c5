"""Which patchsim a worker has. Results of another version may differ, so that it gets no task."""

from __future__ import annotations

import patchsim
from patchsim.errors import InputError, printable

# Evaluated on a worker before anything of patchsim is sent there: is it installed, and which one?
ASKED = (
    "__import__('patchsim').__version__"
    " if __import__('importlib.util').util.find_spec('patchsim') else None"
)


class OtherVersionError(InputError):
    """A worker has another version of patchsim than the process whose search it is."""


def host(address: str) -> str:
    """Return the host and port of a worker's address."""
    return printable(address.rpartition("://")[2])


def refusal(address: str, answer: object) -> str | None:
    """Return why a worker that answers `ASKED` so has no part in the work, or None if it has."""
    if answer == patchsim.__version__:
        return None
    has = f"patchsim {answer}" if isinstance(answer, str) else "no patchsim"
    if isinstance(answer, Exception):
        has = f"a patchsim that does not load ({type(answer).__name__}: {answer})"
    return (
        f"the worker at {host(address)} has {printable(has)}, and {patchsim.__version__} is"
        " here; install the same version on all machines"
    )


def check(asked: str) -> None:
    """Check, on a worker, that a search is of the version that is installed here.

    Raises
    ------
    OtherVersionError
        If not.
    """
    if asked != patchsim.__version__:
        raise OtherVersionError(
            f"patchsim {patchsim.__version__} is installed there, and {asked} here; install the"
            " same version"
        )
