"""Entries of the C extensions check what callers give them; `make asan` fuzzes them, too."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import ENVIRONMENT

from patchsim.machine import extensions
from patchsim.pictures import arrays

HUGE = (2**61, 2**62, 2**63 - 1)
NAMES = {"_sad": "engines", "_moments": "engines", "_pruned": "engines", "_windows": "metrics",
         "_correlation": "engines", "_poses": "registration"}  # fmt: skip


def built(name):
    module = extensions.extension(name, NAMES[name])
    if module is None:
        pytest.skip(f"the C extension {name} was not built")
    return module


@pytest.mark.parametrize("stride", HUGE)
def test_a_stride_beyond_the_image_takes_one_step(stride):
    image = np.arange(60, dtype=np.uint8).reshape(5, 6, 2)
    out = np.full((1, 1), np.nan)
    module = built("_sad")
    for variant in module.variants():
        module.sums(image, image[:2, :3], None, out, stride, stride, variant)
        assert out[0, 0] == 0
        assert module.scratch("B", (5, 6, 2), (2, 3, 2), (2**39, 1), 0) > 0


@pytest.mark.parametrize("size", HUGE)
@pytest.mark.parametrize("name", ["pitch", "channels", "height", "width", "stride_y", "stride_x",
                                  "rows", "cols"])  # fmt: skip
def test_sums_of_windows_refuse_sizes_beyond_the_image(name, size):
    sound = {
        "image": np.zeros((6, 6, 3), np.uint8), "type": "B", "pitch": 18, "channels": 3,
        "height": 3, "width": 3, "stride_y": 1, "stride_x": 1, "rows": 4, "cols": 4,
        "constants": np.zeros(3, np.int64), "weights": np.zeros(3, np.int64),
        "spread": np.zeros(16), "means": np.zeros(16, np.int64),
    }  # fmt: skip
    module = built("_moments")
    module.moments(**sound)
    with pytest.raises(ValueError, match=r"out of range|smaller"):
        module.moments(**(sound | {name: size}))


@pytest.mark.parametrize("size", HUGE)
@pytest.mark.parametrize(
    "name", ["row_step", "rows", "cols", "out_pitch", "block", "down", "across"]
)
def test_bounds_refuse_sizes_beyond_the_boxes(name, size):
    sound = {
        "boxes": np.zeros(256, np.uint16), "offsets": np.zeros(1, np.int64),
        "below": np.zeros(1, np.uint16), "above": np.zeros(1, np.uint16), "row_step": 64,
        "rows": 2, "cols": 4, "squared": False, "doublings": 0, "out": np.zeros(128, np.uint16),
        "out_pitch": 64, "variant": "portable", "least": np.zeros(1, np.uint16), "block": 64,
        "down": 0, "across": 0,
    }  # fmt: skip
    module = built("_pruned")
    module.bounds(**sound)
    with pytest.raises(ValueError, match=r"out of range|fewer|smaller"):
        module.bounds(**(sound | {name: size}))


def test_an_output_may_not_lie_where_places_do():
    module, image = built("_windows"), np.zeros((5, 6, 1), np.uint8)
    places = np.zeros((4, 2), np.int64)
    sound = (image, image[:2, :2].copy(), None, places, False)
    module.differences(*sound, np.zeros(4, np.uint64), "portable")
    with pytest.raises(ValueError, match="an output lies where the places do"):
        module.differences(*sound, places.view(np.uint64)[:2].reshape(-1), "portable")


def test_values_at_odd_addresses_are_refused_by_entries_and_copied_before():
    odd = np.frombuffer(bytes(range(61)), np.uint16, offset=1).reshape(5, 6, 1)
    assert not odd.flags.aligned
    module = built("_sad")
    with pytest.raises(ValueError, match=r"type|multiples of their size"):
        module.sums(odd, odd[:2, :2], None, np.zeros((4, 5)), 1, 1, "portable")
    pixels = arrays.to_pixels(odd, "odd")
    assert pixels.flags.aligned
    np.testing.assert_array_equal(pixels, odd)


@pytest.mark.skipif(sys.platform != "linux", reason="allocates by posix_memalign")
def test_hostile_calls_return_or_are_refused():
    for name in NAMES:
        built(name)
    script = Path(__file__).parent.parent / "fuzz_entries.py"
    done = subprocess.run(
        [sys.executable, script, "3"], capture_output=True, text=True, env=ENVIRONMENT
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = done.stdout.splitlines()
    assert {line.split(".")[0] for line in lines} == set(NAMES)
