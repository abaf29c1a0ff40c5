"""The C extension of the engine, and which variant of it runs here."""

from __future__ import annotations

import os
from functools import partial
from types import ModuleType

from patchsim.engines import extensions

_VARIANTS = ("avx512", "avx2", "sse2", "portable")  # best first; the last runs everywhere

extension = partial(extensions.extension, "_pruned")


def variant(extension: ModuleType) -> str:
    """Return the best variant that runs here, or the forced one if this engine has it."""
    forced = os.environ.get(extensions.VARIANT_SETTING)
    for name in _VARIANTS[:-1]:
        if forced in (None, name) and extension.runs_here(name):
            return name
    return _VARIANTS[-1]
