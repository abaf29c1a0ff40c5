"""JPEGs whose data end early are noticed; those that are whole are read in silence."""

from __future__ import annotations

import io
from itertools import product

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from patchsim import InputError
from patchsim.pictures import jpeg
from patchsim.pictures.reader import open_picture

ENDS_EARLY = "a.jpg is damaged: its data end before its last pixels; what could be read is used"
LACKS_SCANS = "a.jpg is damaged: its last scans are missing; what could be read is used"
END = b"\xff\xd9"


@pytest.fixture
def opened(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def read(content):
        (tmp_path / "a.jpg").write_bytes(content)
        return open_picture("a.jpg", name="image")

    return read


def coded(pixels, **options):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "JPEG", **options)
    return stream.getvalue()


def data_of_scans(content):
    """Where the data of each scan begin and end."""
    found, at = [], content.index(b"\xff\xda")
    while at >= 0:
        begin = at + 2 + int.from_bytes(content[at + 2 : at + 4], "big")
        end = begin
        while content[end] != 0xFF or content[end + 1] in (0, *range(0xD0, 0xD8)):
            end += 1
        found.append((begin, end))
        at = content.find(b"\xff\xda", end)
    return found


def cut(content, end):
    """The first bytes of a JPEG, and an end mark; no stuffed byte or restart mark is torn."""
    while content[end - 1] == 0xFF:
        end -= 1
    return content[:end] + END


