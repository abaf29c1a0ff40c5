"""The fingerprint of a search: all on which its map and its matches depend, as texts."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from patchsim.files import stamps
from patchsim.matching.inputs import Kernels
from patchsim.options import Options
from patchsim.pictures import windowed
from patchsim.pictures.reader import Picture

# Options on which scores of a map depend within their error; matches do not.
_OF_MAPS = ("engine", "device", "tolerance")


def of_search(image: Picture, kernels: Kernels, options: Options) -> dict[str, str]:
    """Return the fingerprint of a search; equal ones give equal maps and matches.

    Parameters
    ----------
    image : Picture
        A file is told by its size and the time of its last change, a picture without a file by the
        SHA-256 of its pixels.
    kernels : Kernels
        Told by the SHA-256 of their pixels.
    options : Options
    """
    known = _stamp(image.file) if image.file is not None else None
    return {
        "patchsim version": _version(),
        "image": known or _of_pixels(image),
        **kernels.digests,
        **options.texts,
        **{name: str(getattr(options, name)) for name in _OF_MAPS},
    }


def of_image(path: str) -> dict[str, str]:
    """Return the fingerprint of an image that is not opened, by its path or URL."""
    return {"patchsim version": _version(), "image": _stamp(Path(path)) or path}


def _version() -> str:
    """Return the version; the scores of another one may differ within their error."""
    from importlib import metadata  # it imports the library's parts for mail and for networks

    try:
        return metadata.version("patchsim-match")
    except metadata.PackageNotFoundError:  # it runs without having been installed
        return "unknown"


def _stamp(path: Path) -> str | None:
    """Return size and time of a file; None if there is none, as behind a URL."""
    if not path.exists():
        return None
    stamp = stamps.of(path)
    seconds, rest = divmod(stamp.mtime_ns, 10**9)
    when = datetime.fromtimestamp(seconds, UTC)
    return f"{stamp.size} bytes, changed at {when:%Y-%m-%d %H:%M:%S}.{rest:09} UTC"


def _of_pixels(image: Picture) -> str:
    if windowed.of(image.pixels) is not None:
        return image.name  # nothing else is known of what is behind a URL
    import hashlib  # it takes 3 ms to load

    digest = hashlib.sha256(image.stored.encode())
    for values in (image.pixels, image.alpha):
        if values is not None:
            digest.update(f"{values.dtype.str} {values.shape}".encode())
            digest.update(np.ascontiguousarray(values).data)
    return digest.hexdigest()
