"""Where matches end: the chance of a cut where there is none, planted patches, coins."""

from __future__ import annotations

import io
import json
import math
import re

import numpy as np
import pytest
import skimage.data
from PIL import Image
from scipy import stats

from patchsim import Match, match
from patchsim.matches import auto_threshold
from patchsim.metrics.written import told
from patchsim.search.exhaustive import Exhaustive

# Middle of each coin of skimage.data.coins, x and y.
COINS = [
    (45, 54), (101, 56), (156, 52), (216, 52), (277, 53), (335, 44), (46, 125), (103, 126),
    (154, 128), (207, 125), (271, 120), (337, 126), (44, 198), (102, 196), (155, 196), (213, 194),
    (274, 194), (348, 187), (47, 261), (115, 267), (173, 262), (245, 264), (301, 264), (358, 268),
]  # fmt: skip


def scores_of(differences):
    return np.sort(1 - np.asarray(differences))[::-1].tolist()


def share_of_cuts(draw, count, seed):
    random = np.random.default_rng(seed)
    found = [auto_threshold.find_gap(scores_of(draw(random)), [-1.0] * 96) for _ in range(count)]
    return sum(each is not None for each in found) / count


@pytest.mark.parametrize("power", [1.0, 4.0, 20.0])
def test_places_of_no_kernel_are_cut_as_often_as_the_level_says(power):
    """Differences that grow like a power: the law of the gaps holds exactly."""
    share = share_of_cuts(lambda random: 0.9 * random.random(96) ** (1 / power), 3000, 5)
    # The sum of the levels of all gaps; neighbours have what is behind them in common.
    low, high = (
        stats.binom.ppf([1e-6, 1 - 1e-6], 3000, [0.5 * auto_threshold.LEVEL, auto_threshold.LEVEL])
        / 3000
    )
    assert low <= share <= high


@pytest.mark.parametrize("parent", ["exponential", "gumbel", "normal", "lognormal"])
def test_the_best_of_many_of_other_distributions_are_cut_hardly_more_often(parent):
    """The 96 least differences of 4000, of parents whose tails are not powers."""

    def draw(random):
        drawn = {
            "exponential": lambda: np.exp(-random.exponential(0.05, 4000)),
            "gumbel": lambda: 0.5 - random.gumbel(0, 0.02, 4000),
            "normal": lambda: 0.5 + random.normal(0, 0.05, 4000),
            "lognormal": lambda: 0.3 * random.lognormal(0, 0.2, 4000),
        }[parent]()
        return np.sort(drawn)[:96]

    assert (
        share_of_cuts(draw, 2000, 6) <= stats.binom.ppf(1 - 1e-6, 2000, auto_threshold.LEVEL) / 2000
    )


def test_the_chance_of_a_gap_is_that_of_the_f_distribution():
    behind = np.array([0.03, 0.01, 0.05, 0.02, 0.04, 0.01, 0.02, 0.06])
    # The first gap that is significant, on both sides: level 1/2 of LEVEL, 8 gaps behind.
    limit = stats.f.isf(auto_threshold.LEVEL / 2, 2, 2 * len(behind)) * behind.mean()
    for factor, stands_out in ((1.001, True), (0.999, False)):
        gaps = np.array([limit * factor, *behind]) / np.arange(1, 10)
        alike = 2 + np.append(np.cumsum(gaps[::-1])[::-1], 0.0)
        found = auto_threshold.find_gap((1 - np.exp(-alike)).tolist(), [-1.0] * 10)
        assert (found is not None) == stands_out
    assert found is None


def ladder(*above, count=40):
    """Scores of places that stand out, and of others that do not."""
    return [*above, *(1 - 0.3 * (1 + np.arange(count)) ** 0.2).tolist()]


def test_what_is_told():
    found = auto_threshold.find_gap(ladder(0.99, 0.98, 0.97), [0.0] * 43)
    assert (found.count, found.above, found.below) == (3, 0.97, 0.7)
    assert found.threshold == 0.83
    behind = [(3 + k) * 0.2 * math.log((k + 1) / k) for k in range(1, 25)]
    assert found.times == pytest.approx(3 * math.log(0.3 / 0.03) / (sum(behind) / 24))
    assert auto_threshold.describe(found, ladder(0.99, 0.98, 0.97)) == (
        "threshold auto: 0.83, between match 3 at 0.97 and the next place at 0.7 (26 times the"
        " usual gap)"
    )
    assert auto_threshold.describe(auto_threshold.find_gap(ladder(), [0.0] * 40), ladder()) == (
        "threshold auto: no place stands out; the best scores 0.7"
    )


