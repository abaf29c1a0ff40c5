"""What the pose search finds, how exactly, and how long it takes, against known plantings.

    python benchmarks/poses.py [FOLDER] [--plantings N] [--metric METRIC]

Kernels of photographs are planted in others at random places, angles and scales, by an independent
resampler (scipy's splines, several samples a pixel). Times are CPU times of one thread, beside
`cv2.matchTemplate` (TM_CCOEFF_NORMED) of the same pictures in the same run. FOLDER has the scenes
Src8.bmp, Dst8.bmp, Src4.bmp and Dst4.bmp, which are searched as with
`patchsim match --metric zncc --angles 0:360:5 --threshold 0.8 --overlap 0.5`, and as without steps
and margins.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from patchsim import Report, match
from patchsim.geometry import polygons
from patchsim.metrics import Kernel
from patchsim.poses.pose import Pose
from patchsim.registration import Fitted, PoseSearch, Range, score
from patchsim.registration.fitted import corners

Floats = NDArray[np.float64]
Place = tuple[float, float, float, float]  # x, y, degrees, scale

THRESHOLD = 0.8
AIMS = 0.03, 0.05, 0.001  # pixels, degrees and share of the scale, root mean squares
ALIKE = 0.02  # a place scores nearly as much without the targets, which lie beside it
PHOTOGRAPHS = ("astronaut", "coffee", "chelsea", "camera", "rocket", "brick", "grass", "coins")


def photograph(name: str, channels: int = 1) -> NDArray[np.uint8]:
    """Return a photograph [H, W, channels]."""
    pixels = getattr(skimage.data, name)()
    if pixels.ndim == 2:
        pixels = np.repeat(pixels[..., None], 3, 2)
    pixels = pixels[..., :3]
    if channels == 3:
        return np.ascontiguousarray(pixels)
    grey: NDArray[np.uint8] = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    return grey[..., None]


def plant(
    picture: Floats,
    source: Floats,
    part: tuple[int, int, int, int],
    place: Place,
    gain: float = 1.0,
    offset: float = 0.0,
    samples: int = 4,
) -> None:
    """Draw a part (top, left, height, width) of a spline's coefficients at a place, antialiased."""
    top, left, height, width = part
    x, y, degrees, scale = place
    reach = math.hypot(height, width) / 2 * scale + 2
    rows = np.arange(max(0, math.floor(y - reach)), min(picture.shape[0], math.ceil(y + reach)))
    columns = np.arange(max(0, math.floor(x - reach)), min(picture.shape[1], math.ceil(x + reach)))
    cos, sin = (f(math.radians(degrees)) / scale for f in (math.cos, math.sin))
    total = np.zeros((len(rows), len(columns), picture.shape[2]))
    share = np.zeros((len(rows), len(columns), 1))
    offsets = (np.arange(samples) + 0.5) / samples
    for dy in offsets:
        for dx in offsets:
            u, v = columns + dx - x, (rows + dy - y)[:, None]
            a, b = u * cos - v * sin, u * sin + v * cos
            inside = (np.abs(a) <= width / 2) & (np.abs(b) <= height / 2)
            where = [top + height / 2 + b[inside] - 0.5, left + width / 2 + a[inside] - 0.5]
            for channel in range(picture.shape[2]):
                total[..., channel][inside] += ndimage.map_coordinates(
                    source[..., channel], where, order=3, prefilter=False, mode="mirror"
                )
            share[inside] += 1
    area = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    count = samples**2
    area *= 1 - share / count
    area += (total * gain + offset * share) / count


def spline(pixels: NDArray[np.uint8]) -> Floats:
    """Return the coefficients of a cubic spline through each channel."""
    return ndimage.spline_filter1d(
        ndimage.spline_filter1d(pixels.astype(float), 3, 0, mode="mirror"), 3, 1, mode="mirror"
    )


@dataclass
class Case:
    """A picture with copies of a kernel and other things, and the ground without the copies."""

    picture: NDArray[np.uint8]
    kernel: NDArray[np.uint8]
    places: list[Place]
    ground: NDArray[np.uint8]


