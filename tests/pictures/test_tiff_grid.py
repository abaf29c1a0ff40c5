"""TIFFs over a grid of types, channels, colours, planes, codecs, byte orders: what was written.

The grid has about 30,000 files; a thinned one is written and read here.
"""

from __future__ import annotations

import itertools
import struct
import zlib

import numpy as np
import pytest
import tifffile
from PIL import Image

from patchsim import InputError
from patchsim.pictures import large
from patchsim.pictures.reader import open_picture

HEIGHT, WIDTH = 37, 45
THINNING = 31  # every so many files; coprime to the numbers of choices

_GREY = [(1, "minisblack", ()), (2, "minisblack", ("unassalpha",))]
_CHANNELS = [(2, "minisblack", ("unspecified",)), (5, "minisblack", ("unspecified",) * 4)]
_COLOR = [
    (3, "rgb", ()),
    (4, "rgb", ("unassalpha",)),
    (4, "rgb", ("assocalpha",)),
    (4, "rgb", ("unspecified",)),
    (5, "rgb", ("unassalpha", "unspecified")),
    (5, "rgb", ("unspecified", "unassalpha")),
]
KINDS = [("?", *_GREY[0]), ("?", 1, "miniswhite", ())]
KINDS += [
    (dtype, *kind)
    for dtype in ("u1", "u2", "u4", "i1", "i2", "i4", "f2", "f4", "f8")
    for kind in _GREY + _CHANNELS + _COLOR
]
KINDS += [
    (dtype, c, "miniswhite", ("unassalpha",)[: c - 1]) for dtype in ("u1", "u2") for c in (1, 2)
]
COMPRESSIONS = [None, "lzw", "zlib", "packbits", "lzma", "zstd"]
LAYOUTS = list(
    itertools.product(
        COMPRESSIONS,
        ("contig", "separate"),
        "<>",
        (None, (16, 32)),
        (False, True),  # BigTIFF
        (1, 2, 3),  # predictor
        (1, 6),  # orientation
    )
)


def thinned(kind):
    """Every 31st layout that a kind can have, beginning at another one for each kind."""
    dtype, channels = np.dtype(kind[0]), kind[1]
    possible = [
        layout
        for layout in LAYOUTS
        if not (channels == 1 and layout[1] == "separate")
        and (layout[5] == 1 or (layout[0] not in (None, "packbits") and dtype.kind != "b"))
        and layout[5] != (2 if dtype.kind == "f" else 3)
    ]
    return possible[KINDS.index(kind) % THINNING :: THINNING]


def made(rng, dtype, shape):
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind == "f":
        return rng.random(shape).astype(dtype)
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def expected(values, photometric, extra):
    """The pixels and the alpha of samples [H, W, S]."""
    kind = values.dtype.kind
    largest = 1 if kind in "bf" else np.iinfo(values.dtype).max
    declared = [number for number, one in enumerate(extra) if one != "unspecified"]
    alpha = None
    if declared:
        sample = (3 if photometric == "rgb" else 1) + declared[0]
        opacity = values[..., sample].astype(float)
        alpha = np.rint(np.clip(opacity / largest, 0, 1) * 255)
        values = np.delete(values, sample, 2)
    if "assocalpha" in extra:
        opacity = opacity[..., None]
        divided = np.zeros(values.shape)
        np.divide(values.astype(float) * largest, opacity, out=divided, where=opacity > 0)
        if kind != "f":
            divided = np.clip(np.floor(divided), np.iinfo(values.dtype).min, largest)
        values = divided.astype(values.dtype)
    if photometric == "miniswhite":
        values = ~values if kind == "b" else largest - values
    return (values * np.uint8(255) if kind == "b" else values), alpha


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind[:3] + kind[3])))
def test_a_tiff_gives_what_was_written(kind, tmp_path, rng):
    dtype, channels, photometric, extra = kind
    path = tmp_path / "a.tif"
    for compression, planar, order, tile, is_big, predictor, orientation in thinned(kind):
        values = made(rng, np.dtype(dtype), (HEIGHT, WIDTH, channels))
        stored = np.moveaxis(values, -1, 0) if planar == "separate" else values
        tifffile.imwrite(
            path,
            stored[..., 0] if channels == 1 else stored,
            byteorder=order,
            bigtiff=is_big,
            tile=tile,
            rowsperstrip=None if tile else 10,
            compression=compression,
            predictor=predictor if predictor > 1 else None,
            photometric=photometric,
            planarconfig=planar if channels > 1 else None,
            extrasamples=list(extra) or None,
            metadata=None,
            extratags=[(274, "H", 1, orientation, True)],
        )
        pixels, alpha = expected(values, photometric, extra)
        if orientation == 6:
            pixels, alpha = np.rot90(pixels, -1), None if alpha is None else np.rot90(alpha, -1)
        picture = open_picture(path, name="image")
        layout = f"{compression} {planar} {order} {tile} {is_big} {predictor} {orientation}"
        assert picture.shift == (32768 if dtype in ("i1", "i2") else 0)
        np.testing.assert_array_equal(picture.pixels.astype(float) - picture.shift, pixels, layout)
        assert (picture.alpha is None) == (alpha is None)
        if alpha is not None:
            np.testing.assert_array_equal(picture.alpha, alpha, layout)


