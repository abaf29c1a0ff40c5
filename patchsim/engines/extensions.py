"""Loads the C extensions of the engines."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType


def extension(name: str) -> ModuleType | None:
    """Return a C extension of the engines, or None if it cannot be loaded."""
    return _load(name)[0]


def refusal(name: str) -> str:
    """Return why an engine without its C extension refuses: it was not built, or is broken."""
    error = _load(name)[1]
    if error is None or isinstance(error, ModuleNotFoundError):
        return "its C extension was not built (install again where there is a C compiler)"
    reason = str(error).partition("\n")[0]
    return f"its C extension cannot be loaded: {reason} (install again)"


@cache
def _load(name: str) -> tuple[ModuleType | None, ImportError | None]:
    try:
        return importlib.import_module(f"patchsim.engines.{name}"), None
    except ImportError as error:
        return None, error.with_traceback(None)
