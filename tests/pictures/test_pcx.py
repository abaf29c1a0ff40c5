"""PCX: runs that go on into the next line, which Pillow takes for damage."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from PIL import Image

from patchsim import InputError
from patchsim.pictures.reader import open_picture


def pcx(lines, width, height, planes, tail=b""):
    """A PCX of bytes, in runs as long as can be, over the ends of lines."""
    header = struct.pack("<BBBB6H", 10, 5, 1, 8, 0, 0, width - 1, height - 1, 0, 0)
    header += bytes(49) + struct.pack("<BHH", planes, width, 1)
    values = lines.ravel()
    ends = np.append(np.flatnonzero(np.diff(values.astype(int))) + 1, len(values))
    packed, start = b"", 0
    for end in ends.tolist():
        while start < end:
            run = min(63, end - start)
            packed += bytes([0xC0 + run, values[start]])
            start += run
    return header.ljust(128, b"\0") + packed + tail


def test_runs_over_the_ends_of_lines_are_read(tmp_path, rng):
    rgb = rng.integers(0, 2, (10, 16, 3), dtype=np.uint8) * 200
    rgb[3:6] = 17
    path = tmp_path / "a.pcx"
    path.write_bytes(pcx(np.moveaxis(rgb, 2, 1), 16, 10, 3))
    with Image.open(path) as image, pytest.raises(OSError, match=r"overrun|truncated"):
        image.load()  # so that the test can fail
    np.testing.assert_array_equal(open_picture(path, name="a").pixels, rgb)
    indices = np.full((10, 16), 3, np.uint8)
    indices[4, 5:9] = 7
    colors = rng.integers(0, 256, (256, 3), dtype=np.uint8)
    path.write_bytes(pcx(indices, 16, 10, 1, b"\x0c" + colors.tobytes()))
    np.testing.assert_array_equal(open_picture(path, name="a").pixels, colors[indices])


def test_lines_that_are_not_packed_are_read(tmp_path, rng):
    rgb = rng.integers(0, 256, (10, 16, 3), dtype=np.uint8)
    header = bytearray(pcx(np.zeros(1, np.uint8), 16, 10, 3)[:128])
    header[2] = 0
    path = tmp_path / "a.pcx"
    path.write_bytes(header + np.moveaxis(rgb, 2, 1).tobytes())
    np.testing.assert_array_equal(open_picture(path, name="a").pixels, rgb)
    path.write_bytes(header + bytes(400))
    with pytest.raises(InputError, match="its lines end after 400 of 480 bytes"):
        open_picture(path, name="a")


def test_damaged_and_large_ones_are_refused(tmp_path):
    path = tmp_path / "a.pcx"
    content = pcx(np.zeros((30, 3, 20), np.uint8), 20, 30, 3)
    path.write_bytes(content[:-8])
    with pytest.raises(
        InputError, match=r"damaged or cut short: its lines end after 1,\d+ of 1,800"
    ):
        open_picture(path, name="a")
    path.write_bytes(pcx(np.zeros(9, np.uint8), 60_000, 1000, 1))
    with pytest.raises(InputError, match=r"takes .* to decode"):
        open_picture(path, name="a", memory=10 << 20)
    path.write_bytes(pcx(np.zeros(9, np.uint8), 60_000, 60_000, 1))
    with pytest.raises(InputError, match="more than"):
        open_picture(path, name="a")