def tags_of(tags, segments, order):
    """A TIFF of tags (number, type, values) and strips, whose offsets (273) are filled in."""
    sizes, letters = {3: 2, 4: 4, 5: 4}, {3: "H", 4: "I", 5: "I"}
    tags = [*tags, (273, 4, [0] * len(segments)), (279, 4, [len(one) for one in segments])]
    start = 8 + 2 + 12 * len(tags) + 4
    behind = start + sum(len(values) * sizes[kind] for _, kind, values in tags)
    entries = more = b""
    for tag, kind, values in sorted(tags):
        if tag == 273:
            values = [behind + sum(map(len, segments[:number])) for number in range(len(segments))]
        packed = struct.pack(f"{order}{len(values)}{letters[kind]}", *values)
        head = struct.pack(f"{order}HHI", tag, kind, len(values) // (2 if kind == 5 else 1))
        if len(packed) > 4:
            entries += head + struct.pack(f"{order}I", start + len(more))
            more += packed
        else:
            entries += head + packed.ljust(4, b"\0")
    magic = b"II*\0" if order == "<" else b"MM\0*"
    head = magic + struct.pack(f"{order}IH", 8, len(tags)) + entries + bytes(4)
    return head + more.ljust(behind - start, b"\0") + b"".join(segments)


BT_601, BT_709 = (0.299, 0.587, 0.114), (0.2125, 0.7154, 0.0721)
FULL, VIDEO = (0, 255, 128, 255, 128, 255), (16, 235, 128, 240, 128, 240)


def from_ycbcr(samples, coefficients, black_white):
    """RGB by the formulas of TIFF 6.0, sections 20 and 21."""
    red, green, blue = coefficients
    low, high = np.array(black_white[::2]), np.array(black_white[1::2])
    y, cb, cr = np.moveaxis((samples - low) * [255, 127, 127] / (high - low), -1, 0)
    r, b = y + cr * (2 - 2 * red), y + cb * (2 - 2 * blue)
    rgb = np.stack([r, (y - blue * b - red * r) / green, b], -1)
    return np.clip(np.rint(rgb), 0, 255)


def smooth(height, width):
    y, x = np.mgrid[:height, :width]
    return np.stack([60 + y * 2, 100 + x, 150 - y], -1).astype(np.uint8)


def rationals(numbers):
    return [part for one in numbers for part in (round(one * 10000), 10000)]


@pytest.mark.parametrize("coefficients", [BT_601, BT_709], ids=["bt601", "bt709"])
@pytest.mark.parametrize("black_white", [FULL, VIDEO], ids=["full", "video"])
@pytest.mark.parametrize("compression", [None, "zlib", "jpeg"])
def test_ycbcr_is_converted_by_its_own_coefficients_and_range(
    compression, black_white, coefficients, tmp_path
):
    samples = smooth(48, 64)
    options = {}
    if compression == "jpeg":
        options["compressionargs"] = {"level": 100, "colorspace": "ycbcr", "outcolorspace": "ycbcr"}
        options["subsampling"] = (1, 1)
    for order, tile in itertools.product("<>", (None, (16, 16))):
        tifffile.imwrite(
            tmp_path / "a.tif", samples, photometric="ycbcr", byteorder=order, tile=tile,
            compression=compression, metadata=None, **options,
            extratags=[(529, 5, 3, tuple(rationals(coefficients)), True),
                       (532, 5, 6, tuple(rationals(black_white)), True)],
        )  # fmt: skip
        found = open_picture(tmp_path / "a.tif", name="image").pixels
        off = np.abs(found - from_ycbcr(samples, coefficients, black_white)).max()
        assert off <= (2 if compression == "jpeg" else 1)


@pytest.mark.parametrize(("across", "down"), [(1, 1), (2, 1), (2, 2), (4, 1), (4, 2), (4, 4)])
def test_pixels_that_share_their_colour(across, down, tmp_path):
    samples = smooth(45, 61)
    shared = samples.copy()
    shared[..., 1:] = (
        samples[::down, ::across, 1:].repeat(down, 0).repeat(across, 1)[: len(samples), :61]
    )
    strips = []
    for top in range(0, len(samples), 8):
        strip = samples[top : top + 8]
        padding = (0, -len(strip) % down), (0, -61 % across), (0, 0)
        strip = np.pad(strip, padding, "edge")
        blocks = strip[..., 0].reshape(len(strip) // down, down, -1, across).swapaxes(1, 2)
        lumas = blocks.reshape(*blocks.shape[:2], -1)
        strips.append(np.concatenate([lumas, strip[::down, ::across, 1:]], -1).tobytes())
    for order, codec, black_white in itertools.product("<>", (1, 8), (FULL, VIDEO)):
        tags = [
            (256, 4, [61]), (257, 4, [45]), (258, 3, [8, 8, 8]), (259, 3, [codec]), (262, 3, [6]),
            (277, 3, [3]), (278, 4, [8]), (284, 3, [1]), (530, 3, [across, down]),
            (532, 5, rationals(black_white)),
        ]  # fmt: skip
        coded = [zlib.compress(strip) for strip in strips] if codec == 8 else strips
        (tmp_path / "a.tif").write_bytes(tags_of(tags, coded, order))
        found = open_picture(tmp_path / "a.tif", name="image").pixels
        np.testing.assert_array_equal(found, from_ycbcr(shared, BT_601, black_white))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("is_big", [False, True])
def test_cmyk_and_palettes_of_each_order_of_bytes(order, is_big, tmp_path, rng):
    inks = made(rng, np.dtype("u1"), (HEIGHT, WIDTH, 4))
    lights = 255 - inks.astype(int)
    naive = lights[..., :3] * lights[..., 3:] / 255
    options = {"byteorder": order, "bigtiff": is_big, "compression": "lzw"}
    for planar, stored in (("contig", inks), ("separate", np.moveaxis(inks, -1, 0))):
        options["planarconfig"] = planar
        tifffile.imwrite(tmp_path / "a.tif", stored, photometric="separated", **options)
        found = open_picture(tmp_path / "a.tif", name="image").pixels
        assert np.abs(found - naive).max() <= 1
    indices = made(rng, np.dtype("u1"), (HEIGHT, WIDTH))
    colors = rng.integers(0, 256, (3, 256), dtype=np.uint16)
    del options["planarconfig"]
    tifffile.imwrite(
        tmp_path / "b.tif", indices, photometric="palette", colormap=colors * 257, **options
    )
    found = open_picture(tmp_path / "b.tif", name="image").pixels
    np.testing.assert_array_equal(found, colors.T[indices])


def test_one_plane_and_colours_of_one_bit(tmp_path, rng):
    grey = made(rng, np.dtype("u1"), (40, 50))
    size = [(256, 4, [50]), (257, 4, [40]), (278, 4, [40]), (259, 3, [1])]
    plane = [*size, (258, 3, [8]), (262, 3, [0]), (277, 3, [1]), (284, 3, [2])]
    (tmp_path / "a.tif").write_bytes(tags_of(plane, [grey.tobytes()], "<"))
    found = open_picture(tmp_path / "a.tif", name="image").pixels
    np.testing.assert_array_equal(found[..., 0], 255 - grey)
    bits = made(rng, np.dtype("?"), (40, 50, 3))
    packed = np.packbits(bits.reshape(40, -1), axis=1).tobytes()
    one_bit = [*size, (258, 3, [1]), (262, 3, [2]), (277, 3, [3]), (284, 3, [1])]
    (tmp_path / "b.tif").write_bytes(tags_of(one_bit, [packed], "<"))
    found = open_picture(tmp_path / "b.tif", name="image").pixels
    np.testing.assert_array_equal(found, bits * 255)


@pytest.mark.parametrize("lossless", [True, False])
def test_webp_in_a_tiff(lossless, tmp_path):
    given = smooth(48, 64)
    path = tmp_path / "a.tif"
    options = {"photometric": "rgb", "compression": "webp"}
    options["compressionargs"] = {"lossless": lossless, "level": 100}
    for tile in (None, (16, 16)):
        tifffile.imwrite(path, given, tile=tile, **options)
        found = open_picture(path, name="image").pixels
        assert np.abs(found.astype(int) - given).max() <= (0 if lossless else 16)


@pytest.mark.parametrize("dtype", ["u1", "u2"])
@pytest.mark.parametrize("tile", [None, (16, 16)])
@pytest.mark.parametrize("is_of_aperio", [True, False])
def test_jpeg_2000_in_a_tiff(dtype, tile, is_of_aperio, tmp_path, rng):
    given = made(rng, np.dtype(dtype), (48, 64, 3))
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, given, tile=tile, photometric="rgb", compression="jpeg2000")
    if is_of_aperio:
        with tifffile.TiffFile(path, mode="r+b") as file:
            file.pages[0].tags["Compression"].overwrite(33005)
    np.testing.assert_array_equal(open_picture(path, name="image").pixels, given)
    windows = large.open_by_windows(path, memory=10**8, alpha=True, ignore_alpha=True).pixels
    np.testing.assert_array_equal(windows[0:48, 0:64], given)


@pytest.mark.parametrize(
    ("at", "value", "says"),
    [
        (8, 0x4000, "64x48 says that it is 16384x48"),
        (12, 0x4000, "64x48 says that it is 64x16384"),
        (38, 0x40004000, "says that it has 16384 samples a pixel"),
        (0, 0, "is no JPEG 2000"),
    ],
)
def test_a_jpeg_2000_of_another_size_is_damaged(at, value, says, tmp_path):
    path = tmp_path / "a.tif"
    options = {"photometric": "rgb", "compression": "jpeg2000", "rowsperstrip": 48}
    tifffile.imwrite(path, smooth(48, 64), **options)
    content = path.read_bytes()
    start = content.index(b"\xff\x4f\xff\x51") + at
    path.write_bytes(content[:start] + struct.pack(">I", value) + content[start + 4 :])
    with pytest.raises(InputError, match=f"damaged.*{says}"):
        open_picture(path, name="image")
    windows = large.open_by_windows(path, memory=10**8, alpha=True, ignore_alpha=True).pixels
    with pytest.raises(InputError, match=f"damaged.*{says}"):
        windows[0:48, 0:64]


def test_jpeg_2000_of_colors_that_a_codec_may_convert_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, smooth(48, 64), photometric="rgb", compression="jpeg2000")
    with tifffile.TiffFile(path, mode="r+b") as file:
        file.pages[0].tags["PhotometricInterpretation"].overwrite(6)
    with pytest.raises(InputError, match="compressed by JPEG2000, which is not read in this kind"):
        open_picture(path, name="image")


