"""Loads the C extensions of the engines."""

from __future__ import annotations

import importlib
from functools import cache
from types import ModuleType


@cache
def extension(name: str) -> ModuleType | None:
    """Return a C extension of the engines, or None if it was not built."""
    try:
        return importlib.import_module(f"patchsim.engines.{name}")
    except ImportError:
        return None
