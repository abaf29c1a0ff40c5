"""The C extension of the engine, and which variant of it runs here."""

from __future__ import annotations

from functools import partial
from types import ModuleType

from patchsim.engines import extensions
from patchsim.machine import vectors

_VARIANTS = ("avx512", "avx2", "sse2", "portable")  # best first; the last runs everywhere

extension = partial(extensions.extension, "_pruned")


def variant(extension: ModuleType) -> str:
    """Return the best variant that runs here, or the forced one if this engine has it."""
    return vectors.best_variant(extension, _VARIANTS)
