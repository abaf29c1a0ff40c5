"""PNG and JPEG that are decoded into a temporary file have the pixels of the whole picture."""

from __future__ import annotations

import _thread
import gc
import tempfile
import threading
import time
from collections import namedtuple
from types import SimpleNamespace
from unittest import mock

import imagecodecs
import numpy as np
import pytest
from helpers.signals import at_each_step
from PIL import Image

import patchsim
from patchsim import InputError, MachineError
from patchsim.pictures import large, spool, windowed
from patchsim.pictures.reader import open_picture

pytest.importorskip("pyvips", reason="pyvips is not installed")
LARGE = {"max_pixels": 1, "memory": "40MB"}  # too large to be read whole


@pytest.fixture
def pixels(rng):
    small = Image.fromarray(rng.integers(0, 256, (23, 31, 3), dtype=np.uint8))
    return np.asarray(small.resize((310, 230), Image.Resampling.BICUBIC))


def opened(path, ignore_alpha=False):
    return large.open_by_windows(path, memory=1_000_000, alpha=True, ignore_alpha=ignore_alpha)


def agree(path, **options):
    picture, whole = opened(path, **options), open_picture(path, name="image")
    assert windowed.of(picture.pixels) is not None
    assert picture.pixels.shape == whole.pixels.shape
    assert picture.pixels.dtype == whole.pixels.dtype
    assert picture.profile == whole.profile
    height, width, _ = whole.pixels.shape
    if whole.alpha is None or options.get("ignore_alpha"):
        assert picture.alpha is None
    else:
        assert (picture.alpha[0:height, 0:width] == whole.alpha).all()
    for part in (np.s_[0:height, 0:width], np.s_[7:99, 5:41], np.s_[20:60, 20 : width - 9]):
        assert (picture.pixels[part] == whole.pixels[part]).all()
        assert picture.pixels[part].flags.c_contiguous


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_windows_are_those_of_the_whole(pixels, save, name, mode):
    agree(save(name, Image.fromarray(pixels).convert(mode)))


@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_jpegs(pixels, save, subsampling):
    agree(save("a.jpg", pixels, quality=70, subsampling=subsampling))


def test_sixteen_bits_and_profiles(pixels, save):
    from PIL import ImageCms

    agree(save("a.png", pixels[..., 0].astype(np.uint16) * 251))
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    agree(save("a.png", pixels, icc_profile=profile))
    agree(save("a.jpg", pixels, icc_profile=profile))


