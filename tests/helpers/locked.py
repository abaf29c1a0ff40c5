"""A folder that this process may not enter."""

from __future__ import annotations

import os
from contextlib import contextmanager

_NOBODY = 65534


@contextmanager
def locked(folder):
    """Make a folder that this process cannot look into meanwhile, root's included."""
    folder.mkdir()
    folder.chmod(0)
    is_root = os.geteuid() == 0
    if is_root:  # root may enter any folder
        os.seteuid(_NOBODY)
    try:
        yield folder
    finally:
        if is_root:
            os.seteuid(0)
        folder.chmod(0o700)