def is_distinct(kernel: NDArray[np.uint8]) -> bool:
    """Return whether a kernel is unlike itself in other poses, as an edge or a spot is not.

    Such kernels are found wherever a picture has an edge or a spot, and score high there.
    """
    values = kernel.astype(np.float32)
    if values.std() < 20:
        return False
    height, width = kernel.shape[:2]
    row, column = np.mgrid[:height, :width] + 0.5
    middle = (width - 1) / 2, (height - 1) / 2
    round_ = np.hypot(column - width / 2, row - height / 2) < min(height, width) / 2 - 1
    for degrees, scale in [(turn, 1.0) for turn in range(20, 341, 20)] + [(0, 1.4), (0, 1.8)]:
        matrix = cv2.getRotationMatrix2D(middle, degrees, scale)
        other = cv2.warpAffine(values, matrix, (width, height)).reshape(values.shape)
        if abs(np.corrcoef(values[round_].ravel(), other[round_].ravel())[0, 1]) > 0.5:
            return False
    return True


def tells_its_pose(kernel: NDArray[np.uint8], noise: float = 2.0) -> bool:
    """Return whether noise leaves a kernel's place and pose known to a third of what is aimed at.

    By the bound of Cramer and Rao: the inverse of the information that the kernel's slopes by x, y,
    angle and log scale have in noise of this standard deviation (in picture and kernel, so twice),
    less what a gain and an offset explain of them.
    """
    values = kernel[..., 0].astype(float)
    height, width = values.shape
    down, across = np.gradient(ndimage.gaussian_filter(values, 0.5))
    y, x = np.mgrid[:height, :width] - np.reshape([(height - 1) / 2, (width - 1) / 2], (2, 1, 1))
    slopes = np.stack([across, down, across * y - down * x, across * x + down * y])
    light = np.stack([values, np.ones_like(values)]).reshape(2, -1)
    slopes = slopes.reshape(4, -1)
    slopes = slopes - slopes @ np.linalg.pinv(light) @ light
    bound = np.sqrt(np.diag(np.linalg.inv(slopes @ slopes.T)) * 2 * noise**2)
    aims = AIMS[0], AIMS[0], math.radians(AIMS[1]), AIMS[2]
    return bool((bound <= np.array(aims) / 3).all())


def free_place(
    rng: np.random.Generator,
    taken: list[tuple[float, float, float]],
    size: tuple[int, int],
    radius: float,
) -> tuple[float, float] | None:
    """Return a place where a circle touches none of those taken, or None."""
    for _ in range(200):
        x, y = (
            rng.uniform(radius + 1, size[1] - radius - 1),
            rng.uniform(radius + 1, size[0] - radius - 1),
        )
        if all(math.hypot(x - a, y - b) > radius + r for a, b, r in taken):
            return float(x), float(y)
    return None


