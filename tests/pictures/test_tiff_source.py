"""Windows of TIFFs have the pixels of the whole picture, and each tile is decoded about once."""

from __future__ import annotations

import threading
from unittest import mock

import numpy as np
import pytest
import tifffile
from helpers.signals import at_each_step
from hypothesis import given, settings
from hypothesis import strategies as st

import patchsim
from patchsim import InputError
from patchsim.pictures import large, nodata, windowed
from patchsim.pictures.chunk_cache import ChunkCache, sizes
from patchsim.pictures.reader import open_picture

LARGE = {"max_pixels": 1, "memory": "40MB"}  # too large to be read whole


def opened(path, memory=40_000_000, ignore_alpha=False):
    return large.open_by_windows(path, memory=memory, alpha=True, ignore_alpha=ignore_alpha)


def agree(path, **options):
    """The picture by windows, once it is the same as the whole one."""
    picture, whole = opened(path, **options), open_picture(path, name="image")
    assert windowed.of(picture.pixels) is not None
    height, width, channels = picture.pixels.shape
    assert (height, width, channels) == whole.pixels.shape
    assert picture.pixels.dtype == whole.pixels.dtype
    assert (picture.shift, picture.profile) == (whole.shift, whole.profile)
    np.testing.assert_array_equal(picture.pixels[0:height, 0:width], whole.pixels)
    if whole.alpha is None or options.get("ignore_alpha"):
        assert picture.alpha is None
    else:
        assert (picture.alpha[0:height, 0:width] == whole.alpha).all()
    part = np.s_[height // 3 : height - 1, width // 4 : width - 3]
    np.testing.assert_array_equal(picture.pixels[part], whole.pixels[part])
    assert picture.pixels[part].flags.c_contiguous
    return picture


RGB = {"photometric": "rgb"}
KINDS = {
    "tiles": {**RGB, "tile": (32, 16), "compression": "zlib"},
    "predicted": {**RGB, "tile": (32, 32), "compression": "zlib", "predictor": True},
    "plain tiles": {**RGB, "tile": (16, 48)},
    "strips": {**RGB, "rowsperstrip": 7, "compression": "lzw"},
    "plain strips": {**RGB, "rowsperstrip": 5},
    "zstd": {**RGB, "tile": (64, 64), "compression": "zstd", "bigtiff": True},
    "packbits": {**RGB, "rowsperstrip": 9, "compression": "packbits"},
    "big-endian": {**RGB, "tile": (16, 16), "compression": "zlib", "byteorder": ">"},
    "plain big-endian": {**RGB, "byteorder": ">"},
    "ome": {**RGB, "tile": (32, 32), "compression": "zlib", "metadata": {"axes": "YXS"}},
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["u1", "u2", "f4"])
@pytest.mark.parametrize("kind", KINDS)
def test_windows_are_those_of_the_whole(rng, tmp_path, kind, dtype):
    pixels = rng.integers(0, 200, (83, 101, 3)).astype(dtype)
    path = tmp_path / ("image.ome.tif" if kind == "ome" else "image.tif")
    tifffile.imwrite(path, pixels, **KINDS[kind])
    picture = agree(path)
    assert (picture.pixels[0:83, 0:101] == pixels).all()


@pytest.mark.parametrize("color", ["grey", "white", "planes", "signed", "palette", "cmyk", "int"])
def test_other_colours(rng, tmp_path, color):
    path, tiles = tmp_path / "image.tif", {"tile": (32, 32), "compression": "zlib"}
    pixels = rng.integers(0, 256, (70, 90), dtype=np.uint8)
    options = {"photometric": "minisblack", **tiles}
    if color == "white":
        options["photometric"] = "miniswhite"
    elif color == "planes":
        pixels = rng.integers(0, 256, (3, 70, 90), dtype=np.uint8)
        options |= {"photometric": "rgb", "planarconfig": "separate"}
    elif color == "signed":
        pixels = rng.integers(-999, 999, (70, 90), dtype=np.int16)
    elif color == "int":
        pixels = rng.integers(0, 1 << 32, (70, 90), dtype=np.uint32)
    elif color == "palette":
        colormap = rng.integers(0, 1 << 16, (3, 256), dtype=np.uint16)
        options |= {"photometric": "palette", "colormap": colormap}
    elif color == "cmyk":
        pixels = rng.integers(0, 256, (70, 90, 4), dtype=np.uint8)
        options["photometric"] = "separated"
    tifffile.imwrite(path, pixels, **options)
    agree(path)


@pytest.mark.parametrize("subsampling", [(1, 1), (2, 2)])
def test_jpeg_tiles(rng, tmp_path, subsampling):
    pixels = rng.integers(0, 256, (9, 11, 3), dtype=np.uint8).repeat(10, 0).repeat(9, 1)
    path = tmp_path / "image.tif"
    tifffile.imwrite(
        path, pixels, photometric="rgb", tile=(32, 32), compression="jpeg", subsampling=subsampling
    )
    agree(path)


def test_alpha(rng, tmp_path):
    pixels = rng.integers(0, 256, (70, 90, 4), dtype=np.uint8)
    path = tmp_path / "image.tif"
    options = {"photometric": "rgb", "tile": (32, 32), "extrasamples": ["unassalpha"]}
    tifffile.imwrite(path, pixels, **options)
    agree(path)
    agree(path, ignore_alpha=True)
    wide = pixels.astype(np.uint16) * 251
    for extra in ("assocalpha", "unassalpha"):
        for values in (wide, pixels):
            tifffile.imwrite(path, values, **{**options, "extrasamples": [extra]})
            agree(path)
    pixels[..., 3] = 255
    tifffile.imwrite(path, pixels, **options)
    agree(path)


@settings(deadline=None, max_examples=30)
@given(data=st.data())
def test_searches_agree(data, tmp_path_factory):
    rng = np.random.default_rng(data.draw(st.integers(0, 1 << 20)))
    height, width = data.draw(st.tuples(st.integers(30, 200), st.integers(30, 200)))
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    tall, wide = data.draw(st.tuples(st.integers(1, 30), st.integers(1, 30)))
    kernel = image[-tall:, -wide:]
    path = tmp_path_factory.mktemp("searches") / "image.tif"
    tile = data.draw(st.sampled_from([(16, 16), (32, 64), (128, 16)]))
    tifffile.imwrite(path, image, photometric="rgb", tile=tile, compression="zlib")
    options = {
        # A kernel of one pixel is flat, which zncc refuses.
        "metric": data.draw(st.sampled_from(["sad", "ssd", "zncc"][: 2 + (tall * wide > 1)])),
        "padding": data.draw(st.sampled_from(["valid", "edge", "reflect", "zero"])),
        "stride": data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4))),
        "top": data.draw(st.integers(1, 20)),
        "margin": data.draw(st.booleans()),
    }
    reports = [patchsim.match(source, kernel, **LARGE, **options) for source in (image, path)]
    found = [[(m.x, m.y, m.score, m.margin) for m in report] for report in reports]
    assert found[0] == found[1]


