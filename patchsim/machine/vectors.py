"""The setting that forces a variant of the vector instructions in the C extensions."""

from __future__ import annotations

import os
from types import ModuleType

VARIANT_SETTING = "PATCHSIM_SIMD"  # avx512, avx2, sse2, neon or portable


def best_variant(extension: ModuleType, names: tuple[str, ...]) -> str:
    """Return the best of some variants that runs here, or the forced one if it is among them.

    The best come first in `names`, and the last one, which runs everywhere, stands for all that
    an extension does not have.
    """
    forced = os.environ.get(VARIANT_SETTING)
    for name in names[:-1]:
        if forced in (None, name) and extension.runs_here(name):
            return name
    return names[-1]