def case_of(
    number: int,
    scales: tuple[float, float] = (0.6, 1.6),
    channels: int = 1,
    side: tuple[int, int] = (16, 200),
    noise: float | None = None,
    copies: int = 30,
    is_lit: bool = True,
) -> Case:
    """Return a random planting."""
    rng = np.random.default_rng(number)
    names = rng.permutation(PHOTOGRAPHS)
    picture = photograph(names[1], channels).astype(float)
    picture = cv2.resize(picture, (800, 600), interpolation=cv2.INTER_CUBIC)
    picture = picture.reshape(600, 800, channels)
    source = photograph(names[0], channels)
    while True:
        width = round(math.exp(rng.uniform(*np.log(side))))
        height = max(side[0], round(width * rng.uniform(0.6, 1)))
        if height > source.shape[0] - 8 or width > source.shape[1] - 8:
            continue
        top = int(rng.integers(4, source.shape[0] - height - 3))
        left = int(rng.integers(4, source.shape[1] - width - 3))
        kernel = source[top : top + height, left : left + width]
        if is_distinct(kernel):
            break
    taken: list[tuple[float, float, float]] = []
    places = []
    parts = spline(source)
    ground = picture.copy()
    for _ in range(int(rng.integers(1, copies + 1))):
        scale = math.exp(rng.uniform(*np.log(scales)))
        radius = math.hypot(height, width) / 2 * scale
        at = free_place(rng, taken, (600, 800), radius)
        if at is None:
            continue
        place = (*at, float(rng.uniform(0, 360)), scale)
        taken.append((*at, radius))
        places.append(place)
        gain, offset = rng.uniform(0.7, 1.1), rng.uniform(-10, 20)
        if not is_lit:
            gain, offset = 1.0, 0.0
        plant(picture, parts, (top, left, height, width), place, gain, offset)
    others = photograph(names[2], channels)
    other_parts = spline(others)
    for _ in range(int(rng.integers(0, 11))):
        h, w = (int(rng.integers(16, 100)) for _ in range(2))
        at = free_place(rng, taken, (600, 800), math.hypot(h, w) / 2)
        if at is None:
            continue
        taken.append((*at, math.hypot(h, w) / 2))
        part = (4 + int(rng.integers(others.shape[0] - h - 8)), 4, h, w)
        clutter = (*at, float(rng.uniform(0, 360)), 1.0)
        plant(picture, other_parts, part, clutter)
        plant(ground, other_parts, part, clutter)
    sigma = rng.choice([0, 2, 5]) if noise is None else noise
    grain = rng.normal(0, 1, picture.shape) * sigma
    seen, behind = (
        np.clip(np.rint(pixels + grain), 0, 255).astype(np.uint8) for pixels in (picture, ground)
    )
    return Case(seen, kernel.copy(), places, behind)


def misfit(fit: Fitted, place: Place) -> tuple[float, float, float]:
    """Return how far a match lies beside a place: pixels, degrees, share of the scale."""
    apart = math.hypot(fit.x - place[0], fit.y - place[1])
    turn = abs((fit.pose.angle - place[2] + 180) % 360 - 180)
    return apart, turn, abs(fit.pose.scale / place[3] - 1)


def is_near(fit: Fitted, place: Place) -> bool:
    """Return whether all of a match lies within a tenth of the kernel's side of its place."""
    apart, turn, scale = misfit(fit, place)
    side = math.sqrt(math.prod(fit.size)) * place[3]
    reach = math.hypot(*fit.size) / 2 * place[3]
    return apart + reach * math.hypot(math.radians(turn), scale) < max(2.5, 0.1 * side)


def shares(fit: Fitted, place: Place) -> bool:
    """Return whether a match's frame shares some of a target's, and less than half of it."""
    frame = fit.corners
    target = corners(fit.size, *place[:2], Pose(place[3], place[2]))
    shared = polygons.intersection_area(frame, target)
    return 0 < shared < 0.5 * min(polygons.area(frame), polygons.area(target))


def is_true(case: Case, fit: Fitted, metric: str) -> bool:
    """Return whether a match scores what is reported."""
    there = score(case.picture, Kernel(case.kernel), fit.x, fit.y, fit.pose, metric, 255.0)
    return abs(there - fit.score) < ALIKE


@dataclass
class Tally:
    """What was found of many plantings."""

    targets: int = 0
    found: int = 0
    too_low: int = 0
    alike: int = 0
    beside: int = 0
    missed: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    errors: list[tuple[float, float, float]] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)

    def print(self) -> None:
        share = 100 * self.found / max(1, self.targets)
        print(
            f"  {self.found} of {self.targets} targets ({share:.2f} %), {len(self.wrong)} wrong;"
            f" {self.too_low} more score less than the threshold where they are;"
            f" {self.alike} matches reach the threshold without the targets, too,"
            f" and {self.beside} by what a target and the ground beside it look like together"
        )
        if self.errors:
            apart, turn, scale = np.array(self.errors).T
            print(
                f"  RMS: {math.sqrt((apart**2).mean()):.3f} pixels,"
                f" {math.sqrt((turn**2).mean()):.3f} degrees,"
                f" {100 * math.sqrt((scale**2).mean()):.3f} % of scale;"
                f" CPU ms: median {1e3 * statistics.median(self.seconds):.0f},"
                f" most {1e3 * max(self.seconds):.0f}"
            )
        for line in self.missed[:20] + self.wrong[:20]:
            print("   ", line)


