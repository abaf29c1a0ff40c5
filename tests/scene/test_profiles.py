"""Colour profiles: pictures whose profiles differ are compared in sRGB."""

from __future__ import annotations

import io
import pickle
import sys
import zlib

import numpy as np
import pytest
import tifffile
from helpers import icc
from helpers.chunks import chunk
from PIL import Image

from patchsim import InputError, Matcher, match
from patchsim.pictures.reader import Picture, open_picture
from patchsim.scene import profiles

NOTICE = (
    "the colour profiles differ: {} converted to sRGB;"
    " --ignore-profile (ignore_profile=True) compares values as they are"
)


def picture(pixels, profile, name="a.png", shift=0):
    pixels = np.asarray(pixels)
    pixels = pixels[..., None] if pixels.ndim == 2 else pixels
    return Picture(name, pixels, profile=profile, shift=shift)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("space", ["P3", "Adobe"])
def test_colours_become_those_of_the_formula(space, dtype, rng):
    white = {"uint8": 255, "uint16": 65535}.get(dtype, 1)
    values = rng.random((70, 9, 3))
    values = np.rint(values * white).astype(dtype) if white > 1 else values.astype(dtype)
    content = icc.P3 if space == "P3" else icc.ADOBE
    found = profiles.in_srgb(picture(values, content))
    assert found.pixels.dtype == dtype
    assert found.profile == b""
    light = values.astype(float) / white
    if space == "P3":
        expected = icc.to_srgb(icc.linear(light), icc.P3_PRIMARIES)
    else:
        expected = icc.to_srgb(light**2.19921875, icc.ADOBE_PRIMARIES)
    # LittleCMS' fixed-point numbers are coarse in the dark, where sRGB is steep.
    limit = 1.6 / 255 if dtype == "uint8" else 0.0015
    assert np.abs(found.pixels / white - expected).max() < limit
    assert np.abs(values / white - expected).max() > 0.1


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_greys_become_those_of_the_formula(dtype):
    white = np.iinfo(dtype).max
    values = np.linspace(0, white, 256).astype(dtype).reshape(16, 16)
    found = profiles.in_srgb(picture(values, icc.GREY_18))
    expected = icc.encoded((values / white) ** 1.8)
    assert found.pixels.shape == (16, 16, 1)
    assert np.abs(found.pixels[..., 0] / white - expected).max() < 1.6 / 255
    # A grey picture may have a profile of RGB: its greys stay greys.
    as_rgb = profiles.in_srgb(picture(values, icc.ADOBE))
    expected = icc.encoded((values / white) ** 2.19921875)
    assert np.abs(as_rgb.pixels[..., 0] / white - expected).max() < 1.6 / 255


@pytest.mark.parametrize("tagged", ["image", "kernel"])
def test_pictures_of_different_profiles_are_compared_in_srgb(tagged, save, run, astronaut):
    image, kernel = astronaut[:90, :120], astronaut[30:60, 40:80]
    # The values that Display P3 has for these colours, as far as they are whole numbers.
    wide = icc.encoded(
        icc.linear(astronaut[:90, :120] / 255.0)
        @ np.linalg.inv(icc.primaries_to_xyz(icc.P3_PRIMARIES)).dot(
            icc.primaries_to_xyz(icc.SRGB_PRIMARIES)
        ).T
    )  # fmt: skip
    wide = np.rint(wide * 255).astype(np.uint8)
    if tagged == "image":
        save("image.png", wide, icc_profile=icc.P3)
        save("kernel.png", kernel)
    else:
        save("image.png", image)
        save("kernel.png", wide[30:60, 40:80].copy(), icc_profile=icc.P3)
    words = ("match", "image.png", "kernel.png", "--top", "1", "--no-heatmap")
    code, out, err = run(*words)
    assert code == 0
    x, y, _, _, score, *_ = out.splitlines()[1].split("\t")
    assert (x, y) == ("40", "30")
    assert float(score) > 0.999
    assert err == f"patchsim: {NOTICE.format(f'{tagged}.png (Display P3) is')}\n"
    _, ignored, err = run(*words, "--ignore-profile")
    assert err == ""
    assert float(ignored.splitlines()[1].split("\t")[4]) < 0.997
    _, ranged, err = run(*words, "--data-range", "0:255")
    assert ranged == ignored
    assert err == (
        f"patchsim: the colour profiles differ: {tagged}.png (Display P3) is not sRGB; with"
        " --data-range values are compared as they are\n"
    )


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (icc.P3, icc.P3),
        (icc.P3, icc.rgb("another name", icc.P3_PRIMARIES, icc.SRGB_CURVE)),
        (icc.SRGB, None),
        (None, icc.SRGB),
        (icc.GREY_18, icc.GREY_18),
    ],
)
def test_pictures_of_one_profile_are_left_as_they_are(first, second, save, astronaut):
    image = astronaut[:90, :120]
    image = image[..., 0].copy() if first == icc.GREY_18 else image
    big = save("image.png", image, icc_profile=first)
    small = save("kernel.png", image[30:60, 40:80].copy(), icc_profile=second)
    report = match(big, small)
    assert report.notices == ()
    assert report.best.score == 1


