"""A codec that runs out of memory is no damage of the file; any other error of it is."""

from __future__ import annotations

import re

import numpy as np
import pytest

from patchsim import InputError
from patchsim.pictures import arrays, large, zarr_layout


def raising(error):
    def fail(*_args, **_keywords):
        raise error

    return fail


def tiff(path, shown, monkeypatch, error):
    tifffile = pytest.importorskip("tifffile")
    tifffile.imwrite(path, shown, tile=(32, 32), compression="zlib")
    monkeypatch.setattr(tifffile.TiffPage, "decode", property(lambda _: raising(error)))


def zarr(path, shown, monkeypatch, error):
    pytest.importorskip("zarr").save(path, shown)
    monkeypatch.setattr(zarr_layout.Layout, "window", raising(error))


def slide(path, shown, monkeypatch, error):
    class Slide:
        level_count, level_dimensions, level_downsamples = 1, [shown.shape[1::-1]], [1.0]
        color_profile = None
        read_region = raising(error)

        def __init__(self, _path):
            pass

        def set_cache(self, _cache):
            pass

    openslide = pytest.importorskip("openslide")
    monkeypatch.setattr(openslide, "OpenSlide", Slide)
    path.write_bytes(b"a slide")


READERS = [
    pytest.param(tiff, "scene.tif", "its tile or strip 0 at x=0, y=0", id="tiff"),
    pytest.param(zarr, "scene.zarr", "its chunk at x=0, y=0", id="zarr"),
    pytest.param(slide, "scene.vms", "its part at x=0, y=0", id="slide"),
]


@pytest.mark.parametrize(("make", "name", "part"), READERS)
@pytest.mark.parametrize("is_memory", [True, False])
def test_a_codec_that_fails_is_told(make, name, part, is_memory, tmp_path, rng, monkeypatch):
    path = tmp_path / name
    shown = rng.integers(0, 256, (64, 64, 3), np.uint8)
    error = MemoryError() if is_memory else RuntimeError("no such code")
    make(path, shown, monkeypatch, error)
    text = f"is damaged or cut short: {part} cannot be decoded: no such code;"
    if is_memory:
        text = "does not fit into memory when decoded"
    picture = large.open_by_windows(path, memory=10**8, alpha=True, ignore_alpha=True)
    with pytest.raises(InputError, match=re.escape(f"{path} {text}")):
        picture.pixels[0:9, 0:9]


def test_an_array_of_another_library_that_does_not_fit_is_no_fault_of_its_type():
    class Large:
        __array__ = raising(MemoryError("40 GB"))

    with pytest.raises(MemoryError, match="40 GB"):
        arrays.from_object(Large(), "image")