def search_and_count(path, kernel, memory, threads, place):
    """Search a kernel that lies at a place (x, y); return the matches and the chunks decoded."""
    caches = []

    class Counted(ChunkCache):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            caches.append(self)

    with mock.patch("patchsim.pictures.tiff_source.ChunkCache", Counted):
        report = patchsim.match(
            path, kernel, max_pixels=1, memory=memory, threads=threads, top=5, engine="simd"
        )
    assert (report.best.x, report.best.y) == place
    (cache,) = caches
    return report, cache.decoded


@pytest.mark.parametrize("threads", [1, 2])
def test_tiles_are_decoded_about_once(rng, tmp_path, threads):
    image = rng.integers(0, 256, (2000, 1500, 3), dtype=np.uint8)
    kernel = image[1200:1264, 700:764].copy()
    kernel[0, 0] ^= 1
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, image, photometric="rgb", tile=(128, 128), compression="zlib")
    tiles = 16 * 12
    report, decoded = search_and_count(path, kernel, "20MB", threads, (700, 1200))
    assert tiles <= decoded <= 1.05 * tiles + 4 * len(report)


@pytest.mark.parametrize("threads", [1, 2])
def test_low_strips_are_decoded_about_once(rng, tmp_path, threads):
    image = rng.integers(0, 256, (1600, 1000, 3), dtype=np.uint8)
    kernel = image[1200:1264, 700:764].copy()
    kernel[0, 0] ^= 1
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, image, photometric="rgb", rowsperstrip=8, compression="zlib")
    strips = 1600 // 8
    report, decoded = search_and_count(path, kernel, "64MB", threads, (700, 1200))
    # The exact scores of a match may need the strips of its 64 rows again.
    assert strips <= decoded <= 1.05 * strips + 9 * len(report)


def test_chunks_that_a_window_waits_for_are_forgotten_last():
    decoded = []

    def decode(number):
        decoded.append(number)
        return np.full(10, number, np.uint8)

    cache = ChunkCache(30, decode)
    for number in (0, 1, 2):
        cache.get(number)
    window = cache.each([3, 0, 1])
    assert next(window)[0] == 3  # 0 is the oldest, but the window waits for it
    assert [number for number, _ in window] == [0, 1]
    assert decoded == [0, 1, 2, 3]
    for number in (4, 5, 6):  # the window is over: its chunks are forgotten like others
        cache.get(number)
    assert [cache.get(number)[0] for number in (4, 5, 6, 0)] == [4, 5, 6, 0]
    assert decoded == [0, 1, 2, 3, 4, 5, 6, 0]


