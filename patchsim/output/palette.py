"""Colour maps as the palettes of 8-bit pictures."""

from __future__ import annotations

from functools import cache

from patchsim.output import inferno


@cache
def colors(name: str) -> bytes:
    """Return a colour map of `cmap` as 256 RGB triples of bytes."""
    if name == "inferno":
        return inferno.COLORS  # importing cmap takes longer than most searches
    import numpy as np
    from cmap import Colormap

    table = Colormap(name).lut(256)[:, :3]  # calling the map would import numpy.ma
    palette: bytes = np.rint(table * 255).astype(np.uint8).tobytes()
    return palette