def test_few_places_tell_few_matches_apart_and_the_message_says_how_many():
    three = ladder(0.99, 0.98, 0.97, count=7)
    assert auto_threshold.find_gap(three, [0.0] * 10) is None
    assert auto_threshold.describe(None, three) == (
        "threshold auto: no place stands out; the best scores 0.99;\n"
        "of 10 places it tells at most 1 apart, because a gap is compared with 8 behind it;"
        " for more give a number, like --threshold 0.9 (threshold=0.9)"
    )
    one = ladder(0.9999, count=9)
    assert auto_threshold.find_gap(one, [0.0] * 10).count == 1


@pytest.mark.parametrize(("plain", "count"), [(0.9, 3), (0.957, 3), (0.96, 0)])
def test_a_match_is_more_like_the_kernel_than_its_mean(plain, count):
    """0.97 is 0.3 of the way from 0.957 to 1."""
    found = auto_threshold.find_gap(ladder(0.99, 0.98, 0.97), [plain] * 43)
    assert (found.count if found else 0) == count


def test_equal_scores_count_once_and_one_pixel_is_no_gap():
    assert auto_threshold.find_gap(ladder(*[1.0] * 50), [0.0] * 90).count == 50
    # Six copies, one of them with a pixel of another colour.
    assert auto_threshold.find_gap(ladder(*[1.0] * 5, 0.99995), [0.0] * 46).count == 6
    repeated = np.repeat(ladder(0.99), 4).tolist()
    assert auto_threshold.find_gap(repeated, [0.0] * len(repeated)).count == 4


@pytest.mark.parametrize("scores", [[], [1.0], [1.0, *np.linspace(0.5, 0.6, 8)[::-1]], [0.5] * 99])
def test_too_few_scores_to_tell(scores):
    assert auto_threshold.find_gap(list(scores), [0.0] * len(scores)) is None
    count = len(set(scores))
    told = auto_threshold.describe(None, list(scores))
    assert f"it needs 10, and this search has {count};\ngive a number" in told


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [(0.86, 1.0, 0.93), (0.7, 0.97, 0.83), (0.123451, 0.123459, 0.123455), (-0.4, -0.1, -0.25),
     (0.5, math.nextafter(0.5, 1), math.nextafter(0.5, 1))],
)  # fmt: skip
def test_a_short_number_between(low, high, wanted):
    assert auto_threshold.shortest_between(low, high) == pytest.approx(
        wanted, abs=0.006 * (high - low)
    )
    assert low < auto_threshold.shortest_between(low, high) <= high


def jpeg(pixels, quality):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    file.seek(0)
    with Image.open(file) as picture:
        return np.asarray(picture)


@pytest.mark.parametrize("metric", ["sad", "ssd", "ncc", "zncc"])
@pytest.mark.parametrize("places", [[(300, 40)], [(300, 40), (20, 333), (410, 410), (150, 222)]])
@pytest.mark.parametrize("wear", ["noise", "jpeg"])
def test_a_patch_planted_in_another_photograph(metric, places, wear, rng):
    kernel = skimage.data.camera()[80:128, 200:248]  # the head
    image = skimage.data.astronaut()[..., 1].copy()
    alone = match(image, kernel, metric=metric, threshold="auto")
    assert (alone.matches, alone.threshold) == ((), None)
    assert "no place stands out; the best scores 0." in alone.notices[-1]
    for x, y in places:
        image[y : y + 48, x : x + 48] = kernel
    noisy = np.clip(np.rint(image + rng.normal(0, 5, image.shape)), 0, 255).astype(np.uint8)
    image = noisy if wear == "noise" else jpeg(image, 75)
    report = match(image, kernel, metric=metric, threshold="auto")
    assert {(found.x, found.y) for found in report.matches} == set(places)
    # The number that it tells gives the same; margins are of other places with `top`.
    again = match(image, kernel, metric=metric, threshold=report.threshold, margin=True)
    assert again.matches == report.matches
    top = match(image, kernel, metric=metric, threshold="auto", top=1)
    assert top.threshold == report.threshold
    (best,) = top.matches
    assert (best.x, best.y, best.score) == (report[0].x, report[0].y, report[0].score)