def test_webp_in_planes_is_refused(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, smooth(48, 64), photometric="rgb", compression="webp")
    content = path.read_bytes()
    tag = struct.pack("<HHI", 284, 3, 1)
    assert content.count(tag) == 1
    at = content.index(tag) + len(tag)
    path.write_bytes(content[:at] + b"\x02" + content[at + 1 :])
    with pytest.raises(InputError, match="compressed by WEBP, which is not read in this kind"):
        open_picture(path, name="image")


def test_a_strip_that_says_it_is_larger_is_damaged(tmp_path):
    path = tmp_path / "a.tif"
    options = {"photometric": "rgb", "compression": "webp", "rowsperstrip": 48}
    tifffile.imwrite(path, smooth(48, 64), compressionargs={"lossless": True}, **options)
    content = path.read_bytes()
    at = content.index(b"VP8L") + 9
    path.write_bytes(content[:at] + b"\xff\xff\xff\x0f" + content[at + 4 :])
    with pytest.raises(InputError, match=r"damaged.*64x48 says that it is 16384x16384"):
        open_picture(path, name="image")


def test_a_small_copy_before_the_picture_is_passed_over(tmp_path, rng):
    small, full = made(rng, np.dtype("u1"), (4, 5, 3)), made(rng, np.dtype("u1"), (40, 50, 3))
    for dtype in (np.uint8, np.uint16):  # by Pillow, by tifffile
        path = tmp_path / "a.tif"
        with tifffile.TiffWriter(path) as file:
            file.write(small, subfiletype=1, photometric="rgb")
            file.write(full.astype(dtype), photometric="rgb")
        picture = open_picture(path, name="image")
        np.testing.assert_array_equal(picture.pixels, full)
        says = f"{path} begins with a small copy of its picture; page 2 is used"
        assert picture.notices == (says,)


