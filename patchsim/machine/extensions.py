"""Loads the C extensions of all rooms, and chooses their variants of the vector instructions."""

from __future__ import annotations

import importlib
import os
from functools import cache
from types import ModuleType

from patchsim.errors import InputError, printable

# Forces a variant of the vector instructions: avx512, avxvnni, avx2, sse2, dotprod, neon,
# or portable.
VARIANT_SETTING = "PATCHSIM_SIMD"
# Sets of instructions that add products of bytes to others, which extensions without such take.
_EXTENDED = {"avxvnni": "avx2", "dotprod": "neon"}

_failed: list[tuple[str, str]] = []


def extension(name: str, room: str = "engines") -> ModuleType | None:
    """Return a C extension of a room, or None if it cannot be loaded."""
    return _load(name, room)[0]


def refusal(name: str, room: str = "engines") -> str:
    """Return why an engine without its C extension refuses: it was not built, or is broken."""
    return f"its {_reason(name, room)}"


def _reason(name: str, room: str) -> str:
    error = _load(name, room)[1]
    if error is None or isinstance(error, ModuleNotFoundError):
        return "C extension was not built (install again where there is a C compiler)"
    reason = printable(str(error).partition("\n")[0])
    return f"C extension cannot be loaded: {reason} (install again)"


def notices() -> list[str]:
    """Say that searches are slow if an extension was asked for and could not be loaded."""
    return [f"searches are slow here: a {_reason(name, room)}" for name, room in _failed[:1]]


@cache
def _load(name: str, room: str) -> tuple[ModuleType | None, ImportError | None]:
    try:
        return importlib.import_module(f"patchsim.{room}.{name}"), None
    except ImportError as error:
        _failed.append((name, room))
        return None, error.with_traceback(None)


def variant(name: str, room: str = "engines", *, has_few: bool = False) -> str:
    """Return the best variant of an extension that runs here, or the one that is forced.

    The last variant of an extension runs everywhere. It stands for ``portable`` where the vectors
    are the compiler's own, and for every variant that an extension with few of them lacks.

    Raises
    ------
    InputError
        If the forced one does not run here.
    """
    here = _variants(name, room)
    forced = os.environ.get(VARIANT_SETTING)
    if not forced:
        return here[0]
    if forced in here:
        return forced
    if _EXTENDED.get(forced) in here:
        return _EXTENDED[forced]
    if forced == "portable" or has_few:
        return here[-1]
    raise InputError(
        f"{VARIANT_SETTING}={printable(forced)} is not here; unset it, or give one of"
        f" {', '.join(dict.fromkeys([*here, 'portable']))}"
    )


@cache
def _variants(name: str, room: str) -> list[str]:
    built = extension(name, room)
    assert built is not None, "its caller asks first"
    here: list[str] = built.variants()
    return here
