"""Colour spaces: against scikit-image, Pillow, plain loops and closed forms."""

from __future__ import annotations

import colorsys
import json
import math

import numpy as np
import oracle
import pytest
import skimage.color
from helpers import load
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from patchsim import InputError, choices, match
from patchsim.scene import color

SPAN = {"uint8": 255, "uint16": 65535, "float32": 1, "float64": 1}


def converted(pixels, name, data_range=None):
    low, high = data_range or (0, SPAN[pixels.dtype.name])
    channels = color.common_channels([pixels.shape[2]], ["image"], name)
    return color.convert(pixels, channels, name, low=low, span=high - low)


def as_type(unit, dtype):
    """Values from 0 to 1 as pixels."""
    span = SPAN[np.dtype(dtype).name]
    return (np.rint(unit * span) if span > 1 else unit).astype(dtype)


def cone(red, green, blue):
    """The HSV cone in units of R, by Python's own colorsys."""
    hue, saturation, value = colorsys.rgb_to_hsv(red, green, blue)
    chroma, angle = saturation * value, 2 * math.pi * hue
    signed = (chroma * math.cos(angle), chroma * math.sin(angle))
    return value, *((128 + 127 * part) / 255 for part in signed)


def cielab(red, green, blue):
    """L*a*b* in units of R, from the formulas of IEC 61966-2-1 and CIE 15."""
    light = [
        c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (red, green, blue)
    ]
    matrix = [[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]
    white = [0.9505, 1.0, 1.0890]
    roots = []
    for row, full in zip(matrix, white, strict=True):
        t = sum(a * b for a, b in zip(row, light, strict=True)) / full
        roots.append(t ** (1 / 3) if t > (6 / 29) ** 3 else t / (3 * (6 / 29) ** 2) + 4 / 29)
    x, y, z = roots
    return (116 * y - 16) / 255, (500 * (x - y) + 128) / 255, (200 * (y - z) + 128) / 255


FORMULAS = {"hsv": cone, "lab": cielab}


def corners_greys_and_noise(rng):
    """Values from 0 to 1 [40, 41, 3]: what is special, and a bit of everything."""
    unit = rng.random((40, 41, 3))
    unit[:20] = np.round(unit[:20] * 3) / 3  # equal channels, corners of the cube
    unit[20:25] = unit[20:25, :, :1]
    unit[25:30] *= 0.01
    return unit


def test_gray_of_bytes_is_pillows(rng):
    pixels = rng.integers(0, 256, (700, 701, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(pixels).convert("L"))
    np.testing.assert_array_equal(converted(pixels, "gray")[..., 0], expected)


@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_gray_of_integers_is_the_nearest(dtype, rng):
    pixels = rng.integers(0, SPAN[dtype] + 1, (90, 91, 3)).astype(dtype)
    pixels[0] = SPAN[dtype]
    found = converted(pixels, "gray")
    assert (found.dtype, found.shape) == (dtype, (90, 91, 1))
    # Twice the distance from 65536 times the luma, in integers.
    luma = pixels.astype(np.int64) @ [19595, 38470, 7471]
    assert np.abs(2 * (found[..., 0].astype(np.int64) * 65536 - luma)).max() <= 65536
    grey = np.repeat(np.arange(SPAN[dtype] + 1, dtype=dtype)[None, :, None], 3, axis=2)
    np.testing.assert_array_equal(converted(grey, "gray"), grey[..., :1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gray_of_floats_is_the_luma_of_bt_601(dtype, rng):
    pixels = rng.random((50, 51, 3)).astype(dtype)
    found = converted(pixels, "gray")
    assert found.dtype == dtype
    # scikit-image has it in three decimals, these are 16 bits.
    expected = skimage.color.rgb2yuv(pixels)[..., 0]
    np.testing.assert_allclose(found[..., 0], expected, rtol=0, atol=1e-5)
    grey = np.repeat(pixels[..., :1], 3, axis=2)
    np.testing.assert_array_equal(converted(grey, "gray"), pixels[..., :1])


@pytest.mark.parametrize("name", ["hsv", "lab"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64"])
def test_spaces_agree_with_their_formulas(name, dtype, rng):
    pixels = as_type(corners_greys_and_noise(rng), dtype)
    found = converted(pixels, name)
    assert (found.dtype, found.shape) == (dtype, pixels.shape)
    unit = pixels.astype(float) / SPAN[dtype]
    expected = [[FORMULAS[name](*pixel) for pixel in line] for line in unit.tolist()]
    rounding = 0.5 / SPAN[dtype] if SPAN[dtype] > 1 else 0
    single = 1e-14 if dtype == "float64" else 1e-6
    np.testing.assert_allclose(found / SPAN[dtype], expected, rtol=0, atol=rounding + single)


def test_hsv_agrees_with_scikit_image(astronaut):
    pixels = (astronaut / 255).astype(np.float64)
    hue, saturation, value = np.moveaxis(skimage.color.rgb2hsv(pixels), 2, 0)
    vector = value * saturation * np.exp(2j * np.pi * hue)
    expected = np.stack(
        [value, (128 + 127 * vector.real) / 255, (128 + 127 * vector.imag) / 255], 2
    )
    np.testing.assert_allclose(converted(pixels, "hsv"), expected, rtol=0, atol=1e-13)


def test_lab_agrees_with_scikit_image(astronaut):
    pixels = astronaut / 255
    found = converted(pixels, "lab") * 255 - [0, 128, 128]
    # Its matrix has other last digits.
    difference = np.abs(found - skimage.color.rgb2lab(pixels))
    assert difference.max() < 0.05
    distance = skimage.color.deltaE_cie76(found[:256], found[256:])
    expected = skimage.color.deltaE_cie76(*skimage.color.rgb2lab(pixels).reshape(2, 256, 512, 3))
    np.testing.assert_allclose(distance, expected, rtol=0, atol=0.05)


@pytest.mark.parametrize("name", ["hsv", "lab"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16"])
def test_greys_have_no_color_and_stay_apart_from_each_other(name, dtype):
    grey = np.arange(SPAN[dtype] + 1, dtype=dtype)[None, :, None]
    found = converted(grey, name)
    zero = 128 * SPAN[dtype] // 255
    np.testing.assert_array_equal(found[..., 1:], np.full((1, SPAN[dtype] + 1, 2), zero))
    if name == "hsv":
        np.testing.assert_array_equal(found[..., 0], grey[..., 0])
    np.testing.assert_array_equal(found, converted(np.repeat(grey, 3, axis=2), name))


def test_all_of_srgb_lies_inside():
    steps = np.linspace(0, 1, 52)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(52, -1, 3)
    for name in ("hsv", "lab"):
        found = converted(cube, name)
        assert found.min() >= 0
        assert found.max() <= 1
    units = found.reshape(-1, 3) * 255 - [0, 128, 128]
    np.testing.assert_allclose(units.min(axis=0), [0, -86.2, -107.9], atol=0.1)
    np.testing.assert_allclose(units.max(axis=0), [100, 98.2, 94.5], atol=0.1)


def test_hue_is_a_circle():
    def at(degrees, value=1.0, saturation=1.0):
        pixel = colorsys.hsv_to_rgb(degrees / 360 % 1, saturation, value)
        return converted(np.array([[pixel]]), "hsv")[0, 0] * 255

    step = 2 * 127 * math.sin(math.radians(1))  # the chord of two degrees
    for middle in (0, 60, 137, 180, 240, 300):
        assert math.dist(at(middle - 1), at(middle + 1)) == pytest.approx(step, abs=1e-9)
    assert math.dist(at(0), at(180)) == pytest.approx(254)
    assert math.dist(at(0, value=0.01), at(180, value=0.01)) == pytest.approx(2.54)
    assert math.dist(at(0, saturation=0.01), at(180, saturation=0.01)) == pytest.approx(2.54)


@given(
    st.sampled_from(["gray", "hsv", "lab"]),
    st.sampled_from(["uint8", "uint16", "float32", "float64"]),
    st.integers(0, 7),
    st.integers(0, 7),
    st.integers(0, 2**32 - 1),
)
def test_a_pixel_is_converted_alike_wherever_it_lies(name, dtype, top, left, seed):
    unit = np.random.default_rng(seed).random((11, 13, 3))
    pixels = as_type(unit, dtype)
    part = pixels[top:, left:]
    expected = converted(pixels, name)
    np.testing.assert_array_equal(converted(part, name), expected[top:, left:])
    turned = converted(np.rot90(pixels)[:, ::-1], name)
    np.testing.assert_array_equal(turned, np.rot90(expected)[:, ::-1])


@pytest.mark.parametrize("shape", [(1, 40000), (40000, 1), (130, 257)])
@pytest.mark.parametrize("name", ["gray", "hsv", "lab"])
def test_pictures_larger_than_a_block(name, shape, rng):
    pixels = rng.integers(0, 256, (*shape, 3), dtype=np.uint8)
    lines = pixels.reshape(-1, 1, 3)
    whole = converted(pixels, name)
    parts = [converted(lines[top : top + 999], name) for top in range(0, len(lines), 999)]
    np.testing.assert_array_equal(whole.reshape(-1, 1, whole.shape[2]), np.concatenate(parts))


@pytest.mark.parametrize("name", ["hsv", "lab"])
def test_the_data_range_comes_first(name, rng):
    unit = rng.integers(0, 4096, (20, 21, 3))
    expected = converted(unit / 4095, name)
    twelve = converted(unit.astype(np.uint16), name, (0, 4095))
    np.testing.assert_allclose(twelve / 65535, expected, rtol=0, atol=0.5 / 65535 + 1e-6)
    shifted = converted(unit - 1000.0, name, (-1000, 3095))
    np.testing.assert_allclose(shifted, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", choices.COLORS)
def test_the_callers_pixels_stay_as_they_are(name, rng):
    pixels = rng.integers(0, 256, (9, 10, 3), dtype=np.uint8)
    pixels.flags.writeable = False
    before = pixels.copy()
    assert match(pixels, pixels[2:5, 3:7], color=name).best.score == 1.0
    np.testing.assert_array_equal(pixels, before)


@pytest.mark.parametrize("metric", ["sad", "ssd", "ncc", "zncc"])
@pytest.mark.parametrize("name", ["gray", "rgb", "hsv", "lab"])
@pytest.mark.parametrize("dtype", ["uint8", "float64"])
def test_maps_agree_with_the_oracle(metric, name, dtype, rng):
    image = as_type(rng.random((14, 17, 3)), dtype)
    kernel = image[3:8, 5:9, :1].copy()  # a grey one
    found = match(image, kernel, color=name, metric=metric, stride=(1, 2), map=True)
    span = SPAN[dtype]
    if name == "rgb":
        pictures = [image, kernel.repeat(3, axis=2)]
    elif name == "gray":
        luma = image @ (np.array([19595, 38470, 7471]) / 65536)
        pictures = [(np.floor(luma + 0.5) if span > 1 else luma)[..., None], kernel]
    else:
        unit = [picture.repeat(3 // picture.shape[2], axis=2) / span for picture in (image, kernel)]
        planes = [[[FORMULAS[name](*p) for p in line] for line in u.tolist()] for u in unit]
        pictures = [np.array(plane) * span for plane in planes]
        pictures = [np.rint(picture) if span > 1 else picture for picture in pictures]
    pictures = [p.astype(int if span > 1 else float).tolist() for p in pictures]
    if metric == "sad":
        expected = oracle.sad_map(*pictures, (1, 2), span)
    else:
        expected = oracle.score_map(metric, *pictures, (1, 2), span)
    np.testing.assert_allclose(found.map, expected, rtol=0, atol=2e-6)
    assert found.color == name
    assert found.plans[0].problem.kernel == (5, 4, 1 if name == "gray" else 3)


@pytest.mark.parametrize("name", ["hsv", "lab"])
def test_rounding_moves_a_score_by_a_level_at_the_most(name, astronaut):
    image, kernel = astronaut[:120, 150:290], astronaut[330:350, 300:325]
    rough = match(image, kernel, color=name, map=True).map
    precise = match(image / 255, kernel / 255, color=name, map=True).map
    sixteen = match(image.astype(np.uint16) * 257, kernel, color=name, map=True).map
    assert np.abs(rough - precise).max() <= 1 / 255
    assert np.abs(sixteen - precise).max() <= 1 / 65535 + 1e-6
    # A float32 map could not tell them apart if nothing had been rounded.
    assert np.abs(rough - precise).max() > 1e-5


@pytest.mark.parametrize("name", choices.COLORS)
@pytest.mark.parametrize("options", [{"map": True}, {}, {"engine": "unfold"}, {"memory": "2MB"}])
def test_a_patch_of_a_photograph_scores_1(name, options, astronaut):
    found = match(astronaut[:200, :301], astronaut[51:90, 201:242], color=name, **options)
    assert (found.best.x, found.best.y, found.best.score) == (201, 51, 1.0)


def test_hue_finds_what_brightness_hides():
    image = np.full((40, 60, 3), 120, np.uint8)
    image[10:20, 10:20] = colour = (160, 80, 40)
    image[10:20, 35:45] = round(np.dot(colour, [0.299, 0.587, 0.114]))
    kernel = image[8:22, 8:22]
    assert len(match(image, kernel, color="gray", threshold=0.999).matches) == 2
    assert len(match(image, kernel, color="hsv", threshold=0.999).matches) == 1
    assert len(match(image, kernel, color="lab", threshold=0.999).matches) == 1


def test_delta_e_can_be_read_from_ssd():
    pixels = np.array([[[0.2, 0.5, 0.7], [0.25, 0.45, 0.7]]])
    one, two = skimage.color.rgb2lab(pixels)[0]
    score = match(pixels[:, :1], pixels[:, 1:], color="lab", metric="ssd").best.score
    assert 255 * math.sqrt(3 * (1 - score)) == pytest.approx(math.dist(one, two), abs=0.01)


@pytest.mark.parametrize("name", ["gray", "rgb", "hsv", "lab"])
@pytest.mark.parametrize("channels", [2, 4, 5])
def test_other_channels_are_refused(name, channels):
    pixels = np.zeros((9, 9, channels), np.uint8)
    with pytest.raises(InputError, match=f"image has {channels} channels, which have no {name};"):
        match(pixels, pixels[:3, :3], color=name, alpha=False)
    with pytest.raises(InputError, match=f"^kernel has {channels} channels"):
        match(pixels[..., :1], pixels[:3, :3], color=name, alpha=False)
    assert match(pixels, pixels[:3, :3], color="auto", alpha=False).best.score == 1.0


def test_an_unknown_color_is_named():
    pixels = np.zeros((9, 9), np.uint8)
    with pytest.raises(InputError, match="color 'cmyk' is unknown; there is auto, gray, rgb, hsv"):
        match(pixels, pixels[:3, :3], color="cmyk")


def test_memory_of_the_conversion_is_counted():
    pixels = np.zeros((300, 400, 3), np.uint8)
    with pytest.raises(InputError, match=r"takes 1\.3 MB to convert to lab, but only 40\.0 kB"):
        match(pixels, pixels[:9, :9], color="lab", memory=pixels.nbytes + 243 + 40_000)
    grey = pixels[..., 0]
    assert match(grey, pixels[:9, :9], color="gray", memory="1.5MB").best.score == 1.0


def test_an_overlay_shows_the_own_colors(astronaut, save, run):
    save("big.png", astronaut[:100, :120])
    save("small.png", astronaut[20:40, 30:60])
    words = ("match", "big.png", "small.png", "--top", "1", "--no-heatmap", "--overlay", "o.png")
    drawn = []
    for name in choices.COLORS:
        code, out, err = run(*words, "--color", name, "--format", "json")
        assert (code, json.loads(out)["color"]) == (0, name)
        assert json.loads(out)["matches"][0]["score"] == 1.0
        assert "overlay o.png: 1 box" in err
        drawn.append(np.asarray(load("o.png")))
    np.testing.assert_array_equal(drawn[0][60:, 70:], astronaut[60:100, 70:120])
    for picture in drawn[1:]:
        np.testing.assert_array_equal(picture, drawn[0])


def test_the_picture_for_the_overlay_is_counted(rng, tmp_path):
    pixels = rng.integers(0, 256, (100, 120, 3), dtype=np.uint8)
    held = [
        match(pixels, pixels[:9, :9], color="lab", overlay=overlay).plans[0].resident
        for overlay in (None, tmp_path / "o.png")
    ]
    assert held[1] - held[0] == 100 * 120 * (3 + 7 + 6)


def test_bad_colors_on_the_command_line(astronaut, save, run):
    save("big.png", astronaut[:50, :50])
    code, out, err = run("match", "big.png", "big.png", "--color", "hls")
    assert (code, out) == (2, "")
    assert "color 'hls' is unknown; there is auto, gray, rgb, hsv, lab" in err


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("metric", ["sad", "zncc"])
# `edges` refuses it, because gradients change at the border.
@pytest.mark.parametrize("name", [name for name in choices.COLORS if name != "edges"])
def test_padding_with_0_is_black_in_every_colour_space(name, metric, dtype):
    image = np.zeros((20, 20, 3))
    image[:3, :3] = 0.8, 0.1, 0.15
    scale = 1 if dtype == np.float32 else np.iinfo(dtype).max
    image = (image * scale).astype(dtype)
    kernel = np.zeros((5, 5, 3), dtype)
    kernel[2:, 2:] = image[0, 0]
    options = {"color": name, "metric": metric, "top": 1}
    found = match(image, kernel, padding="zero", **options).best
    padded = match(np.pad(image, ((4, 4), (4, 4), (0, 0))), kernel, **options).best
    assert (found.x, found.y, found.score) == (padded.x - 4, padded.y - 4, padded.score)
    assert (found.x, found.y) == (-2, -2)
    assert found.score == pytest.approx(1)
