"""The C extension of the pose search, where it was built."""

from __future__ import annotations

from types import ModuleType

from patchsim.machine import extensions


def extension(channels: int = 1) -> ModuleType | None:
    """Return the extension, or None: NumPy then does its work, with equal results.

    Pictures of more channels than it holds in its tables are left to NumPy, too.
    """
    built = extensions.extension("_poses", "registration")
    return None if built is None or channels > built.MOST_CHANNELS else built


def variant() -> str:
    """Return the variant of the vector instructions that is used."""
    return extensions.variant("_poses", "registration")
