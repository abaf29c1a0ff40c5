"""Which paths are no single file that is read from its start: Zarr stores, and slides."""

from __future__ import annotations

import os
from pathlib import Path

from patchsim.files.atomic import is_folder
from patchsim.pictures import remote

# How the names of slides end that only OpenSlide reads (`slide_source`), mostly of several files.
SLIDE_ENDINGS = (".mrxs", ".vms", ".vmu", ".svslide")
_OF_ARRAYS = ("zarr.json", ".zarray", ".zgroup")  # the file that describes an array or group


def is_zarr(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is the folder of a Zarr store, or a URL that names one."""
    label = os.fspath(path)
    if remote.is_url(label) and not os.path.lexists(label):
        return any(folder.endswith(".zarr") for folder in label.split("/"))
    if "\0" in label or not is_folder(Path(label)):
        return False
    return any(Path(label, name).is_file() for name in _OF_ARRAYS)


def is_slide(path: str | os.PathLike[str]) -> bool:
    """Return whether a path is that of a file whose name ends like those of such slides."""
    label = os.fspath(path)
    return label.lower().endswith(SLIDE_ENDINGS) and "\0" not in label and Path(label).is_file()
