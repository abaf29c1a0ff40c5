"""Where windows may lie: in every engine, metric, type and stride; sizes that do not fit."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import oracle
import pytest
from helpers import load
from PIL import Image

from patchsim import InputError, match

SPANS = {"uint8": 255, "uint16": 65535, "float32": 1, "float64": 1}
CASES = [
    *(("unfold", "sad", d) for d in SPANS),
    *(("simd", "sad", d) for d in ("uint8", "uint16", "float32")),
    *(("fft", m, d) for m in ("ssd", "ncc", "zncc") for d in SPANS),
    ("fft", "sad", "uint8"),
    *(("pruned", m, "uint8") for m in ("sad", "ssd")),
]


def pictures(rng, dtype, channels=3, height=17, width=19):
    """Few values, so that scores of integers tie; those of floats must not, but for rounding."""
    if dtype.startswith("float"):
        return rng.random((height, width, channels)).astype(dtype)
    return rng.integers(0, 6, (height, width, channels)).astype(dtype) * (SPANS[dtype] // 5)


def scores(metric, image, kernel, stride, span):
    if metric == "sad":
        return oracle.sad_map(image.tolist(), kernel.tolist(), stride, span)
    return oracle.score_map(metric, image.tolist(), kernel.tolist(), stride, span)


def agree(report, wanted, size):
    """Boxes in order, and their scores."""
    assert len(report.matches) == len(wanted)
    for found, expected in zip(report.matches, wanted, strict=True):
        assert found.score == pytest.approx(expected[4], rel=0, abs=1e-12)
        assert (found.x, found.y, found.width, found.height) == expected[:4]
    assert (report.width, report.height) == size


def moved(matches, x, y):
    return [(found[0] + x, found[1] + y, *found[2:]) for found in matches]


@pytest.mark.parametrize(("engine", "metric", "dtype"), CASES)
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
def test_a_region_is_searched_like_a_picture_of_its_own(engine, metric, dtype, stride, rng):
    image = pictures(rng, dtype)
    kernels = [image[5:9, 6:9].copy(), image[3:5, 9:14].copy()]
    for kernel in kernels:
        kernel[1:] = kernel[1:, ::-1]
    x, y, width, height = region = (4, 2, 13, 11)
    keeps = engine != "pruned"
    report = match(image, kernels, region=region, stride=stride, metric=metric, engine=engine,
                   top=8, overlap=0.2, map=keeps, tolerance=0.02)  # fmt: skip
    part = image[y : y + height, x : x + width]
    maps = [scores(metric, part, kernel, stride, SPANS[dtype]) for kernel in kernels]
    wanted = oracle.best_matches(maps, [k.shape[:2] for k in kernels], stride, 8, None, 0.2)
    agree(report, moved(wanted, x, y), (19, 17))
    assert report.region == region
    for found, expected, kernel in zip(report.maps, maps, report.kernels, strict=keeps):
        np.testing.assert_allclose(found, expected, rtol=0, atol=kernel.tolerance + 1e-6)


def test_a_printed_box_is_found_again(astronaut):
    kernel = astronaut[100:131, 200:241]
    found = match(astronaut, kernel, top=4, stride=(2, 3))
    for box in found.matches:
        region = box.x, box.y, box.width, box.height
        assert match(astronaut, kernel, region=region).matches == (box,)


def test_the_whole_image_is_a_region(astronaut):
    kernel = astronaut[100:131, 200:241]
    assert (
        match(astronaut, kernel, region=[0, 0, 512, 512]).matches
        == match(astronaut, kernel).matches
    )


def test_pixels_outside_the_region_are_not_looked_at(rng):
    image = rng.random((30, 30)).astype(np.float32)
    kernel = image[12:17, 13:19].copy()
    image[:10], image[20:] = np.nan, 7
    best = match(image, kernel, region=(np.int64(5), 10, 20, 10)).best
    assert (best.x, best.y, best.score) == (13, 12, 1.0)


@pytest.mark.parametrize("engine", ["auto", "unfold"])
def test_a_region_takes_memory_of_its_own_size(engine, rng):
    image = rng.integers(0, 256, (3000, 3000, 3), dtype=np.uint8)
    kernel = image[1010:1030, 1020:1050].copy()
    match(image[:60, :60], kernel, engine=engine)  # imports
    tracemalloc.start()
    try:
        best = match(image, kernel, region=(1000, 1000, 80, 70), memory="4MB", engine=engine).best
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (best.x, best.y, best.score) == (1020, 1010, 1.0)
    assert peak < 4e6 < image.nbytes


@pytest.mark.parametrize(
    ("region", "says"),
    [
        ((0, 0, 21, 5), r"region 0,0,21,5 spans x 0 to 20 and y 0 to 4, .* with 20x10 pixels"),
        ((15, 8, 3, 3), r"spans x 15 to 17 and y 8 to 10, .* with 20x10 pixels"),
        ((-1, 0, 5, 5), r"spans x -1 to 3 .* with 20x10 pixels;\ngive one inside 0,0,20,10"),
        ((100, 100, 5, 5), "spans x 100 to 104 and y 100 to 104"),
        ((0, 0, 0, 5), "region 0,0,0,5 is empty: 0x5 pixels"),
        ((0, 0, 5, -2), "empty: 5x-2 pixels"),
        ((2, 3, 4, 2), "kernel kernel is 3x3 pixels, larger than the region 2,3,4,2 of the image"),
        ((0, 0, 5), "not four whole numbers"),
        ((0, 0, 5, 5.0), "not four whole numbers"),
        ((True, False, 5, 5), "not four whole numbers"),
        ("0,0,5,5", "not four whole numbers"),
    ],
)
def test_a_region_that_does_not_fit_is_refused(region, says):
    image = np.arange(200, dtype=np.uint8).reshape(10, 20)
    with pytest.raises(InputError, match=says):
        match(image, image[:3, :3], region=region)


def test_the_command_searches_a_region(run, save, astronaut):
    save("big.png", astronaut)
    save("face.png", astronaut[100:131, 200:241])
    code, out, _ = run("match", "big.png", "face.png", "--region", "150,90,200,100", "--format",
                       "json", "--map", "m.npy", "--top", "1", "--overlay", "o.png")  # fmt: skip
    found = json.loads(out)
    assert (code, found["region"]) == (0, [150, 90, 200, 100])
    assert (found["width"], found["height"]) == (512, 512)
    assert [(m["x"], m["y"], m["score"]) for m in found["matches"]] == [(200, 100, 1.0)]
    scores = np.load("m.npy")
    assert scores.shape == (70, 160)
    assert scores[100 - 90, 200 - 150] == 1
    assert load("big.heatmap.png").size == (160, 70)
    drawn = np.asarray(load("o.png"))
    assert drawn.shape == astronaut.shape
    np.testing.assert_array_equal(drawn[150:], astronaut[150:])
    assert (drawn[98] != astronaut[98]).any()


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,x", "", "1;2;3;4", "1,2,3,4,5"])
def test_a_region_of_the_command_is_four_numbers(text, run, save):
    save("a.png", Image.new("L", (9, 9)))
    code, out, err = run("match", "a.png", "a.png", "--region", text)
    assert (code, out) == (2, "")
    assert f"region {text!r} is no region; give X,Y,W,H" in err
