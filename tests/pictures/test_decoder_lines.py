"""What decoders write to stderr becomes one notice of the command; a crash is still told."""

from __future__ import annotations

import contextlib
import os
import re
import struct
import subprocess
import sys
import threading
import zlib

import imagecodecs
import numpy as np
import OpenEXR
import pytest
import tifffile
from astropy.io import fits
from helpers import ENVIRONMENT, dicoms, icc, patchsim
from PIL import Image

from patchsim import InputError
from patchsim.pictures import decoder_lines
from patchsim.pictures.reader import open_picture


@pytest.fixture
def on(monkeypatch):
    monkeypatch.setattr(decoder_lines, "_is_on", True)


@pytest.mark.usefixtures("on")
def test_the_complaints_about_a_picture_become_one_notice(tmp_path, rng, capfd):
    path = tmp_path / "scan.tif"
    Image.fromarray(rng.integers(0, 2, (60, 80)).astype(bool)).save(path, compression="group4")
    content = bytearray(path.read_bytes())
    notices = ()
    for place in range(200, 400):
        content[place] ^= 255
        path.write_bytes(content)
        picture = open_picture(path, name="image")
        if picture.notices:
            notices = picture.notices
    assert len(notices) == 1
    assert notices[0].startswith(f"{path} is damaged: ")
    assert notices[0].endswith("what could be read is used")
    assert capfd.readouterr().err == ""


@pytest.mark.usefixtures("on")
def test_rows_of_a_fax_that_have_another_length_are_told(tmp_path, rng, capfd):
    """Of these libtiff warns alone, and Pillow mutes its warnings."""
    path = tmp_path / "scan.tif"
    Image.fromarray(rng.integers(0, 2, (60, 80)).astype(bool)).save(path, compression="group4")
    whole = path.read_bytes()
    assert open_picture(path, name="image").notices == ()
    told = set()
    for place in range(100, 400, 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 16]) + whole[place + 1 :])
        told.update(text.split(": ", 1)[1] for text in open_picture(path, name="image").notices)
    assert any(
        re.match(r"[^:]* at line \d+ of strip 0 \(got \d+, expected 80\)", text) for text in told
    )
    assert capfd.readouterr().err == ""


def test_lines_are_counted_without_their_numbers():
    lines = [f"Fax4Decode: Bad code word at line {row} of strip 0 (x {row})" for row in (7, 8, 9)]
    lines.insert(0, "Fax4Decode: Uncompressed data (not supported) at line 3 of strip 0 (x 1)")
    assert decoder_lines.notices("a.tif", lines) == (
        "a.tif is damaged: Fax4Decode: Bad code word at line 7 of strip 0 (x 7) (3 times);"
        " what could be read is used",
    )
    assert decoder_lines.notices("a.tif", ["x: Warning, odd"]) == (
        "a.tif was read, but its decoder warns: x: Warning, odd",
    )
    assert decoder_lines.notices("a.tif", []) == ()


def test_a_library_is_told_of_a_damaged_fax_as_well(tmp_path, rng):
    path = tmp_path / "scan.tif"
    Image.fromarray(rng.integers(0, 2, (60, 80)).astype(bool)).save(path, compression="group4")
    content = bytearray(path.read_bytes())
    content[300] ^= 255
    path.write_bytes(content)
    (notice,) = open_picture(path, name="image").notices
    assert notice.startswith(f"{path} is damaged: ")


def test_nothing_is_collected_in_a_library(capfd):
    lines = []
    with decoder_lines.collected(lines):
        os.write(2, b"a line\n")
    assert lines == []
    assert capfd.readouterr().err == "a line\n"


@pytest.mark.usefixtures("on")
def test_threads_collect_in_turn_and_errors_leave_stderr_as_it_was(capfd):
    found = {}

    def work(name):
        lines = found[name] = []
        with decoder_lines.collected(lines):
            for number in range(50):
                os.write(2, b"TIFF%s: %d\n" % (name.encode(), number))

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {name: [f"TIFF{name}: {number}" for number in range(50)] for name in "abcd"}
    lines = []

    def interrupted():
        with decoder_lines.collected(lines):
            os.write(2, b"tempfile.tif: words\x1b[1m.\nPNG warning: Interlace handling should be")
            os.write(2, b" turned on when using png_read_image\n")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert lines == ["words[1m"]
    os.write(2, b"after\n")
    assert capfd.readouterr().err == "after\n"


