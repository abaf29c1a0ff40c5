"""Where windows may lie: in every engine, metric, type and stride; sizes that do not fit."""

from __future__ import annotations

import json
import tracemalloc

import numpy as np
import oracle
import pytest
from helpers import load, map_size
from helpers.grids import thinned
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from patchsim import InputError, match
from patchsim.engines import loading as engines
from patchsim.ranking import score_memory

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


def scores(metric, image, kernel, stride, span, padding="valid"):
    image, kernel = image.tolist(), kernel.tolist()
    if padding != "valid":
        image = oracle.padded(image, len(kernel) - 1, len(kernel[0]) - 1, padding)
    if metric == "sad":
        return oracle.sad_map(image, kernel, stride, span)
    return oracle.score_map(metric, image, kernel, stride, span)


def agree(report, wanted, size):
    """Boxes in order, and their scores."""
    assert len(report.matches) == len(wanted)
    for found, expected in zip(report.matches, wanted, strict=True):
        assert found.score == pytest.approx(expected[4], rel=0, abs=1e-12)
        assert (found.x, found.y, found.width, found.height) == expected[:4]
    assert (report.width, report.height) == size


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
    sizes = [kernel.shape[:2] for kernel in kernels]
    wanted = oracle.best_matches(maps, sizes, stride, 8, None, 0.2, [(y, x)] * 2)
    agree(report, wanted, (19, 17))
    assert report.region == region
    for found, expected, kernel in zip(report.maps, maps, report.kernels, strict=keeps):
        np.testing.assert_allclose(found, expected, rtol=0, atol=kernel.tolerance + 1e-6)


@thinned(case=CASES, stride=[(1, 1), (3, 2)], padding=["edge", "reflect", "zero"])
def test_kernels_hang_over_the_border(case, stride, padding, rng):
    engine, metric, dtype = case
    image = pictures(rng, dtype)[:9, :8]
    kernels = [image[2:6, 0:3].copy(), image[:2, 3:8].copy()]
    for kernel in kernels:
        kernel[1:] = kernel[1:, ::-1]
    keeps = engine != "pruned"
    report = match(image, kernels, padding=padding, stride=stride, metric=metric, engine=engine,
                   top=8, overlap=0.2, map=keeps, tolerance=0.02)  # fmt: skip
    maps = [scores(metric, image, kernel, stride, SPANS[dtype], padding) for kernel in kernels]
    sizes = [kernel.shape[:2] for kernel in kernels]
    origins = [(-3, -2), (-1, -4)]
    wanted = oracle.best_matches(maps, sizes, stride, 8, None, 0.2, origins)
    agree(report, wanted, (8, 9))
    assert report.padding == padding
    assert [kernel.origin[::-1] for kernel in report.kernels] == origins
    for found, expected, kernel in zip(report.maps, maps, report.kernels, strict=keeps):
        np.testing.assert_allclose(found, expected, rtol=0, atol=kernel.tolerance + 1e-6)


@pytest.mark.parametrize("padding", ["edge", "reflect", "zero"])
@pytest.mark.parametrize("image_size", [(1, 1), (1, 6), (5, 1), (2, 3), (4, 9)])
def test_with_padding_a_kernel_may_be_larger_than_the_image(padding, image_size, rng):
    kernel = rng.integers(0, 256, (8, 7, 1), dtype=np.uint8)
    image = kernel[: image_size[0], -image_size[1] :].copy()
    report = match(image, kernel, padding=padding, map=True, top=3, overlap=0.5)
    expected = scores("sad", image, kernel, (1, 1), 255, padding)
    np.testing.assert_allclose(report.map, expected, rtol=0, atol=1e-6)
    origins = [(-7, -6)]
    wanted = oracle.best_matches([expected], [(8, 7)], (1, 1), 3, None, 0.5, origins)
    agree(report, wanted, image.shape[1::-1])


