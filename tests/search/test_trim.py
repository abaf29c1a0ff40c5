"""Kernels with margins that do not count: windows whose margins hang over the border."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers import map_size
from oracle import best_matches, padded, score_map
from PIL import Image

from patchsim import InputError, Matcher, match
from patchsim.geometry.area import Margins
from patchsim.metrics import Kernel

# The counted part of the kernels: 5 rows and 4 columns, with these margins.
TOP, LEFT, BOTTOM, RIGHT = 3, 5, 2, 1
SIZE = (TOP + 5 + BOTTOM, LEFT + 4 + RIGHT)


def with_margins(part, weights=None, margins=(TOP, LEFT, BOTTOM, RIGHT)):
    """The part inside margins, and the mask that leaves these out."""
    around = ((margins[0], margins[2]), (margins[1], margins[3]))
    shades = np.full(part.shape[:2], 255, np.uint8) if weights is None else weights
    return np.pad(part, (*around, (0, 0)), constant_values=77), np.pad(shades, around)


def whole_places(length, part, before, after, step, padding):
    """The places of whole kernels a stride apart, from the definition: one by one."""
    whole = before + part + after
    start = 0 if padding == "valid" else 1 - whole
    if padding == "valid":
        fits = [x for x in range(-before, length) if 0 <= x + before <= length - part]
    else:
        fits = [x for x in range(-whole, length) if -part < x + before < length]
    return [x for x in fits if (x - start) % step == 0]


@pytest.mark.parametrize("engine", ["auto", "fft", "unfold"])
@pytest.mark.parametrize("metric", ["sad", "zncc"])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3), (4, 7)])
@pytest.mark.parametrize("padding", ["valid", "edge", "zero"])
@pytest.mark.parametrize("is_region", [False, True])
def test_the_map_has_all_windows_whose_counted_part_fits(
    engine, metric, stride, padding, is_region, rng
):
    if engine == "unfold" and metric == "zncc":
        return
    image = rng.integers(0, 256, (17, 19, 1), dtype=np.uint8)
    region = (2, 3, 15, 13) if is_region else None
    x0, y0, width, height = region or (0, 0, 19, 17)
    part = rng.integers(0, 256, (5, 4, 1), dtype=np.uint8)
    shades = rng.integers(0, 3, (5, 4)).astype(np.uint8) * 127
    shades[0, 0] = shades[-1, -1] = 127
    kernel, mask = with_margins(part, shades)
    if engine == "fft" and metric == "sad":
        return
    report = match(image, kernel, mask=mask, metric=metric, stride=stride, padding=padding,
                   region=region, map=True, engine=engine, top=6)  # fmt: skip
    inside = image[y0 : y0 + height, x0 : x0 + width].tolist()
    if padding != "valid":
        inside = padded(inside, 4, 3, padding)
    parts = score_map(metric, inside, part.tolist(), (1, 1), 255, (shades // 127).tolist())
    first = (0, 0) if padding == "valid" else (-4, -3)
    rows = whole_places(height, 5, TOP, BOTTOM, stride[0], padding)
    cols = whole_places(width, 4, LEFT, RIGHT, stride[1], padding)
    expected = [[parts[y + TOP - first[0]][x + LEFT - first[1]] for x in cols] for y in rows]
    assert report.kernels[0].origin == (cols[0] + x0, rows[0] + y0)
    np.testing.assert_allclose(report.map, expected, rtol=0, atol=1e-5)
    origin = rows[0] + y0, cols[0] + x0
    wanted = best_matches([expected], [SIZE], stride, 6, None, 0.3, [origin])
    assert [(m.x, m.y, m.width, m.height) for m in report] == [w[:4] for w in wanted]
    np.testing.assert_allclose([m.score for m in report], [w[4] for w in wanted], atol=1e-9)


@pytest.mark.parametrize("stride", [(1, 1), (3, 2)])
def test_cells_are_those_of_the_whole_kernel_and_more(stride, rng):
    image = rng.integers(0, 256, (31, 33, 3), dtype=np.uint8)
    kernel, mask = with_margins(image[4:9, 7:11])
    options = {"mask": mask, "map": True, "stride": stride}
    trimmed, whole = match(image, kernel, **options), match(image, kernel, trim=False, **options)
    assert whole.kernels[0].origin == (0, 0)
    (left, top), (rows, cols) = trimmed.kernels[0].origin, whole.map.shape
    assert left < 0
    assert top < 0
    assert (top % stride[0], left % stride[1]) == (0, 0)
    row, col = -top // stride[0], -left // stride[1]
    np.testing.assert_array_equal(trimmed.map[row : row + rows, col : col + cols], whole.map)
    assert trimmed.map.size > whole.map.size


@pytest.mark.parametrize("heatmap", [True, False])
@pytest.mark.parametrize("stride", [(1, 1), (2, 5)])
def test_kernels_with_different_margins_compete_by_their_whole_boxes(stride, heatmap, rng):
    image = rng.integers(0, 256, (30, 34, 3), dtype=np.uint8)
    made = [
        with_margins(image[y : y + 5, x : x + 4], margins=margins)
        for y, x, margins in [
            (0, 0, (3, 4, 1, 1)), (25, 30, (0, 0, 4, 5)), (10, 11, (3, 4, 1, 1)),
            (10, 11, (2, 1, 2, 4)), (4, 20, (0, 0, 0, 0)), (0, 29, (0, 1, 4, 4)),
        ]
    ]  # fmt: skip
    kernels = [Image.fromarray(np.dstack(one), "RGBA") for one in made]
    report = match(image, kernels, stride=stride, top=12, overlap=0.1, map=heatmap or None)
    maps, origins, sizes = [], [], []
    for kernel, mask in made:
        ys, xs = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
        part = kernel[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1].tolist()
        scores = score_map("sad", image.tolist(), part, (1, 1), 255)
        before, after = (ys[0], xs[0]), (len(mask) - 1 - ys[-1], mask.shape[1] - 1 - xs[-1])
        rows = whole_places(30, 5, before[0], after[0], stride[0], "valid")
        cols = whole_places(34, 4, before[1], after[1], stride[1], "valid")
        maps.append([[scores[y + before[0]][x + before[1]] for x in cols] for y in rows])
        origins.append((rows[0], cols[0]))
        sizes.append(mask.shape)
    wanted = best_matches(maps, sizes, stride, 12, None, 0.1, origins)
    found = [(m.x, m.y, m.width, m.height, int(m.kernel[7:]) - 1) for m in report]
    assert found == [(*w[:4], w[5]) for w in wanted]
    np.testing.assert_allclose([m.score for m in report], [w[4] for w in wanted], atol=1e-12)
    if stride == (1, 1):
        assert {(-4, -3), (30, 25), (28, 0)} <= {(m.x, m.y) for m in report if m.score == 1}


@pytest.mark.parametrize(
    "options",
    [
        {"angles": "0:360"},
        {"angles": "80:100"},
        {"angles": "90,0"},
        {"angles": "84:96:2", "exhaustive": True},
        {"scales": "0.8:1.2", "angles": "90"},
        {"flips": "h", "angles": "any"},
    ],
)
def test_a_posed_kernel_is_found_where_its_margin_hangs_over(options, astronaut):
    # The part is turned by a quarter in the corner of the picture.
    image = astronaut[:200, :220].copy()
    part = np.rot90(image[0:30, 0:40], -1)  # [40, 30]; turned counter-clockwise it is there again
    if "flips" in options:
        part = part[:, ::-1]
    kernel, mask = with_margins(part, margins=(9, 4, 3, 14))
    best = match(image, kernel, mask=mask, top=1, **options).best
    assert best.score == pytest.approx(1, abs=1e-6)
    # By hand: counter-clockwise, the kernel's right side is on top, its top side on the left.
    left, top, right, bottom = (9, 14, 3, 4) if "flips" not in options else (9, 4, 3, 14)
    assert (best.x, best.y) == (-left, -top)
    assert (best.width, best.height) == (40 + left + right, 30 + top + bottom)
    xs, ys = zip(*best.corners, strict=True)
    assert (min(xs), max(xs)) == pytest.approx((-left, 40 + right), abs=0.02)
    assert (min(ys), max(ys)) == pytest.approx((-top, 30 + bottom), abs=0.02)
    with_whole = match(image, kernel, mask=mask, top=1, trim=False, **options).best
    assert with_whole is None or with_whole.score < 0.99


@pytest.mark.parametrize("exhaustive", [False, True])
def test_a_turned_kernel_has_the_corners_of_the_whole_one(exhaustive, astronaut):
    image = astronaut[60:260, 60:260]
    kernel = np.array(
        Image.fromarray(image).rotate(-30, Image.Resampling.BICUBIC, center=(90, 110))
    )[80:140, 60:120]
    mask = np.zeros((60, 60), np.uint8)
    mask[10:40, 25:55] = 255
    options = {"mask": mask, "angles": "20:40:1", "exhaustive": exhaustive, "top": 1}
    trimmed, whole = (match(image, kernel, trim=trim, **options).best for trim in (True, False))
    np.testing.assert_allclose(trimmed.corners, whole.corners, atol=0.05)
    # The kernel's centre (90, 110) was the centre of the turn.
    np.testing.assert_allclose(np.mean(trimmed.corners, 0), (90, 110), atol=0.1)
    assert trimmed.angle == pytest.approx(30, abs=0.1)
    assert trimmed.score == pytest.approx(whole.score, abs=0.002)


def test_the_place_between_the_pixels_is_that_of_the_whole_kernel(astronaut):
    image = astronaut[:100, :120]
    kernel, mask = with_margins(image[20:50, 30:70], margins=(7, 0, 2, 11))
    best = match(image, kernel, mask=mask, subpixel=True, top=1).best
    assert (best.x, best.y) == (30, 13)
    assert (best.x_subpixel, best.y_subpixel) == pytest.approx((30, 13), abs=0.01)


def test_what_is_visible_is_of_the_counted_part(rng):
    image = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    alpha = np.full((30, 40), 255, np.uint8)
    alpha[:, :2] = 0
    picture = Image.fromarray(np.dstack([image, alpha]), "RGBA")
    kernel, mask = with_margins(image[:5, :4])
    best = match(picture, kernel, mask=mask, top=1).best
    assert (best.x, best.y, best.score) == (-LEFT, -TOP, 1.0)
    assert not match(picture, kernel, mask=mask, top=1, min_visible=0.6, threshold=1)


def test_a_kernel_larger_than_the_image_is_found_by_its_counted_part(rng):
    image = rng.integers(0, 256, (9, 8, 3), dtype=np.uint8)
    kernel, mask = with_margins(image[2:7, 1:5])
    best = match(image, kernel, mask=mask, top=1).best
    assert (best.x, best.y, best.width, best.height) == (1 - LEFT, 2 - TOP, SIZE[1], SIZE[0])
    with pytest.raises(InputError, match=r"^kernel is 10x10 pixels, larger than the image"):
        match(image, kernel, mask=mask, trim=False)
    with pytest.raises(InputError, match=r"^the part that counts of kernel is 4x5 pixels"):
        match(image[:4], kernel, mask=mask)
    # No window a stride of 7 from x = 0 has its part inside; the search then begins at the first.
    assert match(image[:, 1:5], kernel, mask=mask, stride=(1, 7), top=1).best.x == -LEFT


def test_a_kernel_is_trimmed_by_what_does_not_count():
    weights = np.zeros((6, 7), np.uint8)
    weights[1:4, 2:6] = 1
    pixels = np.arange(6 * 7 * 2, dtype=np.uint8).reshape(6, 7, 2)
    trimmed = Kernel(pixels, weights).trimmed()
    assert trimmed.margins == Margins(top=1, left=2, bottom=2, right=1)
    assert trimmed.weights is None
    assert (trimmed.size, trimmed.whole_size) == ((3, 4), (6, 7))
    np.testing.assert_array_equal(trimmed.pixels, pixels[1:4, 2:6])
    assert trimmed.trimmed() is trimmed
    channels = np.stack([weights, np.roll(weights, 1, 0)], 2)
    assert Kernel(pixels, channels).trimmed().margins == Margins(1, 2, 1, 1)
    weights[0, 0] = weights[-1, -1] = 3
    assert Kernel(pixels, weights).trimmed().margins == Margins()


def test_the_command_prints_the_whole_kernels_box(save, run, tmp_path, rng):
    image = rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)
    kernel, mask = with_margins(image[:8, :9], margins=(10, 11, 12, 13))
    save("big.png", image)
    save("icon.png", np.dstack([kernel, mask]))
    words = ("match", "big.png", "icon.png", "--top", "1")
    code, out, err = run(*words, "--map", "m.npy", "--overlay", "o.png", "--heatmap", "h.png")
    assert code == 0
    assert out.splitlines()[1].split("\t")[:5] == ["-11", "-10", "33", "30", "1.0"]
    assert "m.npy: float32, 33 rows x 42 columns from x=-11, y=-10" in err
    assert np.load(tmp_path / "m.npy").shape == (33, 42)
    assert map_size(tmp_path / "h.png") == (42, 33)
    with Image.open(tmp_path / "o.png") as drawn:
        assert drawn.size == (50, 40)
    _, out, _ = run(*words, "--no-heatmap", "--format", "json", "--flips", "h")
    document = json.loads(out)
    assert document["kernels"][0]["origin"] == [-11, -10]
    best = document["matches"][0]
    assert (best["x"], best["y"], best["center_x"], best["center_y"]) == (-11, -10, 5.5, 5.0)
    assert best["corners"] == [[-11, -10], [22, -10], [22, 20], [-11, 20]]
    _, out, _ = run(*words, "--no-heatmap", "--no-trim")
    assert int(out.splitlines()[1].split("\t")[0]) >= 0
    assert "trim=False" in repr(Matcher(kernel, mask=mask, trim=False))