def search(
    case: Case, metric: str, scales: tuple[float, float], threshold: float | None
) -> tuple[list[Fitted], float]:
    """Return the matches of a whole search, and its seconds."""
    start = time.process_time()
    report = match(
        case.picture, case.kernel, metric=metric, scales="{}:{}".format(*scales), angles="any",
        threshold=threshold, top=None, threads=1, data_range=(0, 255),
    )  # fmt: skip
    seconds = time.process_time() - start
    height, width, _ = case.kernel.shape
    found = []
    for m in report.matches:
        assert m.corners is not None
        x, y = np.mean(m.corners, 0).tolist()
        found.append(Fitted(x, y, Pose(m.scale, m.angle), m.score, (height, width)))
    return found, seconds


def plantings(
    count: int, metric: str = "zncc", first: int = 0, threshold: float = THRESHOLD, **how: Any
) -> Tally:
    """Search random plantings, and say which targets were found."""
    tally = Tally()
    scales = how.get("scales", (0.6, 1.6))
    for number in range(first, first + count):
        case = case_of(number, **how)
        found, seconds = search(case, metric, scales, threshold)
        tally.seconds.append(seconds)
        left = list(found)
        size = "{}x{}".format(*case.kernel.shape)
        for place in case.places:
            near = [fit for fit in left if is_near(fit, place)]
            truth = score(
                case.picture, Kernel(case.kernel), *place[:2], Pose(place[3], place[2]), metric,
                255.0,
            )  # fmt: skip
            if near:
                left = [fit for fit in left if fit is not near[0]]
                tally.errors.append(misfit(near[0], place))
            elif truth < threshold:
                tally.too_low += 1
                continue
            else:
                tally.missed.append(
                    f"{number}: {size} missed at {np.round(place, 2)}, score there {truth:.3f}"
                )
            tally.targets += 1
            tally.found += bool(near)
        for fit in left:
            there = (fit.x, fit.y, fit.pose, metric, 255.0)
            if score(case.ground, Kernel(case.kernel), *there) >= threshold - ALIKE:
                tally.alike += 1
                continue
            if any(shares(fit, place) for place in case.places) and is_true(case, fit, metric):
                tally.beside += 1
                continue
            tally.wrong.append(
                f"{number}: {size} wrong at {fit.x:.1f} {fit.y:.1f}, angle {fit.pose.angle:.1f},"
                f" scale {fit.pose.scale:.2f}, score {fit.score:.3f}"
            )
    return tally


def accuracy(count: int) -> None:
    """Measure 64x64 kernels in photographs turned and scaled as a whole, with noise of 2/255."""
    errors = []
    for number in range(count):
        rng = np.random.default_rng(number)
        photo = photograph(PHOTOGRAPHS[number % len(PHOTOGRAPHS)])
        height, width, _ = photo.shape
        degrees, scale = float(rng.uniform(0, 360)), math.exp(rng.uniform(-0.22, 0.22))
        x, y = rng.uniform(119, 121, 2)
        while True:
            top, left = int(rng.integers(height - 64)), int(rng.integers(width - 64))
            kernel = photo[top : top + 64, left : left + 64]
            if is_distinct(kernel) and tells_its_pose(kernel):
                break
        # The photograph's middle goes where it puts the kernel's middle at (x, y).
        u, v = (left + 32 - width / 2) * scale, (top + 32 - height / 2) * scale
        cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        middle = x - u * cos - v * sin, y - v * cos + u * sin
        picture = np.full((240, 240, 1), 128.0)
        plant(picture, spline(photo), (0, 0, height, width), (*middle, degrees, scale))
        noisy = [
            np.clip(np.rint(a + rng.normal(0, 2, a.shape)), 0, 255).astype(np.uint8)
            for a in (picture, kernel.astype(float))
        ]
        found = PoseSearch(noisy[0], "zncc", 255.0).find(
            Kernel(noisy[1]), Range(0.75, 1.3), Range(0, 360), most=1
        )
        errors.append(misfit(found[0], (x, y, degrees, scale)))
        if not is_near(found[0], (x, y, degrees, scale)):
            print("  lost:", number, found[0], (x, y, degrees, scale))
            errors.pop()
    apart, turn, scale = np.sqrt((np.array(errors) ** 2).mean(0))
    print(
        f"64x64, noise 2/255, {len(errors)} targets: RMS {apart:.4f} pixels, {turn:.4f} degrees,"
        f" {100 * scale:.4f} % of scale"
    )