def test_a_window_that_is_given_up_keeps_no_chunks():
    cache = ChunkCache(20, lambda number: np.full(10, number, np.uint8))
    window = cache.each([0, 1, 2])
    next(window)
    window.close()
    for number in (3, 4):
        cache.get(number)
    assert sorted(cache._chunks) == [3, 4]
    assert not cache._wanted


@pytest.mark.parametrize(
    ("chunk", "memory", "kept"),
    [
        ((128, 128), 100_000_000, 4 * 128 * 8 * 128 * 3),  # 512 rows
        ((8, 1000), 100_000_000, 64 * 8 * 1000 * 3),
        ((400, 1000), 100_000_000, 3 * 400 * 1000 * 3),  # three rows of chunks
        ((1600, 100), 100_000_000, 1600 * 10 * 100 * 3),  # there is one row
        ((128, 128), 1_000_000, 500_000),  # half of the memory
    ],
)
def test_chunks_of_512_rows_or_three_rows_of_chunks_are_kept(chunk, memory, kept):
    least = 2 * chunk[0] * chunk[1] * 3
    assert sizes((1600, 1000, 3), chunk, np.dtype(np.uint8), memory) == (kept, least)


def test_a_chunk_is_decoded_by_one_thread():
    begun, go = [], threading.Event()

    def decode(number):
        begun.append(number)
        assert go.wait(10)
        return np.full((4, 4, 1), number, np.uint8)

    cache = ChunkCache(32, decode)
    found = []
    threads = [threading.Thread(target=lambda: found.append(cache.get(7))) for _ in range(5)]
    for thread in threads:
        thread.start()
    go.set()
    for thread in threads:
        thread.join()
    assert begun == [7]
    assert len(found) == 5
    for number in (1, 2, 1, 3, 2, 1):  # two fit
        assert cache.get(number)[0, 0, 0] == number
    assert begun == [7, 1, 2, 3, 2, 1]


def test_a_chunk_that_fails_is_tried_again():
    outcomes = [ValueError("broken"), np.zeros((1, 1, 1), np.uint8)]

    def decode(_number):
        outcome = outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    cache = ChunkCache(10, decode)
    with pytest.raises(ValueError, match="broken"):
        cache.get(0)
    assert cache.get(0).shape == (1, 1, 1)


def test_what_is_only_read_whole_is_refused(rng, tmp_path):
    path = tmp_path / "image.tif"
    pixels = rng.integers(0, 256, (70, 90), dtype=np.uint8)
    for options, says in (
        ({"extratags": [(274, "H", 1, 6, True)]}, "stored turned or mirrored"),
        ({"compression": "zlib", "rowsperstrip": 70}, "90x70 pixels, each of which takes"),
    ):
        tifffile.imwrite(path, pixels, photometric="minisblack", **options)
        with pytest.raises(InputError, match=f"too large to be read whole, and .*{says}"):
            opened(path, memory=20_000)
    tifffile.imwrite(path, pixels > 99, photometric="minisblack")
    with pytest.raises(InputError, match="has values of 1 bits"):
        opened(path)


def test_damaged_tiles_are_named(rng, tmp_path):
    path = tmp_path / "image.tif"
    pixels = rng.integers(0, 256, (70, 90), dtype=np.uint8)
    tifffile.imwrite(path, pixels, photometric="minisblack", tile=(32, 32), compression="zlib")
    with tifffile.TiffFile(path) as file:
        place = file.pages[0].dataoffsets[4]
    content = bytearray(path.read_bytes())
    content[place : place + 20] = bytes(20)
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"damaged.*tile or strip 4 at x=32, y=32"):
        patchsim.match(path, pixels[:9, :9], **LARGE)
    path.write_bytes(content[:-100])
    with pytest.raises(InputError, match="damaged or cut short"):
        patchsim.match(path, pixels[:9, :9], **LARGE)


def test_without_the_packages_a_line_names_them(rng, tmp_path):
    path = tmp_path / "image.tif"
    pixels = rng.integers(0, 256, (70, 90), dtype=np.uint8)
    tifffile.imwrite(path, pixels, photometric="minisblack", tile=(32, 32))
    with (
        mock.patch.dict("sys.modules", {"tifffile": None}),
        pytest.raises(InputError, match=r"too large to be read whole.*\npip install tifffile"),
    ):
        patchsim.match(path, pixels[:9, :9], **LARGE)