def test_arrays_agree_with_any_profile(save, astronaut, tmp_path):
    image = astronaut[:90, :120]
    big = save("image.png", image, icc_profile=icc.P3)
    np.save(tmp_path / "kernel.npy", image[30:60, 40:80])
    for kernel in (image[30:60, 40:80], tmp_path / "kernel.npy"):
        report = match(big, kernel)
        assert (report.notices, report.best.score) == ((), 1)
    with Image.open(big) as opened:
        report = match(opened, save("kernel.png", image[30:60, 40:80].copy()))
    assert report.notices == (NOTICE.format(f"{big} (Display P3) is"),)


def test_kernels_of_different_profiles_all_become_srgb(save, astronaut):
    image = astronaut[:90, :120]
    kernels = [
        save(f"{name}.png", image[30:60, 40:80].copy(), icc_profile=content)
        for name, content in [("p", icc.P3), ("q", icc.P3), ("r", icc.ADOBE), ("s", icc.P3)]
    ]
    report = match(save("image.png", image, icc_profile=icc.P3), kernels)
    named = [f"{path} (Display P3)" for path in (image_path(kernels), *kernels[:2])]
    assert report.notices == (NOTICE.format(f"{', '.join(named)} and 2 more are"),)
    assert report.best.score == 1
    assert report.best.kernel == str(kernels[0])


def image_path(kernels):
    return kernels[0].with_name("image.png")


def test_a_matcher_compares_each_image_by_its_profile(save, astronaut):
    image = astronaut[:90, :120]
    matcher = Matcher(save("kernel.png", image[30:60, 40:80].copy(), icc_profile=icc.P3))
    same = save("same.png", image, icc_profile=icc.P3)
    other = save("other.png", image)
    for one in (matcher, pickle.loads(pickle.dumps(matcher))):
        first = one.match(same)
        assert (first.best.score, first.notices) == (1, ())
        assert one.match(other).best.score < 1
        assert one.match(other).notices
        again = one.match(same)
        assert (again.best.score, again.notices) == (1, ())


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"not a profile", "a damaged colour profile, which is ignored"),
        (icc.P3[:200], "a damaged colour profile, which is ignored"),
        (icc.P3[:131] + b"\xff" + icc.P3[132:], "a damaged colour profile, which is ignored"),
        (
            icc.cmyk("Coated"),
            "a colour profile for CMYK, which is not applied to the values as read",
        ),
        (icc.GREY_18, "a colour profile for GRAY, which is not applied to the values as read"),
        (icc.P3.replace(b"gTRC", b"xTRC"), "a colour profile that cannot be applied"),
    ],
)
def test_a_profile_that_cannot_be_used_is_a_notice(content, says, save, astronaut):
    image = astronaut[:90, :120]
    big = save("image.png", image, icc_profile=content)
    report = match(big, save("kernel.png", image[30:60, 40:80].copy()))
    assert report.best.score == 1
    (notice,) = report.notices
    assert notice.startswith(f"{big} has {says}")
    assert match(big, big).notices == ()