@pytest.mark.parametrize("engine", ["pruned", "simd", "unfold"])
def test_the_cut_does_not_depend_on_the_engine(engine, astronaut):
    kernel = astronaut[200:240, 150:200]
    image = jpeg(astronaut, 80)
    wanted = match(image, kernel, threshold="auto", map=True, tolerance=0.02)
    assert [(found.x, found.y) for found in wanted.matches] == [(150, 200)]
    # Without a map so many places take longer.
    assert match(image, kernel, threshold="auto").plans[0].engine != "pruned"
    report = match(image, kernel, threshold="auto", engine=engine)
    assert (report.matches, report.threshold) == (wanted.matches, wanted.threshold)


def test_masks_floats_and_strides(astronaut, rng):
    image = (astronaut / 255 + rng.normal(0, 0.01, astronaut.shape)).clip(0, 1).astype(np.float32)
    kernel = np.array(astronaut[100:132, 200:240])
    kernel[:8] = 0
    mask = np.full((32, 40), 255, np.uint8)
    mask[:8] = 0
    report = match(image, kernel, mask=mask, threshold="auto", stride=(2, 4))
    assert [(found.x, found.y) for found in report.matches] == [(200, 100)]


def test_kernels_apart_have_cuts_of_their_own(astronaut):
    image = jpeg(astronaut, 80)
    kernels = [astronaut[200:240, 150:200], skimage.data.chelsea()[100:140, 200:240]]
    together = match(image, kernels, threshold="auto")
    assert [found.kernel for found in together.matches] == ["kernel-1"]
    assert [kernel.threshold for kernel in together.kernels] == [together.threshold] * 2
    apart = match(image, kernels, threshold="auto", per_kernel=True)
    one = match(image, kernels[0], threshold="auto")
    assert [kernel.threshold for kernel in apart.kernels] == [one.threshold, None]
    assert apart.threshold is None
    assert [notice.split(":")[0] for notice in apart.notices] == ["kernel-1", "kernel-2"]
    assert len(apart.matches) == len(one.matches) == 1


def coin(number, reach=24):
    x, y = COINS[number]
    return np.s_[y - reach : y + reach, x - reach : x + reach]


def nearest(found: Match):
    x, y = found.center
    return min(range(len(COINS)), key=lambda i: math.hypot(COINS[i][0] - x, COINS[i][1] - y))


def test_two_coins_find_the_others():
    coins = skimage.data.coins()
    kernels = [coins[coin(8)], coins[coin(20, reach=32)]]
    report = match(coins, kernels, metric="zncc", threshold="auto")
    assert sorted(map(nearest, report.matches)) == list(range(24))
    for found in report.matches:
        x, y = found.center
        assert math.hypot(COINS[nearest(found)][0] - x, COINS[nearest(found)][1] - y) < 8
    assert {found.kernel for found in report.matches} == {"kernel-1", "kernel-2"}


@pytest.mark.parametrize("metric", ["sad", "zncc"])
def test_a_kernel_of_another_photograph_exits_1(metric, run, save, astronaut):
    save("coins.png", skimage.data.coins())
    save("face.png", astronaut[90:138, 200:248, 1])
    save("coin.png", skimage.data.coins()[coin(8)])
    words = ("--metric", metric, "--threshold", "auto", "--no-heatmap")
    code, out, err = run("match", "coins.png", "face.png", *words)
    assert (code, out.count("\n")) == (1, 1)
    assert err.startswith("patchsim: threshold auto: no place stands out; the best scores 0.")
    assert run("match", "coins.png", "face.png", *words, "--quiet")[1:] == (out, "")
    code, out, _ = run("match", "coins.png", "coin.png", *words, "--format", "json")
    found = json.loads(out)
    assert (code, found["kernels"][0]["threshold"]) == (0, found["threshold"])
    x, y = COINS[8]
    assert (found["matches"][0]["center_x"], found["matches"][0]["center_y"]) == (x, y)
    assert all(m["score"] >= found["threshold"] for m in found["matches"])
    code, out, _ = run("match", "coins.png", "coin.png", *words[:2], "--threshold", "0.5",
                       "--no-heatmap", "--format", "json")  # fmt: skip
    assert json.loads(out)["threshold"] == 0.5


