"""The C extension of the pose search, where it was built."""

from __future__ import annotations

from types import ModuleType

from patchsim.engines import extensions


def extension() -> ModuleType | None:
    """Return the extension, or None: NumPy then does its work, with equal results."""
    return extensions.extension("_poses", "registration")


def variant() -> str:
    """Return the variant of the vector instructions that is used."""
    return extensions.variant("_poses", "registration")
