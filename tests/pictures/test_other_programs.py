"""Pictures that other programs wrote, one of each format at least.

Programs that are not installed are skipped. On Debian `apt-get install imagemagick graphicsmagick
ffmpeg dcmtk` brings them. Left out is what programs write against the formats' rules: the TGA of
ImageMagick 6 and the PFM of ffmpeg have their rows upside down, the PAM of OpenCV has BGR for RGB.
"""

from __future__ import annotations

import shutil
import subprocess

import cv2
import numpy as np
import pytest
from PIL import Image

from patchsim import match
from patchsim.pictures.reader import open_picture

FFMPEG = ("ffmpeg", "-loglevel", "error", "-i")
# Formats that each program writes from a PNG in colour, and in grey; and what is lost on the way.
EXACT, LOSSY = 0, 6
WRITTEN = {
    "convert": {
        "png": EXACT, "jpg": LOSSY, "webp": LOSSY, "gif": 20, "pcx": EXACT,
        "tif": EXACT, "bmp": EXACT, "ico": EXACT, "pbm": None, "pgm": None, "ppm": EXACT,
        "pam": EXACT, "pfm": 1, "sgi": EXACT, "jp2": LOSSY, "hdr": 20, "exr": None, "fits": None,
        "heic": LOSSY, "avif": LOSSY,
    },
    "gm": {
        "png": EXACT, "jpg": LOSSY, "gif": 20, "tga": EXACT, "pcx": EXACT, "tif": EXACT,
        "bmp": EXACT, "ppm": EXACT, "sgi": EXACT, "jp2": LOSSY, "webp": LOSSY,
    },
    "ffmpeg": {
        "png": EXACT, "bmp": EXACT, "tga": EXACT, "pcx": EXACT, "tiff": EXACT, "ppm": EXACT,
        "pam": EXACT, "sgi": EXACT, "qoi": EXACT, "jxl": LOSSY, "exr": None,
        "fits": None, "avif": 10, "jp2": LOSSY, "webp": 12, "gif": 34, "jpg": 20,
    },
    "cv2": {
        "png": EXACT, "jpg": LOSSY, "webp": LOSSY, "tiff": EXACT, "bmp": EXACT, "ppm": EXACT,
        "jp2": LOSSY, "hdr": None, "avif": 10,
    },
}  # fmt: skip
DICOM = {
    "dcm": [],
    "rle.dcm": ["dcmcrle"],
    "lossless.dcm": ["dcmcjpeg", "+e1"],
    "jpeg.dcm": ["dcmcjpeg", "+eb", "+s4"],
    "jpegls.dcm": ["dcmcjpls"],
    "big-endian.dcm": ["dcmconv", "+tb"],
    "implicit.dcm": ["dcmconv", "+ti"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, astronaut):
    made = tmp_path_factory.mktemp("others")
    Image.fromarray(astronaut[20:180, 140:340]).save(made / "given.png")
    return made


def run(program, *words, cwd):
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    done = subprocess.run(
        [program, *words], cwd=cwd, capture_output=True, text=True, check=False, timeout=120
    )
    if done.returncode or "no encode delegate" in done.stderr:
        pytest.skip(f"{program} does not write it here: {done.stderr.strip()[-200:]}")


def write(program, ending, folder):
    name = f"{program}.{ending}"
    if program == "convert":
        extra = ["-define", "webp:lossless=true"] if ending == "webp" else []
        run("convert", "given.png", *extra, "-quality", "100", name, cwd=folder)
    elif program == "gm":
        run("gm", "convert", "given.png", "-quality", "100", name, cwd=folder)
    elif program == "ffmpeg":
        more = ["-pix_fmt", "gray"] if ending == "fits" else []
        more = ["-still-picture", "1", "-crf", "1"] if ending == "avif" else more
        more = ["-q:v", "1"] if ending == "jpg" else more
        run(*FFMPEG, "given.png", *more, "-frames:v", "1", "-y", name, cwd=folder)
    else:
        pixels = cv2.imread(str(folder / "given.png"))
        pixels = pixels.astype(np.float32) / 255 if ending == "hdr" else pixels
        quality = [cv2.IMWRITE_JPEG_QUALITY, 100] if ending == "jpg" else []
        try:
            if not cv2.imwrite(str(folder / name), pixels, quality):
                pytest.skip("OpenCV does not write it here")
        except cv2.error as error:
            pytest.skip(f"OpenCV does not write it here: {error.err}")
    if not (folder / name).exists():
        pytest.skip(f"{program} wrote something else")
    return folder / name


@pytest.mark.parametrize(
    ("program", "ending", "lost"),
    [(program, ending, lost) for program, all_ in WRITTEN.items() for ending, lost in all_.items()],
)
def test_what_another_program_wrote_is_read(program, ending, lost, folder):
    path = write(program, ending, folder)
    picture = open_picture(path, name="a")
    with Image.open(folder / "given.png") as given:
        expected = np.asarray(given)
    if lost is not None:
        found = picture.pixels.astype(float)
        if picture.pixels.dtype != np.uint8:
            found *= 255 / (65535 if picture.pixels.dtype == np.uint16 else 1)
        assert np.abs(found - expected).mean() <= lost / 2
        assert found.shape == expected.shape
        if lost == EXACT:
            np.testing.assert_array_equal(picture.pixels, expected)
    kernel = expected[40:90, 60:120]
    best = match(path, Image.fromarray(kernel), top=1, metric="zncc").best
    assert (best.x, best.y) == (60, 40)
    assert best.score > (0.55 if ending == "pbm" else 0.9)


@pytest.mark.parametrize("name", DICOM)
def test_what_dcmtk_wrote_is_read(name, folder):
    run("convert", "given.png", "BMP3:given.bmp", cwd=folder)
    run("img2dcm", "-i", "BMP", "given.bmp", "plain.dcm", cwd=folder)
    command = DICOM[name]
    path = folder / f"dcmtk-{name}"
    if command:
        run(*command, "plain.dcm", path.name, cwd=folder)
    else:
        shutil.copy(folder / "plain.dcm", path)
    picture = open_picture(path, name="a")
    with Image.open(folder / "given.png") as given:
        expected = np.asarray(given)
    if "jpeg.dcm" in name:
        assert np.abs(picture.pixels.astype(int) - expected).mean() < 3
    else:
        np.testing.assert_array_equal(picture.pixels, expected)