def test_a_profile_that_unpacks_to_no_end_is_cut(tmp_path, astronaut, save):
    plain = save("plain.png", astronaut[:40, :40]).read_bytes()
    bomb = chunk(b"iCCP", b"x\0\0" + zlib.compress(b"\0" * (1 << 26), 9))
    broken = chunk(b"iCCP", b"x\0\0" + zlib.compress(icc.P3)[:10] + b"\xff" * 40)
    for name, extra in (("bomb.png", bomb), ("broken.png", broken)):
        (tmp_path / name).write_bytes(plain[:33] + extra + plain[33:])
        opened = open_picture(tmp_path / name, name=name)
        assert len(opened.profile) <= 1 << 24
        (notice,) = match(tmp_path / name, save("k.png", astronaut[5:20, 5:20])).notices
        assert notice.endswith("has a damaged colour profile, which is ignored")


def test_values_that_cannot_be_converted_are_told(monkeypatch):
    deep = picture(np.full((4, 4, 3), 7, np.uint16), icc.P3)
    plain = picture(np.full((4, 4, 3), 7, np.uint8), b"", "b.png")
    assert profiles.has_several_spaces([deep, plain])
    (notice,) = profiles.notices([deep, plain], is_converted=True)
    assert notice == NOTICE.format("a.png (Display P3) is")
    monkeypatch.setitem(sys.modules, "imagecodecs", None)
    (notice,) = profiles.notices([deep, plain], is_converted=True)
    assert notice == (
        "a.png has the colour profile Display P3, which is not applied to uint16: the package for"
        " it is not installed; pip install imagecodecs"
    )
    assert profiles.in_srgb(deep) is deep
    signed = picture(np.full((4, 4, 3), 7, np.uint16), icc.P3, shift=32768)
    (notice,) = profiles.notices([signed, plain], is_converted=True)
    assert notice.endswith("which is not applied to signed values")
    assert profiles.in_srgb(signed) is signed


def test_floats_beyond_one_are_refused_as_without_a_profile(tmp_path, rng):
    values = (rng.random((30, 30, 3)) * 3).astype(np.float32)
    tifffile.imwrite(
        tmp_path / "f.tif", values, photometric="rgb", extratags=[(34675, 7, None, icc.P3, True)]
    )
    kernel = Image.fromarray(rng.integers(0, 256, (5, 5, 3), dtype=np.uint8))
    with pytest.raises(InputError, match=r"data-range|data_range"):
        match(tmp_path / "f.tif", kernel)


def _written(name, path, pixels):
    kind = path.suffix[1:]
    if name.startswith("tifffile"):
        tifffile.imwrite(
            path, pixels, photometric="rgb", extratags=[(34675, 7, None, icc.P3, True)],
            planarconfig="contig",
        )  # fmt: skip
    elif name == "png16":
        import imagecodecs

        data = imagecodecs.png_encode(pixels.astype(np.uint16) * 257)
        extra = chunk(b"iCCP", b"x\0\0" + zlib.compress(icc.P3))
        path.write_bytes(data[:33] + extra + data[33:])
    else:
        Image.fromarray(pixels).save(path, kind, icc_profile=icc.P3)


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("pillow", "png"), ("pillow", "jpeg"), ("pillow", "webp"), ("pillow", "tiff"),
        ("pillow", "avif"), ("tifffile", "tif"), ("tifffile16", "tif"), ("png16", "png"),
    ],
)  # fmt: skip
def test_the_profile_of_each_format_is_read(name, ending, tmp_path, astronaut):
    pixels = astronaut[:40, :48]
    path = tmp_path / f"p.{ending}"
    _written(name, path, pixels.astype(np.uint16) * 257 if name == "tifffile16" else pixels)
    assert open_picture(path, name="p").profile == icc.P3
    plain = io.BytesIO()
    Image.fromarray(pixels).save(plain, "PNG")
    (tmp_path / "plain.png").write_bytes(plain.getvalue())
    assert profiles.has_several_spaces([open_picture(path, name="p"),
                            open_picture(tmp_path / "plain.png", name="q")])  # fmt: skip


def test_no_profile_means_that_its_reader_is_not_imported(save, astronaut):
    # A process of its own would take seconds: the cache tells whether one was read.
    profiles._read.cache_clear()
    profiles._colors.cache_clear()
    big = save("image.png", astronaut[:60, :60])
    tagged = save("tagged.png", astronaut[:60, :60], icc_profile=icc.P3)
    match(big, save("kernel.png", astronaut[5:20, 5:20]))
    match(tagged, tagged)
    assert profiles._read.cache_info().misses == profiles._colors.cache_info().misses == 0