@pytest.mark.parametrize("padding", ["edge", "reflect", "zero"])
def test_the_padding_of_a_region_takes_nothing_from_around_it(padding, rng):
    image = rng.integers(0, 256, (20, 22, 3), dtype=np.uint8)
    kernel = image[4:9, 3:10].copy()
    x, y, width, height = region = (5, 6, 9, 8)
    inside = image[y : y + height, x : x + width]
    report = match(image, kernel, region=region, padding=padding, map=True, top=4)
    expected = scores("sad", inside, kernel, (1, 1), 255, padding)
    np.testing.assert_allclose(report.map, expected, rtol=0, atol=1e-6)
    assert report.kernels[0].origin == (5 - 6, 6 - 4)
    wanted = oracle.best_matches([expected], [(5, 7)], (1, 1), 4, None, 0.3, [(6 - 4, 5 - 6)])
    agree(report, wanted, (22, 20))


@settings(deadline=None, max_examples=40)
@given(st.data())
def test_what_lies_across_the_border_is_found_there(data):
    random = np.random.default_rng(data.draw(st.integers(0, 99)))
    padding = data.draw(st.sampled_from(["edge", "reflect", "zero"]))
    height, width = data.draw(st.integers(2, 30)), data.draw(st.integers(2, 30))
    tall, wide = data.draw(st.integers(2, 40)), data.draw(st.integers(2, 40))
    y, x = data.draw(st.integers(1 - tall, height - 1)), data.draw(st.integers(1 - wide, width - 1))
    image = random.integers(0, 256, (height, width, 3), dtype=np.uint8)
    around = np.array(oracle.padded(image.tolist(), tall, wide, padding), np.uint8)
    kernel = around[y + tall : y + 2 * tall, x + wide : x + 2 * wide]
    found = match(image, kernel, padding=padding, threshold=1, overlap=1).matches
    assert (x, y) in [(box.x, box.y) for box in found]


def test_suppression_runs_across_kernels_that_hang_over_the_border(rng):
    image = rng.integers(0, 256, (30, 30, 1), dtype=np.uint8)
    around = np.array(oracle.padded(image.tolist(), 9, 9, "edge"), np.uint8)
    kernels = [around[4:14, 5:17], around[5:13, 6:16], around[20:24, 33:39]]
    found = match(image, kernels, padding="edge", threshold=1)
    assert [(box.x, box.y, box.kernel) for box in found.matches] == [
        (-4, -5, "kernel-1"), (24, 11, "kernel-3"),
    ]  # fmt: skip
    assert len(match(image, kernels, padding="edge", threshold=1, overlap=0.9).matches) == 3


def test_the_padded_copy_counts_as_memory(rng):
    image = rng.integers(0, 256, (300, 200, 3), dtype=np.uint8)
    kernels = [image[:50, :10], image[:20, :90]]
    held = {}
    for padding in ("valid", "zero"):
        report = match(image, kernels, padding=padding)
        plan = report.plans[0]
        problems = [chosen.problem for chosen in report.plans]
        scores = score_memory.budget_of(problems, plan.memory, kept=False)
        has_map = engines.load(plan.engine).HAS_MAP
        held[padding] = plan.resident - (
            scores.resident if has_map else scores.resident_without_map
        )
    assert held["zero"] - held["valid"] == (300 + 2 * 49) * (200 + 2 * 89) * 3
    kernel = np.zeros((4000, 3000, 3), np.uint8)
    tracemalloc.start()
    try:
        with pytest.raises(InputError, match="does not suffice for one window"):
            match(image, kernel, padding="edge", memory="60MB")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 10e6


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"padding": "wrap"}, "padding 'wrap' is unknown; there is valid, edge, reflect, zero"),
        ({"padding": None}, "padding None is unknown"),
        ({"padding": "zero", "data_range": (10, 300)}, "outside the data range 10:300"),
    ],
)
def test_a_padding_that_cannot_be_is_refused(options, says):
    image = np.full((10, 20), 11, np.uint8)
    image[3, 4] = 100
    with pytest.raises(InputError, match=says):
        match(image, image[2:5, 3:7], **options)


