"""BMP files of every depth, by masks, with alpha, and coded in runs with skipped pixels."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from helpers import load
from PIL import Image

from patchsim import InputError
from patchsim.pictures.reader import open_picture

HEIGHT, WIDTH = 11, 13


def opened(path, **options):
    return open_picture(path, name="image", **options)


def bmp(rows, bits, compression=0, masks=(), palette=b"", *, top_down=False, header=None):
    """A BMP; the rows' bytes begin at the bottom unless it is `top_down`."""
    more = b"".join(struct.pack("<I", mask) for mask in masks)
    size = header or (40 if len(masks) < 4 else 56)
    head = struct.pack(
        "<IiiHHIIiiII", size, WIDTH, -HEIGHT if top_down else HEIGHT, 1, bits, compression,
        len(rows), 0, 0, len(palette) // 4, 0,
    )  # fmt: skip
    offset = 14 + len(head) + len(more) + len(palette)
    return (
        struct.pack("<2sIHHI", b"BM", offset + len(rows), 0, 0, offset)
        + head
        + more
        + palette
        + rows
    )


def packed(values, masks, bits):
    """Pixels [H, W, 3 or 4] in the bits of masks, with rows padded to 4 bytes."""
    words = np.zeros(values.shape[:2], np.uint64)
    for channel in range(values.shape[2]):
        lowest = (masks[channel] & -masks[channel]).bit_length() - 1
        words |= values[..., channel].astype(np.uint64) << np.uint64(lowest)
    rows = words.astype(f"<u{bits // 8}")[::-1]
    padding = (-WIDTH * bits // 8) % 4
    return b"".join(row.tobytes() + bytes(padding) for row in rows)


def largest(mask):
    return mask >> ((mask & -mask).bit_length() - 1)


KINDS = {
    "565": (16, (0xF800, 0x07E0, 0x001F)),
    "1555": (16, (0x7C00, 0x03E0, 0x001F, 0x8000)),
    "4444": (16, (0x0F00, 0x00F0, 0x000F, 0xF000)),
    "332": (16, (0xE0, 0x1C, 0x03)),
    "8888": (32, (0xFF0000, 0xFF00, 0xFF, 0xFF000000)),
    "8880": (32, (0xFF, 0xFF00, 0xFF0000)),
    "1010102": (32, (0x3FF00000, 0xFFC00, 0x3FF, 0xC0000000)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_masks_say_where_channels_are(kind, tmp_path, rng):
    bits, masks = KINDS[kind]
    whites = [largest(mask) for mask in masks]
    values = np.stack([rng.integers(0, white + 1, (HEIGHT, WIDTH)) for white in whites], -1)
    (tmp_path / "a.bmp").write_bytes(bmp(packed(values, masks, bits), bits, 3, masks))
    picture = opened(tmp_path / "a.bmp")
    white = 65535 if max(whites[:3]) > 255 else 255
    assert picture.pixels.dtype == (np.uint16 if white > 255 else np.uint8)
    np.testing.assert_array_equal(picture.pixels, values[..., :3] * white // whites[:3])
    if len(masks) == 3:
        assert picture.alpha is None
        if kind == "565":
            np.testing.assert_array_equal(picture.pixels, load(tmp_path / "a.bmp"))
    else:
        np.testing.assert_array_equal(picture.alpha, np.rint(values[..., 3] * 255 / whites[3]))


def test_two_bits_index_a_palette(tmp_path, rng):
    indices = rng.integers(0, 4, (HEIGHT, WIDTH))
    colors = rng.integers(0, 256, (4, 4), dtype=np.uint8)
    padded = np.pad(indices, ((0, 0), (0, -WIDTH % 16))).reshape(HEIGHT, -1, 4)
    rows = (padded << np.array([6, 4, 2, 0])).sum(-1).astype(np.uint8)
    for top_down in (False, True):
        content = (rows if top_down else rows[::-1]).tobytes()
        (tmp_path / "a.bmp").write_bytes(
            bmp(content, 2, palette=colors.tobytes(), top_down=top_down)
        )
        found = opened(tmp_path / "a.bmp").pixels
        np.testing.assert_array_equal(found, colors[indices][..., 2::-1])


def test_runs_and_skipped_pixels(tmp_path, rng):
    colors = rng.integers(0, 256, (256, 4), dtype=np.uint8)
    expected = np.full((HEIGHT, WIDTH), -1)
    expected[10, :5], expected[10, 5:8] = 7, [1, 2, 3]  # the lowest row comes first
    expected[9, 12] = 9
    expected[6, 4:6] = 200
    runs = bytes([5, 7, 0, 3, 1, 2, 3, 0, 0, 0, 0, 2, 12, 0, 1, 9, 0, 0, 0, 2, 4, 2, 2, 200, 0, 1])
    (tmp_path / "a.bmp").write_bytes(bmp(runs, 8, 1, palette=colors.tobytes()))
    picture = opened(tmp_path / "a.bmp")
    np.testing.assert_array_equal(picture.alpha, np.where(expected < 0, 0, 255))
    seen = expected >= 0
    np.testing.assert_array_equal(picture.pixels[seen], colors[expected[seen]][:, 2::-1])


@pytest.mark.parametrize("bits", [4, 8])
def test_runs_without_gaps_are_opaque_and_as_pillow_reads_them(bits, tmp_path, rng):
    indices = rng.integers(0, 1 << bits, (HEIGHT, WIDTH))
    indices[:, :6] = indices[:, :1]
    colors = rng.integers(0, 256, (1 << bits, 4), dtype=np.uint8)
    runs = b""
    for row in indices[::-1].tolist():
        if bits == 8:
            runs += bytes([6, row[0], 0, 7, *row[6:], 0])
        else:
            halves = [*row[6:], 0]
            pairs = [a << 4 | b for a, b in zip(halves[::2], halves[1::2], strict=True)]
            runs += bytes([6, row[0] * 17, 0, 7, *pairs])
        runs += bytes([0, 0])
    whole = bmp(runs + bytes([0, 1]), bits, 3 - bits // 4, palette=colors.tobytes())
    (tmp_path / "a.bmp").write_bytes(whole)
    picture = opened(tmp_path / "a.bmp")
    assert picture.alpha is None
    np.testing.assert_array_equal(picture.pixels, colors[indices][..., 2::-1])
    np.testing.assert_array_equal(picture.pixels, load(tmp_path / "a.bmp").convert("RGB"))
    (tmp_path / "a.bmp").write_bytes(whole[:-60])
    with pytest.raises(InputError, match="is damaged or cut short: it ends in row"):
        opened(tmp_path / "a.bmp")


def test_kinds_of_pillows_are_still_read(save, astronaut):
    color = astronaut[:20, :30]
    for mode in ("1", "L", "P", "RGB"):
        picture = Image.fromarray(color).convert(mode)
        found = opened(save("a.bmp", picture)).pixels
        np.testing.assert_array_equal(
            found.squeeze(), picture.convert(mode.replace("P", "RGB").replace("1", "L"))
        )


def test_what_is_no_bmp_here(tmp_path, rng):
    masks = KINDS["565"][1]
    rows = packed(rng.integers(0, 31, (HEIGHT, WIDTH, 3)), masks, 16)
    for content, says in (
        (bmp(b"\xff\xd8\xff" * 9, 0, 4), "a BMP with a JPEG in it, which cannot be read"),
        (bmp(rows, 16, 3, masks)[:-30], "damaged or cut short: it ends in row 9 of 11"),
        (bmp(rows, 16, 3, (0, *masks[1:])), "damaged or cut short: it has no masks"),
        (bmp(rows, 16, 3, (0xF00F, *masks[1:])), "damaged or cut short: the mask 0xf00f"),
        (bmp(rows, 16, 9), "a BMP with 16 bits a pixel in compression 9"),
        (b"BM" + bytes(30), "damaged or cut short"),
    ):
        (tmp_path / "a.bmp").write_bytes(content)
        with pytest.raises(InputError, match=says):
            opened(tmp_path / "a.bmp")
    (tmp_path / "a.bmp").write_bytes(bmp(rows, 16, 3, masks))
    with pytest.raises(InputError, match="pixels, more than 100"):
        opened(tmp_path / "a.bmp", max_pixels=100)
    with pytest.raises(InputError, match="to decode, but the memory is"):
        opened(tmp_path / "a.bmp", memory=100)


def test_damaged_bytes_are_never_a_fault(tmp_path, rng):
    masks = KINDS["1555"][1]
    rows = packed(rng.integers(0, 2, (HEIGHT, WIDTH, 4)), masks, 16)
    runs = bytes([5, 7, 0, 3, 1, 2, 3, 0, 0, 0, 0, 2, 12, 0, 1, 9, 0, 1])
    for whole in (bmp(rows, 16, 3, masks), bmp(runs, 8, 1, palette=bytes(1024))):
        for _ in range(300):
            content = bytearray(whole)
            for place in rng.integers(0, len(content), 3):
                content[place] = rng.integers(256)
            (tmp_path / "a.bmp").write_bytes(content)
            try:
                opened(tmp_path / "a.bmp", memory=10_000_000)
            except InputError:
                continue