def test_alpha(pixels, save):
    alpha = np.full((230, 310, 1), 255, np.uint8)
    agree(save("a.png", np.dstack([pixels, alpha])))
    alpha[3, 5] = 7
    path = save("a.png", np.dstack([pixels, alpha]))
    agree(path)
    agree(path, ignore_alpha=True)
    path.write_bytes(imagecodecs.png_encode(np.dstack([pixels, alpha]).astype(np.uint16) * 251))
    agree(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_searches_agree(pixels, save, name):
    path = save(name, pixels)
    image = np.asarray(Image.open(path))
    kernel = image[100:131, 200:237]
    for options in ({"metric": "zncc", "margin": True}, {"padding": "reflect", "top": 9}):
        reports = [patchsim.match(source, kernel, **LARGE, **options) for source in (image, path)]
        found = [[(m.x, m.y, m.score, m.margin) for m in report] for report in reports]
        assert found[0] == found[1]
        assert "from a temporary file" in str(reports[1].plans[0])


@pytest.mark.parametrize("name", ["a.png", "a.jpg"])
def test_a_file_that_is_cut_short_is_an_error(pixels, save, name):
    path = save(name, pixels)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.raises(InputError, match="damaged or cut short"):
        patchsim.match(path, pixels[:9, :9], **LARGE)


def test_what_is_only_decoded_whole_is_refused(pixels, save):
    for path, says in (
        (save("a.jpg", pixels, progressive=True), "interlaced or progressive"),
        (save("b.png", Image.fromarray(pixels).quantize(16)), "other colours than grey or RGB"),
        (save("c.jpg", Image.fromarray(pixels).convert("CMYK")), "other colours than grey or RGB"),
    ):
        with pytest.raises(InputError, match=f"too large to be read whole, and .*{says}"):
            opened(path)
    exif = Image.Exif()
    exif[274] = 6
    with pytest.raises(InputError, match="orientation 6"):
        opened(save("d.jpg", pixels, exif=exif))


def test_a_disk_without_room_is_told_before(pixels, save):
    path = save("a.png", pixels)
    usage = namedtuple("usage", "free")(100_000)
    with (
        mock.patch.object(spool.shutil, "disk_usage", return_value=usage),
        pytest.raises(InputError, match=r"rows take 213.9 kB, but .* has 100.0 kB;\nset TMPDIR"),
    ):
        patchsim.match(path, pixels[:9, :9], **LARGE)
    full = OSError(28, "No space left on device")
    with (
        mock.patch.object(spool.SpooledSource, "write", side_effect=full),
        pytest.raises(MachineError, match=f"cannot be written to {tempfile.gettempdir()}: No sp"),
    ):
        patchsim.match(path, pixels[:9, :9], **LARGE)


def test_an_interrupt_ends_the_decoding(save, rng):
    path = save("a.png", rng.integers(0, 256, (2000, 310, 3), dtype=np.uint8))
    pieces = []

    def write(_, content):
        if not pieces:
            _thread.interrupt_main()
        pieces.append(len(content))
        (decoding,) = (one for one in threading.enumerate() if one.name == "patchsim_decoding")
        while not decoding._is_left:
            time.sleep(0.01)
        time.sleep(0.5)  # during which nobody must go on
        pieces.append("ended")

    with (
        mock.patch.object(spool.SpooledSource, "write", write),
        pytest.raises(KeyboardInterrupt),
    ):
        opened(path)
    assert pieces[1:] == ["ended"]
    assert pieces[0] < 2000 * 310 * 3


def test_a_fault_while_pixels_are_taken_is_told_as_it_is(pixels, save):
    with (
        mock.patch.object(spool.SpooledSource, "write", side_effect=MemoryError("no more")),
        pytest.raises(InputError, match="does not fit into memory when decoded"),
    ):
        opened(save("a.png", pixels))


def test_the_temporary_file_goes_with_its_picture(pixels, save):
    path, files, made = save("a.png", pixels), [], tempfile.TemporaryFile

    def file(**options):
        files.append(made(**options))
        return files[0]

    gc.collect()
    gc.disable()  # which would free cycles
    try:
        with mock.patch.object(tempfile, "TemporaryFile", file):
            picture = opened(path)
        assert [one.closed for one in files] == [False]
        del picture
        assert files[0].closed
    finally:
        gc.enable()


def test_without_libvips_a_line_names_the_package(pixels, save):
    path = save("a.png", pixels)
    with (
        mock.patch.dict("sys.modules", {"pyvips": None}),
        pytest.raises(InputError, match=r"more than 1;\n.* or pip install 'pyvips\[binary\]'"),
    ):
        patchsim.match(path, pixels[:9, :9], **LARGE)
    with (
        mock.patch("pyvips.at_least_libvips", lambda *asked: asked <= (8, 15)),
        pytest.raises(InputError, match=r"or pip install 'pyvips\[binary\]'"),
    ):
        patchsim.match(path, pixels[:9, :9], **LARGE)


def test_rows_in_memory_are_counted(pixels, save):
    path = save("a.png", pixels)
    needed = pixels.size
    with mock.patch("patchsim.machine.storage.is_memory", return_value=True):
        picture = large.open_by_windows(path, memory=2 * needed, alpha=True, ignore_alpha=False)
        assert picture.pixels.nbytes == needed
        with pytest.raises(InputError, match=r"takes? .*lies in memory, of which .*\nset TMPDIR"):
            large.open_by_windows(path, memory=2 * needed - 2, alpha=True, ignore_alpha=False)
        report = patchsim.match(path, pixels[20:45, 30:61].copy(), max_pixels=1, memory="40MB")
    assert "temporary file of its decoded rows, which lies in memory" in str(report.plans[0])
    assert opened(path).pixels.nbytes == 0


def test_a_signal_ends_the_decoding_wherever_it_comes():
    """The rows come from a stand-in for libvips."""

    class Picture:
        def rawsave_target(self, target):
            for _ in range(5):
                time.sleep(0.002)
                if target.write(b"row") < 0:
                    break

    def decode():
        vips = SimpleNamespace(TargetCustom=Target)
        spool._Decoding(vips, Picture(), SimpleNamespace(write=len)).finish()

    class Target:
        def on_write(self, write):
            self.write = write

    assert at_each_step(decode) > 20


def test_a_signal_that_comes_while_the_decoding_begins_ends_it():
    """The rows come from a stand-in for libvips, which would go on for minutes."""
    threads = []

    class Picture:
        def rawsave_target(self, target):
            while target.write(b"row") >= 0:
                time.sleep(0.001)

    class Target:
        def on_write(self, write):
            self.write = write

    def interrupted(thread):
        threads.append(thread)
        thread.start()
        raise KeyboardInterrupt

    vips = SimpleNamespace(TargetCustom=Target)
    decoding = spool._Decoding(vips, Picture(), SimpleNamespace(write=len))
    with mock.patch.object(spool, "start", interrupted), pytest.raises(KeyboardInterrupt):
        decoding.finish()
    threads[0].join(20)
    assert not threads[0].is_alive()