def test_a_printed_box_is_found_again(astronaut):
    kernel = astronaut[100:131, 200:241]
    # In its own box a match has no rival.
    found = match(astronaut, kernel, top=4, stride=(2, 3), margin=False)
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
        ((20, 0, 5, 5), r"region 20,0,5,5 spans x 20 to 24 and y 0 to 4, .* with 20x10 pixels"),
        ((-5, 0, 5, 5), r"spans x -5 to -1 .* with 20x10 pixels;\ngive one inside 0,0,20,10"),
        ((100, 100, 5, 5), "spans x 100 to 104 and y 100 to 104"),
        ((15, 8, 3, 3), r"^kernel is 3x3 pixels, larger than the region 15,8,3,2 of the image"),
        ((0, 0, 0, 5), "region 0,0,0,5 is empty: 0x5 pixels"),
        ((0, 0, 5, -2), "empty: 5x-2 pixels"),
        ((2, 3, 4, 2), r"^kernel is 3x3 pixels, larger than the region 2,3,4,2 of the image"),
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


@pytest.mark.parametrize("padding", ["valid", "edge"])
@pytest.mark.parametrize(
    ("region", "inside"),
    [((-4, 3, 12, 6), (0, 3, 8, 6)), ((9, -9, 99, 99), (9, 0, 11, 10)), ((3, 3, 9, 7), None)],
)
def test_a_region_over_the_border_is_cut_with_a_notice(region, inside, padding, rng):
    image = rng.integers(0, 256, (10, 20), dtype=np.uint8)
    options = {"padding": padding, "map": True, "top": 3}
    report = match(image, image[4:7, 5:8], region=region, **options)
    same = match(image, image[4:7, 5:8], region=inside or region, **options)
    assert (report.matches, report.region) == (same.matches, inside or region)
    np.testing.assert_array_equal(report.map, same.map)
    told = [text for text in report.notices if "hangs over the border" in text]
    assert bool(told) == (inside is not None)
    if inside:
        parts = [",".join(map(str, box)) for box in (region, inside)]
        assert told == [
            f"region {parts[0]} hangs over the border of the image; {parts[1]} of it is searched"
        ]


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
    assert map_size("big.heatmap.png") == (160, 70)
    drawn = np.asarray(load("o.png"))
    assert drawn.shape == astronaut.shape
    np.testing.assert_array_equal(drawn[150:], astronaut[150:])
    assert (drawn[98] != astronaut[98]).any()


def test_the_command_finds_what_is_cut_off_by_the_border(run, save, astronaut):
    save("big.png", astronaut[:200, 30:])
    save("patch.png", astronaut[20:60, 10:60])
    code, out, err = run("match", "big.png", "patch.png", "--padding", "edge", "--map", "m.npy",
                         "--top", "1", "--overlay", "o.png")  # fmt: skip
    assert code == 0
    assert out.splitlines()[1].startswith("-20\t20\t50\t40\t0.9")
    assert "map m.npy: float32, 239 rows x 531 columns from x=-49, y=-39" in err
    assert np.load("m.npy").shape == (200 + 39, 482 + 49)
    drawn = np.asarray(load("o.png"))
    assert drawn.shape == (200, 482, 3)
    yellow = np.argwhere((drawn == (255, 255, 0)).all(axis=2))
    assert yellow.min(axis=0).tolist()[1] < 10  # the box is closed at the border
    assert yellow.max(axis=0)[1] < 40


@pytest.mark.parametrize("text", ["1,2,3", "1,2,3,x", "", "1;2;3;4", "1,2,3,4,5"])
def test_a_region_of_the_command_is_four_numbers(text, run, save):
    save("a.png", Image.new("L", (9, 9)))
    code, out, err = run("match", "a.png", "a.png", "--region", text)
    assert (code, out) == (2, "")
    assert f"region {text!r} is no region; give X,Y,W,H" in err