def timed(work: Callable[[], Any], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return statistics.median(times)


def scenes(folder: Path) -> None:
    """Time two scenes of inspection beside a single `cv2.matchTemplate`."""
    for number, targets in ((8, 3), (4, 24)):
        picture, kernel = (
            np.asarray(Image.open(folder / f"{name}{number}.bmp").convert("L"))[..., None]
            for name in ("Src", "Dst")
        )

        def ours(
            angles: str,
            margin: bool | None,
            picture: NDArray[np.uint8] = picture,
            kernel: NDArray[np.uint8] = kernel,
        ) -> Report:
            return match(
                picture, kernel, metric="zncc", angles=angles, threshold=0.8, overlap=0.5,
                margin=margin, threads=1,
            )  # fmt: skip

        def theirs(picture: NDArray[np.uint8] = picture, kernel: NDArray[np.uint8] = kernel) -> Any:
            return cv2.matchTemplate(picture, kernel, cv2.TM_CCOEFF_NORMED)

        ways: dict[str, Callable[[], Report]] = {
            "0:360:5": partial(ours, "0:360:5", None),
            "any, no margin": partial(ours, "any", False),
        }
        rounds = [[timed(work, 1) for work in (theirs, *ways.values())] for _ in range(25)]
        their, *our = (1e3 * statistics.median(t) for t in zip(*rounds, strict=True))
        for (name, search), one in zip(ways.items(), our, strict=True):
            print(
                f"Src{number}, angles {name}: {len(search().matches)} of {targets} targets,"
                f" {one:.1f} ms of CPU, {one / their:.2f} of a matchTemplate ({their:.2f} ms)"
            )


def many_poses() -> None:
    """Time an 80x80 kernel at any angle and scales from 0.5 to 2 in 1080p RGB."""
    picture = np.asarray(
        Image.fromarray(photograph("coffee", 3)).resize((1920, 1080), Image.Resampling.BICUBIC)
    )
    kernel = picture[400:480, 900:980].copy()
    for metric in ("sad", "zncc"):
        for threads in (1, 2):
            for scales, angles in (("0.5:2", "any"), ("0.5:2:0.1", "0:360:15")):
                start = time.perf_counter(), time.process_time()
                best = match(
                    picture, kernel, metric=metric, scales=scales, angles=angles, top=1,
                    margin=False, threads=threads,
                ).best  # fmt: skip
                wall, cpu = time.perf_counter() - start[0], time.process_time() - start[1]
                assert best is not None
                print(
                    f"1080p RGB, 80x80, {metric}, scales {scales}, angles {angles}, {threads}"
                    f" threads: {wall:.3f} s, CPU {cpu:.3f} s, best {best.score:.4f}"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--plantings", type=int, default=50)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--metric", default="zncc")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    if options.folder:
        scenes(options.folder)
    many_poses()
    accuracy(80)
    print(f"{options.plantings} plantings, {options.metric}:")
    plantings(options.plantings, options.metric, options.first).print()


if __name__ == "__main__":
    main()