KINDS = {
    "colour": {"subsampling": 2},
    "full colour": {"subsampling": 0, "quality": 95},
    "coarse": {"quality": 1},
    "optimized": {"optimize": True},
    "restarts": {"restart_marker_rows": 1},
    "many restarts": {"restart_marker_blocks": 1},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("is_grey", [False, True])
def test_data_that_end_early_are_noticed(kind, is_grey, opened, astronaut):
    pixels = astronaut[:200, 100:339, 0] if is_grey else astronaut[:200, 100:339]
    content = coded(np.ascontiguousarray(pixels), **KINDS[kind])
    whole = np.asarray(Image.open(io.BytesIO(content)))
    [(begin, end)] = data_of_scans(content)
    unit = 8 if is_grey or kind == "full colour" else 16
    seen = 0
    for place in {*range(end - 30, end), *range(begin, end, (end - begin) // 20)}:
        shorter = cut(content, place)
        picture = opened(shorter)
        if picture.notices:
            assert picture.notices == (ENDS_EARLY,)
            decoded = np.asarray(Image.open(io.BytesIO(shorter)))
            np.testing.assert_array_equal(picture.pixels.squeeze(), decoded)
            seen += 1
        else:  # two blocks are missing at most; a pixel beside them has some of their colour
            differs = (picture.pixels.squeeze() != whole).reshape(*whole.shape[:2], -1).any(2)
            differs[199 // unit * unit - 1 :, (238 // unit - (unit == 8)) * unit - 1 :] = False
            assert not differs.any(), place
    assert seen > 25


@pytest.mark.parametrize("is_grey", [False, True])
def test_progressive_scans_that_are_missing_are_noticed(is_grey, opened, astronaut):
    pixels = np.ascontiguousarray(astronaut[:200, :300, 0] if is_grey else astronaut[:200, :300])
    content = coded(pixels, progressive=True)
    scans = data_of_scans(content)
    assert len(scans) == (6 if is_grey else 10)
    for begin, end in scans[:-1]:
        assert opened(cut(content, (begin + end) // 2)).notices == (LACKS_SCANS,)
        assert opened(content[:end] + END).notices == (LACKS_SCANS,)
    assert opened(content).notices == ()


def test_a_component_without_a_scan_is_noticed(opened, astronaut):
    """A JPEG of three scans, one for each component, as `cjpeg -scans` writes them."""
    planes = [np.ascontiguousarray(astronaut[:96, :120, c]) for c in range(3)]
    parts = [coded(plane, quality=90) for plane in planes]
    at = parts[0].index(b"\xff\xc0")
    tables = parts[0][:at]
    frame = b"\xff\xc0" + (17).to_bytes(2, "big") + parts[0][at + 4 : at + 9] + b"\3"
    frame += b"".join(bytes([name, 0x11, 0]) for name in (1, 2, 3))
    codes = parts[0][at + 13 : parts[0].index(b"\xff\xda")]
    scans = []
    for name, part in zip((1, 2, 3), parts, strict=True):
        [(begin, end)] = data_of_scans(part)
        scans.append(b"\xff\xda\0\x08\1" + bytes([name, 0, 0, 63, 0]) + part[begin:end])
    head = tables + frame + codes
    expected = Image.merge("YCbCr", [Image.open(io.BytesIO(part)) for part in parts])
    picture = opened(head + b"".join(scans) + END)
    assert picture.notices == ()
    assert np.abs(picture.pixels.astype(int) - np.asarray(expected.convert("RGB"))).max() <= 1
    assert opened(head + b"".join(scans[:2]) + END).notices == (LACKS_SCANS,)


@pytest.mark.parametrize("side", [1, 8, 16, 17, 33, 64])
def test_whole_ones_are_read_in_silence(side, opened, astronaut, rng):
    pictures = {
        "photograph": astronaut[:side, : side + 5],
        "flat": np.full((side, side + 5, 3), 200, np.uint8),
        "middle grey": np.full((side, side + 5, 3), 128, np.uint8),
        "noise": rng.integers(0, 256, (side, side + 5, 3), dtype=np.uint8),
    }
    options = [{"quality": q, "subsampling": s} for q, s in product((5, 75, 100), (0, 1, 2))]
    options += [{"progressive": True}, {"restart_marker_blocks": 1}, {"restart_marker_rows": 1}]
    for pixels, option in product(pictures.values(), options):
        for given in (np.ascontiguousarray(pixels), np.ascontiguousarray(pixels[..., 0])):
            if given.ndim == 2 and "subsampling" in option:
                continue
            content = coded(given, **option)
            picture = opened(content)
            assert picture.notices == ()
            expected = np.asarray(Image.open(io.BytesIO(content)))
            np.testing.assert_array_equal(picture.pixels.squeeze(), expected.squeeze())


@pytest.mark.parametrize(
    "flags",
    [
        [cv2.IMWRITE_JPEG_PROGRESSIVE, 1],
        [cv2.IMWRITE_JPEG_RST_INTERVAL, 3],
        [cv2.IMWRITE_JPEG_OPTIMIZE, 1],
        [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_411],
        [cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_440],
    ],
)
def test_what_opencv_writes_is_read_in_silence(flags, opened, astronaut):
    content = cv2.imencode(".jpg", astronaut[:203, :301], flags)[1].tobytes()
    assert opened(content).notices == ()


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content + b"anything that follows\xff\xd9",
        lambda content: content[:-2] + b"\xff\xff\xff" + END,  # fill bytes before the mark
        lambda content: content[:-2] + b"\0\0\0\0" + END,
        lambda content: content[:-2] + b"\xff\xfe\0\x06text" + END,  # a comment
        lambda content: content[:-2] + b"\xff\xd7" + END,  # a restart with nothing behind it
        lambda content: content[:2] + b"\xff" * 100_000 + content[2:],
    ],
)
def test_what_else_files_hold_is_no_damage(change, opened, astronaut):
    content = coded(astronaut[:100, :150])
    picture = opened(change(content))
    assert picture.notices == ()
    np.testing.assert_array_equal(picture.pixels, np.asarray(Image.open(io.BytesIO(content))))


def test_pictures_behind_the_first_are_left_alone(opened, astronaut):
    stream = io.BytesIO()
    first, second = (Image.fromarray(astronaut[at : at + 90, :120]) for at in (0, 200))
    first.save(stream, "MPO", save_all=True, append_images=[second])
    content = stream.getvalue()
    several = "a.jpg has several frames; the first is used"
    assert opened(content).notices == (several,)
    [(begin, end), _] = data_of_scans(content)
    shorter = content[: (begin + end) // 2] + END + content[end + 2 :]
    assert opened(shorter).notices == (several, ENDS_EARLY)


TIFFS = {
    "strips": {"rowsperstrip": 48},
    "one strip": {"rowsperstrip": 200},
    "tiles": {"tile": (64, 64)},
    "strips of RGB": {"rowsperstrip": 48, "compressionargs": {"outcolorspace": "rgb"}},
}


@pytest.mark.parametrize(
    ("kind", "is_grey"),
    [
        (kind, is_grey)
        for kind in TIFFS
        for is_grey in (False, True)
        if "RGB" not in kind or not is_grey
    ],
)
@pytest.mark.parametrize("writer", ["tifffile", "libtiff"])
def test_jpegs_in_a_tiff_that_end_early_are_noticed(kind, is_grey, writer, tmp_path, astronaut):
    pixels = astronaut[:200, :230, 0] if is_grey else astronaut[:200, :230]
    path = tmp_path / "a.tif"
    if writer == "libtiff":  # tables that the JPEGs have in common, and YCbCr
        tags = {278: TIFFS[kind].get("rowsperstrip", 16)}
        Image.fromarray(pixels).save(path, compression="jpeg", tiffinfo=tags)
    else:
        tifffile.imwrite(
            path, pixels, compression="jpeg", photometric="minisblack" if is_grey else "rgb",
            **TIFFS[kind],
        )  # fmt: skip
    assert open_picture(path, name="image").notices == ()
    with tifffile.TiffFile(path) as file:
        places, lengths = file.pages[0].dataoffsets, file.pages[0].databytecounts
    content = bytearray(path.read_bytes())
    cut_at = {0, len(places) // 2}
    for number in cut_at:
        middle = places[number] + lengths[number] // 2
        middle -= content[middle - 1] == 0xFF
        content[middle : middle + 2] = END
    path.write_bytes(content)
    what = "tiles" if "tile" in TIFFS[kind] and writer == "tifffile" else "strips"
    says = f"the data of {len(cut_at)} of its {len(places)} {what} end early"
    notice = f"{path} is damaged: {says}; what could be read is used"
    assert open_picture(path, name="image").notices == (notice,)


@pytest.mark.parametrize("kind", TIFFS)
def test_a_tiff_of_middle_grey_is_sound(kind, tmp_path):
    pixels = np.full((200, 230, 3), 128, np.uint8)
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, compression="jpeg", photometric="rgb", **TIFFS[kind]
    )
    picture = open_picture(tmp_path / "a.tif", name="image")
    assert picture.notices == ()
    assert np.abs(picture.pixels.astype(int) - pixels).max() <= 1


def test_a_jpeg_without_an_end_is_refused(opened, astronaut):
    content = coded(astronaut[:100, :150])
    with pytest.raises(InputError, match="is a JPEG that is damaged or cut short"):
        opened(content[: len(content) // 2])


@pytest.mark.parametrize("marker", [b"\xff\x01", b"\xff\xd3"])
@pytest.mark.parametrize("place", ["begin", "end"])
def test_many_markers_without_data_are_damage(marker, place, opened, astronaut):
    content = coded(astronaut[:32, :32], progressive=True)
    markers = marker * 50_000
    given = (
        content[:2] + markers + content[2:] if place == "begin" else content[:-2] + markers + END
    )
    if place == "begin" or marker == b"\xff\x01":  # restarts behind a scan are part of its data
        with pytest.raises(InputError, match="thousands of markers without data"):
            opened(given)
    else:
        assert opened(given).notices == ()


def test_many_segments_are_refused(opened, astronaut, monkeypatch):
    monkeypatch.setattr(jpeg, "_MOST_SEGMENTS", 50)
    content = coded(astronaut[:32, :32], progressive=True)
    comments = b"\xff\xfe\0\2" * 60
    with pytest.raises(InputError, match="JPEG of more than 50 segments"):
        opened(content[:-2] + comments + END)