@pytest.mark.usefixtures("on")
def test_lines_of_others_are_written_on_and_say_nothing_of_the_picture(capfdbinary):
    others = [
        b"import time:       122 |        122 |   PIL.TiffImagePlugin\n", b"patchsim: a notice\n",
        b"Traceback: TIFFReadDirectory\n", b"\xff\x1b[1m\n", b"\n", b"no end of a line",
    ]  # fmt: skip
    lines = []
    with decoder_lines.collected(lines):
        os.write(2, b"libpng warning: IDAT: bad\n")
        for line in others[:3]:
            os.write(2, line)
        os.write(2, b"Fax4Decode: Bad code word.\n")
        for line in others[3:]:
            os.write(2, line)
    assert lines == ["libpng warning: IDAT: bad", "Fax4Decode: Bad code word"]
    assert capfdbinary.readouterr().err == b"".join(others)


@pytest.mark.usefixtures("on")
@pytest.mark.parametrize("tag", [273, 279])
def test_a_tiff_without_a_list_of_its_strips(tag, save, rng, capfd):
    """The function of libtiff's that tells of it has no TIFF in its name."""
    pixels = rng.integers(0, 256, (30, 40), dtype=np.uint8)
    path = save("a.tif", pixels, compression="tiff_lzw")
    whole = path.read_bytes()
    found = [at for at in range(len(whole)) if whole[at : at + 2] == struct.pack("<H", tag)]
    for other in (tag + 1, 1, 60_000):
        path.write_bytes(whole[: found[-1]] + struct.pack("<H", other) + whole[found[-1] + 2 :])
        with contextlib.suppress(InputError):
            open_picture(path, name="image")
    assert capfd.readouterr().err == ""


def test_a_trace_of_imports_is_no_damage_of_the_picture(tmp_path, save, rng):
    path = save("a.tif", rng.integers(0, 256, (9, 9), dtype=np.uint8), compression="tiff_lzw")
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "patchsim", "match", path, path,
         "--no-heatmap"], capture_output=True, text=True, env=ENVIRONMENT, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert [line for line in lines if not line.startswith("import time: ")] == []
    assert any("PIL.TiffImagePlugin" in line for line in lines)


def test_a_crash_is_told():
    program = (
        "import ctypes; from patchsim.pictures import decoder_lines as d; d.turn_on()\n"
        "with d.collected([]): ctypes.string_at(0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=ENVIRONMENT,
        check=False,
    )  # fmt: skip
    assert done.returncode < 0
    assert "Segmentation fault" in done.stderr