@pytest.mark.parametrize("words", [[], ["--no-heatmap"], ["--angles", "0,90", "--no-heatmap"]])
def test_too_few_places_are_no_match(words, run, save, astronaut):
    """Of 6x6 windows no ten lie apart; on a blank screen all score the same."""
    save("a.png", astronaut[:20, :20])
    save("k.png", astronaut[:15, :15])
    save("blank.png", np.full((300, 400, 3), 30, np.uint8))
    for name, most in (("a.png", 8), ("k.png", 2), ("blank.png", 2)):
        code, out, err = run("match", name, "k.png", "--threshold", "auto", *words)
        assert (code, out.count("\n")) == (1, 1)
        assert "threshold auto compares places" in err
        assert "it needs 10, and this search has " in err
        assert int(err.split("this search has ")[1].split(";")[0].split()[0]) <= most
        assert "like --threshold 0.9" in err
        assert ("at most;" in err) == (bool(words))


@pytest.mark.parametrize("overlap", [0.0, 0.1, 0.3, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("stride", [1, (3, 2)])
def test_the_most_places_hold_for_any_scores(overlap, stride, rng):
    for _ in range(20):
        height, width = rng.integers(1, 9, 2)
        rows, cols = rng.integers(1, 12, 2)
        image = rng.random((height + rows - 1, width + cols - 1)).astype(np.float32)
        options = {"overlap": overlap, "stride": stride}
        kernel = rng.random((height, width)).astype(np.float32)
        found = match(image, kernel, top=10_000, **options)
        told = match(image, kernel, threshold="auto", **options).notices[-1]
        if "at most;" in told:
            assert len(found) <= int(re.search(r"has (\d+) at most", told)[1]) < 10


def test_a_search_that_could_tell_nothing_is_not_run(monkeypatch, astronaut):
    def fail(*_):
        raise AssertionError

    monkeypatch.setattr(Exhaustive, "run", fail)
    blank = np.full((400, 400, 3), 9, np.uint8)
    for image in (blank, astronaut[:70, :70]):
        report = match(image, astronaut[:50, :50], threshold="auto")
        assert (len(report), report.threshold, report.best_below) == (0, None, None)
        assert [kernel.engine for kernel in report.kernels] == ["none"]
    with pytest.raises(AssertionError):  # zeros beyond the border differ from a blank screen
        match(blank, astronaut[:50, :50], threshold="auto", padding="zero")
    with pytest.raises(AssertionError):
        match(astronaut, astronaut[:50, :50], threshold="auto")


@pytest.mark.parametrize("metric", ["sad", "ssd", "ncc"])
def test_glyphs_of_one_colour_with_alpha(metric, astronaut):
    """An empty area of the kernel's colour is as good as the kernel."""
    glyph = np.zeros((24, 18, 4), np.uint8)
    glyph[..., :3] = 20, 230, 40
    glyph[2:22, 3:7, 3] = glyph[18:22, 3:15, 3] = 255
    image = astronaut[:, :, ::-1].copy()
    places = [(40, 60), (300, 200), (410, 380)]
    for x, y in places:
        part = image[y : y + 24, x : x + 18]
        part[glyph[..., 3] > 0] = glyph[0, 0, :3]
    image = jpeg(image, 80)
    report = match(image, glyph, metric=metric, threshold="auto")
    assert sorted((m.x, m.y) for m in report) == sorted(places)
    assert all(m.score < 1 for m in report)
    without = match(astronaut, glyph, metric=metric, threshold="auto")
    assert len(without) == 0


def test_what_is_refused(run, save, astronaut):
    save("a.png", astronaut[:20, :20])
    save("k.png", astronaut[:15, :15])
    code, _, err = run("match", "a.png", "k.png", "--threshold", "much")
    assert code == 2
    assert "threshold 'much' is not a number; give one from -1 to 1, or auto" in err


def test_scores_are_told_as_they_are_printed(astronaut):
    image = astronaut[:90, :90].copy()
    kernel = image[30:62, 40:72].astype(np.uint16) * 257
    kernel[3, 3, 0] ^= 8
    report = match(image, kernel, threshold="auto")
    assert 0.9999995 < report.best.score < 1
    assert "at 0.999999 and the next" in report.notices[-1]
    assert "best score 0.999999 at" in report.summary


@pytest.mark.parametrize(
    ("score", "text"), [(0.9499999996, "0.949999"), (1, "1"), (0.7, "0.7"), (-0.25, "-0.25")]
)
def test_a_score_below_a_threshold_does_not_read_like_it(score, text):
    assert told(score) == text