def test_a_tiff_of_more_pixels_than_pillow_decodes(tmp_path, rng, monkeypatch):
    given = made(rng, np.dtype("u1"), (40, 50, 3))
    tifffile.imwrite(tmp_path / "a.tif", given, photometric="rgb", compression="zlib")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 900)
    np.testing.assert_array_equal(open_picture(tmp_path / "a.tif", name="image").pixels, given)


def test_a_later_page_does_not_matter(tmp_path, rng, monkeypatch):
    given = made(rng, np.dtype("u1"), (4, 5, 3))
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as file:
        file.write(given, photometric="rgb")
        file.write(given / 255, photometric="rgb")  # which Pillow cannot set up
    picture = open_picture(path, name="image")
    np.testing.assert_array_equal(picture.pixels, given)
    assert picture.notices == (f"{path} has several pages; the first is used",)
    # Pages are not counted.
    tifffile.imwrite(path, np.zeros((500, 4, 4), np.uint8), photometric="minisblack")
    from PIL import TiffImagePlugin

    loaded = []
    load = TiffImagePlugin.ImageFileDirectory_v2.load
    monkeypatch.setattr(
        TiffImagePlugin.ImageFileDirectory_v2,
        "load",
        lambda self, file: (loaded.append(1), load(self, file)),
    )
    assert open_picture(path, name="image").notices
    assert len(loaded) < 10