def interlaced(values):
    """An interlaced PNG of 16-bit RGB, of which libpng writes a line."""
    height, width = values.shape[:2]
    steps = [
        (0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
        (0, 1, 1, 2),
    ]  # fmt: skip
    rows = b"".join(
        b"\0" + values[y, x0::dx].astype(">u2").tobytes()
        for x0, y0, dx, dy in steps
        for y in range(y0, height, dy)
    )
    head = struct.pack(">IIBBBBB", width, height, 16, 2, 0, 0, 1)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


def _write_science(folder, deep, small):
    """Pictures of DICOM, FITS and OpenEXR, plain and compressed."""
    floats = np.float32(deep) / 65535
    for name in ("NO", "ZIP", "PIZ", "DWAA"):
        header = {"compression": getattr(OpenEXR, f"{name}_COMPRESSION"),
                  "type": OpenEXR.scanlineimage}  # fmt: skip
        OpenEXR.File(header, {"RGB": floats}).write(str(folder / f"{name}.exr"))
    fits.PrimaryHDU(deep[..., 0]).writeto(folder / "plain.fits")
    for packing in ("RICE_1", "GZIP_2", "PLIO_1", "HCOMPRESS_1"):
        packed = fits.CompImageHDU((deep[..., 0] >> 8).astype(np.int16), compression_type=packing)
        fits.HDUList([fits.PrimaryHDU(), packed]).writeto(folder / f"{packing}.fits")
    dicoms.write(folder / "plain.dcm", small, color="RGB")
    dicoms.write(folder / "ct.dcm", deep[..., 0] >> 4, bits=12, RescaleIntercept=-1024)
    for syntax, codec in ((70, "ljpeg"), (80, "jpegls"), (90, "jpeg2k")):
        frame = getattr(imagecodecs, f"{codec}_encode")(deep[..., 0])
        dicoms.write(
            folder / f"{codec}.dcm", deep[..., 0], syntax=f"1.2.840.10008.1.2.4.{syntax}",
            frame=frame + b"\0" * (len(frame) % 2),
        )  # fmt: skip


@pytest.mark.parametrize("copies", [4, pytest.param(15, marks=pytest.mark.slow)])
def test_nothing_but_our_lines_reaches_stderr(tmp_path, rng, copies):
    """Over damaged files of every kind, which a seeded mutator makes."""
    deep = rng.integers(0, 65536, (24, 32, 3), dtype=np.uint16)
    (tmp_path / "deep.png").write_bytes(interlaced(deep))
    small = np.ascontiguousarray((deep >> 8).astype(np.uint8))
    picture, bilevel = Image.fromarray(small), Image.fromarray(small[..., 0]).convert("1")
    for number, codec in enumerate(("group4", "group3", "tiff_ccitt")):
        bilevel.save(tmp_path / f"fax{number}.tif", compression=codec)
    for codec in ("tiff_lzw", "tiff_deflate", "packbits", "jpeg", "lzma", "zstd"):
        picture.save(tmp_path / f"{codec}.tif", compression=codec)
    for suffix in ("jpg", "png", "webp", "gif", "bmp", "ppm", "avif", "jp2", "tga", "qoi", "pcx"):
        picture.save(tmp_path / f"a.{suffix}")
    (tmp_path / "deep.jp2").write_bytes(imagecodecs.jpeg2k_encode(deep, level=0, reversible=True))
    (tmp_path / "deep.jxl").write_bytes(imagecodecs.jpegxl_encode(deep, lossless=True))
    (tmp_path / "deep.avif").write_bytes(imagecodecs.avif_encode(deep >> 6, bitspersample=10))
    for codec in ("lzw", "zlib", "webp"):
        given = small if codec == "webp" else deep
        tifffile.imwrite(tmp_path / f"deep-{codec}.tif", given, compression=codec, tile=(16, 16))
    picture.save(tmp_path / "profile.png", icc_profile=icc.P3)
    for suffix in ("jpg", "webp", "tif"):
        picture.save(tmp_path / f"profile.{suffix}", icc_profile=icc.ADOBE)
    _write_science(tmp_path, deep, small)
    files = sorted(tmp_path.iterdir())
    names = []
    for file in files:
        whole = file.read_bytes()
        for copy in range(copies):
            content = bytearray(whole)
            # A third of the copies are damaged near their beginning.
            end = len(content) if copy % 3 else min(600, len(content))
            for place in rng.integers(0, end, 3):
                content[place] = rng.integers(256)
            names.append(tmp_path / f"damaged-{copy}-{file.name}")
            names[-1].write_bytes(content)
    picture.crop((0, 0, 8, 8)).save(tmp_path / "kernel.png")
    # One process for all: it goes through the command's own entry for each file.
    program = (
        "import sys, typer\n"
        "from patchsim.cli import console, streams\n"
        "from patchsim.cli.app import app\n"
        "from patchsim.pictures import decoder_lines\n"
        "decoder_lines.turn_on()\n"
        "command = typer.main.get_command(app)  # once for all\n"
        "with streams.guarded_streams():\n"
        "    for name in sys.argv[1:]:\n"
        "        code = console.run(command, ['match', name, 'kernel.png', '--no-heatmap'])\n"
        "        assert code in (0, 1, 2), (name, code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *(name.name for name in [*files, *names])],
        capture_output=True, text=True, env=ENVIRONMENT, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    header = "x\ty\twidth\theight\tscore\tkernel\tcenter_x\tcenter_y"
    assert all(line == header or line[0].isdigit() for line in done.stdout.splitlines())
    lines = done.stderr.splitlines()
    assert [line for line in lines if not line.startswith("patchsim: ")] == []
    assert any("is damaged: Fax" in line for line in lines)
    assert not any("deep.png" in line and "damaged-" not in line for line in lines)


def test_a_quiet_command_is_quiet(tmp_path, rng):
    (tmp_path / "deep.png").write_bytes(interlaced(rng.integers(0, 65536, (24, 32, 3))))
    process = patchsim(
        "match", "deep.png", "deep.png", "--no-heatmap", "--quiet", cwd=tmp_path
    )  # fmt: skip
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert out.splitlines()[1].split("\t")[:5] == ["0", "0", "32", "24", "1.0"]
    assert err == ""
