"""Photographs that scikit-image brings."""

from __future__ import annotations

from functools import cache

import skimage.data


@cache
def photograph(name):
    """One of them, decoded once; it cannot be written, so that no test changes another's."""
    found = getattr(skimage.data, name)()
    found.flags.writeable = False
    return found