@pytest.mark.parametrize("segments", [{"tile": (64, 64)}, {"rowsperstrip": 48}])
@pytest.mark.parametrize("is_grey", [False, True])
def test_jpegs_whose_data_end_early_are_named(astronaut, tmp_path, segments, is_grey):
    path = tmp_path / "a.tif"
    pixels = astronaut[:200, :230, 0] if is_grey else astronaut[:200, :230]
    photometric = "minisblack" if is_grey else "rgb"
    tifffile.imwrite(path, pixels, compression="jpeg", photometric=photometric, **segments)
    grey = tmp_path / "grey.tif"
    tifffile.imwrite(
        grey, np.full_like(pixels, 128), compression="jpeg", photometric=photometric, **segments
    )
    assert (
        np.abs(opened(grey).pixels[0:200, 0:230].astype(int) - 128).max() <= 1
    )  # sound, though as filled
    with tifffile.TiffFile(path) as file:
        places, lengths = file.pages[0].dataoffsets, file.pages[0].databytecounts
    number = len(places) // 2
    content = bytearray(path.read_bytes())
    middle = places[number] + lengths[number] // 2
    middle -= content[middle - 1] == 0xFF
    content[middle : middle + 2] = b"\xff\xd9"
    path.write_bytes(content)
    cut = opened(path)
    with pytest.raises(InputError, match=f"its tile or strip {number} at .* ends too early"):
        cut.pixels[0:200, 0:230]


NODATA = {
    "u1": ("u1", "7", 7),
    "i2": ("i2", "-9999", -9999),
    "f4": ("f4", "-3.4028235e38", np.float32(-3.4028235e38)),
    "nan": ("f4", "nan", np.nan),
    "rgb": ("u1", "7", 7),
    "alpha": ("u1", "7", 7),
    "big-endian BigTIFF": ("u2", "7", 7),
    "beyond": ("u1", "-9999", 7),
    "jpeg": ("u1", "7", 7),
}


@pytest.mark.parametrize("share", [0, 0.1, 1])
@pytest.mark.parametrize("kind", NODATA)
def test_no_data_is_hidden_as_in_the_whole(rng, tmp_path, kind, share):
    dtype, text, value = NODATA[kind]
    path, channels = tmp_path / "dem.tif", {"rgb": 3, "jpeg": 3, "alpha": 2}.get(kind, 1)
    pixels = rng.integers(10, 256, (83, 101, channels)).astype(dtype)
    is_empty = rng.random((83, 101)) < share
    pixels[..., : 1 if channels == 2 else channels][is_empty] = value
    options = {"tile": (32, 32), "extratags": [(nodata.GDAL_NODATA, 2, 0, text, True)]}
    options["photometric"] = "rgb" if channels == 3 else "minisblack"
    options["compression"] = "jpeg" if kind == "jpeg" else "zlib"
    if channels == 2:
        options["extrasamples"] = ["unassalpha"]
    if "BigTIFF" in kind:
        options |= {"bigtiff": True, "byteorder": ">"}
    tifffile.imwrite(path, pixels if channels > 1 else pixels[..., 0], **options)
    picture = agree(path)
    assert agree(path, ignore_alpha=True).notices == picture.notices
    told = open_picture(path, name="image").notices
    assert [text.replace(str(path), "") for text in told] == [
        text.replace(str(path), "") for text in picture.notices
    ]
    if share and kind not in ("beyond", "jpeg"):
        assert (picture.alpha[0:83, 0:101][is_empty] == 0).all()


def test_no_data_of_a_level_is_that_of_its_picture(rng, tmp_path):
    path = tmp_path / "dem.tif"
    pixels = rng.integers(10, 256, (128, 128), np.uint8)
    pixels[20:60, 30:90] = 7
    with tifffile.TiffWriter(path) as file:
        tag = [(nodata.GDAL_NODATA, 2, 0, "7", True)]
        file.write(pixels, tile=(32, 32), subifds=1, extratags=tag)
        file.write(pixels[::2, ::2], tile=(32, 32), subfiletype=1)
    picture = large.open_by_windows(
        path, memory=40_000_000, alpha=True, ignore_alpha=False, level=1
    )
    assert ((picture.alpha[0:64, 0:64] == 0) == (pixels[::2, ::2] == 7)).all()


def test_a_signal_leaves_no_chunk_that_others_wait_for():
    caches = []

    def read():
        caches.append(ChunkCache(30, lambda number: np.full(10, number, np.uint8)))
        for number, pixels in caches[-1].each([3, 0]):
            assert pixels[0] == number

    def read_too():
        assert [pixels[0] for _, pixels in caches[-1].each([0, 3])] == [0, 3]

    caches.append(ChunkCache(30, lambda number: np.full(10, number, np.uint8)))
    assert at_each_step(read, read_too) > 20
