"""Pictures in reduced size: means of squares, whatever reads them, in the memory that there is."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from patchsim.errors import InputError
from patchsim.pictures import reduced
from patchsim.pictures.opening import Opening
from patchsim.pictures.reduced import open_reduced


def means(pixels, factor):
    """Means of squares by loops, in float64; values that are no numbers do not count."""
    height, width, channels = pixels.shape
    result = np.full((-(-height // factor), -(-width // factor), channels), np.nan)
    for row, col, channel in np.ndindex(result.shape):
        square = pixels[row * factor :, col * factor :, channel][:factor, :factor]
        numbers = square[np.isfinite(square)]
        if numbers.size:
            result[row, col, channel] = numbers.astype(np.float64).mean()
    return result


def opened(source, side, **way):
    return open_reduced(source, side, Opening(**way), name="image")


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
@pytest.mark.parametrize("shape", [(101, 203, 3), (203, 101, 1), (3, 400, 3), (256, 256, 1)])
def test_means_of_squares(dtype, shape, rng, monkeypatch):
    monkeypatch.setattr(reduced, "_BAND_BYTES", 5000)  # a square of rows comes in several bands
    pixels = (rng.random(shape) * 255).astype(dtype)
    found = opened(pixels, 50)
    factor = max(shape) // 50
    assert found.dtype == dtype
    assert 50 <= max(found.shape[:2]) < 100
    most = 0.5 if dtype.startswith("uint") else 1e-4
    np.testing.assert_allclose(found, means(pixels, factor), rtol=0, atol=most)


def test_a_small_picture_stays_as_it_is(rng):
    pixels = rng.random((30, 99, 3)).astype(np.float32)
    np.testing.assert_array_equal(opened(pixels, 50), pixels)


def test_what_is_no_number_does_not_count(rng):
    pixels = rng.random((90, 120, 1))
    pixels[rng.random(pixels.shape) < 0.2] = np.nan
    pixels[5, 5] = np.inf
    pixels[:8, :8] = np.nan
    found = opened(pixels, 30)
    np.testing.assert_allclose(found, means(pixels, 4), rtol=1e-6)
    assert np.isnan(found[0, 0]).all()


@pytest.mark.parametrize(("channels", "shown"), [(1, 1), (2, 1), (3, 3), (5, 3)])
def test_channels_that_can_be_shown(channels, shown, rng):
    pixels = rng.integers(0, 256, (60, 80, channels), np.uint8)
    np.testing.assert_allclose(opened(pixels, 40), means(pixels[..., :shown], 2), atol=0.5)


@pytest.mark.parametrize("ending", [".npy", ".tif", ".png"])
def test_by_windows_where_a_picture_does_not_fit(ending, rng, tmp_path):
    if ending == ".png":
        pytest.importorskip("pyvips", reason="libvips is not installed")
    pixels = rng.integers(0, 256, (500, 600, 3), np.uint8)
    path = tmp_path / f"large{ending}"
    if ending == ".npy":
        np.save(path, pixels)
    else:
        Image.fromarray(pixels).save(path)
    found = opened(path, 60, memory=300_000)
    np.testing.assert_allclose(found, means(pixels, 10), rtol=0, atol=0.5)
    np.testing.assert_array_equal(found, opened(path, 60))
    np.testing.assert_array_equal(found, opened(path, 60, max_pixels=1000))


def test_of_a_pyramid_the_smallest_level_that_is_large_enough(tmp_path):
    tifffile = pytest.importorskip("tifffile")
    path = tmp_path / "pyramid.tif"
    with tifffile.TiffWriter(path) as file:
        for level in range(4):
            side = 1024 >> level
            file.write(
                np.full((side, side), 40 * level + 7, np.uint8),
                tile=(64, 64),
                subifds=3 if level == 0 else None,
                subfiletype=1 if level else 0,
            )
    assert set(np.unique(opened(path, 200, memory=300_000))) == {87}
    assert set(np.unique(opened(path, 500, memory=300_000))) == {47}
    assert set(np.unique(opened(path, 900, memory=300_000))) == {7}
    assert set(np.unique(opened(path, 100, level=1))) == {47}
    assert set(np.unique(opened(path, 100))) == {7}


def photograph(rng, height, width):
    small = Image.fromarray(rng.integers(0, 256, (height // 20, width // 20, 3), np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_is_decoded_in_reduced_size(mode, rng, tmp_path):
    path = tmp_path / "large.jpg"
    photograph(rng, 1200, 1600).convert(mode).save(path, quality=95)
    found = opened(path, 200, memory=800_000)  # the whole takes 1600 x 1200 x 7 bytes
    with pytest.raises(InputError, match="to decode"):
        opened(path, 1200, memory=800_000)
    whole = np.asarray(Image.open(path).convert("RGB" if mode == "CMYK" else mode))
    whole = whole if whole.ndim == 3 else whole[..., None]
    assert found.shape == (150, 200, whole.shape[2])
    assert abs(found - means(whole, 8)).mean() < 1


def test_a_narrow_jpeg_is_decoded_in_reduced_size(rng, tmp_path):
    path = tmp_path / "narrow.jpg"
    photograph(rng, 40, 6400).save(path, quality=95)
    assert opened(path, 800, memory=2_000_000).shape == (5, 800, 3)


def test_a_jpeg_that_is_stored_turned(rng, tmp_path):
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x112] = 6
    photograph(rng, 600, 800).save(path, exif=exif)
    assert opened(path, 100).shape == (100, 75, 3)
    assert opened(path, 900).shape == (800, 600, 3)


def test_a_progressive_jpeg_takes_the_memory_of_its_coefficients(rng, tmp_path):
    path = tmp_path / "progressive.jpg"
    photograph(rng, 1200, 1600).save(path, progressive=True)
    assert opened(path, 200, memory=12_000_000).shape == (150, 200, 3)
    with pytest.raises(InputError, match=r"takes 11\.6 MB|progressive"):
        opened(path, 200, memory=11_000_000)


def test_a_frame(tmp_path):
    frames = [Image.fromarray(np.full((90, 120), 60 * number, np.uint8)) for number in range(3)]
    path = tmp_path / "frames.tif"
    frames[0].save(path, save_all=True, append_images=frames[1:])
    for number in range(3):
        assert set(np.unique(opened(path, 40, frame=number))) == {60 * number}
    with pytest.raises(InputError, match="no frame 3"):
        opened(path, 40, frame=3)


def test_a_format_that_is_only_decoded_whole(rng, tmp_path):
    path = tmp_path / "large.webp"
    photograph(rng, 600, 800).save(path)
    with pytest.raises(InputError, match=r"takes .* to decode"):
        opened(path, 100, memory=1_000_000)


def test_a_pipe_is_not_waited_for(tmp_path):
    if not hasattr(os, "mkfifo"):
        pytest.skip("this system has no named pipes")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(InputError, match=r"pipe\.png is a pipe, which is read once"):
        opened(tmp_path / "pipe.png", 100)


def test_of_an_ome_zarr_the_smallest_level_that_is_large_enough(tmp_path):
    zarr = pytest.importorskip("zarr")
    root = zarr.open_group(str(tmp_path / "p.zarr"), mode="w", zarr_format=2)
    for level, side in enumerate([512, 256, 128]):
        root.create_array(
            str(level), data=np.full((side, side), level + 1, np.uint8), chunks=(64, 64)
        )
    root.attrs["multiscales"] = [
        {
            "version": "0.4",
            "axes": [{"name": "y", "type": "space"}, {"name": "x", "type": "space"}],
            "datasets": [{"path": str(level)} for level in range(3)],
        }
    ]
    assert set(np.unique(opened(tmp_path / "p.zarr", 100, memory=200_000))) == {3}
    assert set(np.unique(opened(tmp_path / "p.zarr", 200, memory=200_000))) == {2}
    assert set(np.unique(opened(tmp_path / "p.zarr", 100))) == {1}
