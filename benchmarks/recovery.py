"""How often the best match is the right one, beside OpenCV, on damaged photographs.

Run it as ``python benchmarks/recovery.py``, with the extra ``bench`` installed. It prints tables
and draws ``recovery.png`` into ``--out``. The random numbers of a case have its number as seed.

Damage: a kernel of 16 to 48 pixels with contrast is cut from a photograph and looked for there, or
planted as it is in another. The picture then gets noise, becomes a JPEG or darker, or a side of the
kernel's place is covered by a piece of a third photograph. Right is a best match whose corner is at
most 2 pixels off in x and y.

Poses: a kernel of 40 to 64 pixels, every other one with a round alpha, is planted scaled (0.5 to 2)
and turned (by OpenCV, averaged over 4x4 subpixels), then comes noise. OpenCV has no search over
poses: the loop that is usual instead tries the same grid, scales 0.5 to 2 in steps of 0.1 and
angles in steps of 15 degrees, and the best score wins. Right is a place whose middle is at most 3
pixels off; and with its pose one whose scale is also within 5 % and angle within 5 degrees, which
a grid alone cannot always be. Every wrong one is listed with the score about the true pose: where
that is higher, the search has missed it, otherwise the metric prefers what was found.
"""

from __future__ import annotations

import argparse
import io
import math
import platform
import statistics
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from patchsim import match

PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "immunohistochemistry", "rocket")
LEAST_CONTRAST = 20  # standard deviation of a kernel, of 255
CASES = 60
POSED = 20

KERNELS = (16, 24, 32, 48)
NEAR = 2

SCALES = "0.5:2:0.1"
ANGLES = "0:360:15"
POSED_KERNELS = (40, 64)
POSED_SCENE = (300, 400)
POSED_NOISES = (0, 40)
POSED_NEAR = 3.0
SCALE_NEAR, ANGLE_NEAR = 0.05, 5.0
SUBPIXELS = 4  # in each direction, of which a pixel of a planted kernel is the mean

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Place = tuple[int, int]  # x, y
Middle = tuple[float, float]


@cache
def photograph(name: str) -> Bytes:
    pixels: Bytes = np.asarray(getattr(skimage.data, name)())
    return pixels


def cut(pixels: Bytes, size: tuple[int, int], random: np.random.Generator) -> tuple[Place, Bytes]:
    """A part of this (height, width), and its place."""
    y, x = (int(random.integers(own - n + 1)) for own, n in zip(pixels.shape, size, strict=False))
    return (x, y), pixels[y : y + size[0], x : x + size[1]].copy()


def textured(pixels: Bytes, side: int, random: np.random.Generator) -> tuple[Place, Bytes]:
    """The same of a square with contrast."""
    while True:
        place, part = cut(pixels, (side, side), random)
        if part.mean(2).std() >= LEAST_CONTRAST:
            return place, part


def rounded(values: NDArray[np.float64]) -> Bytes:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


# -- damage ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Case:
    """A kernel that lies in an image at a place."""

    image: Bytes
    kernel: Bytes
    at: Place
    cover: Bytes  # of the kernel's size, from elsewhere
    seed: int

    @classmethod
    def of(cls, number: int) -> Case:
        random = np.random.default_rng([number, 0])
        first, second, third = (photograph(n) for n in random.permutation(PHOTOGRAPHS)[:3])
        side = KERNELS[number % len(KERNELS)]
        at, kernel = textured(first, side, random)
        image = first
        if random.random() < 0.5:
            at, _ = cut(second, (side, side), random)
            image = second.copy()
            image[at[1] : at[1] + side, at[0] : at[0] + side] = kernel
        return cls(image, kernel, at, cut(third, (side, side), random)[1], number)


def with_noise(case: Case, sigma: float) -> Bytes:
    random = np.random.default_rng([case.seed, 1])
    return rounded(case.image + random.normal(0, sigma, case.image.shape))


def as_jpeg(case: Case, quality: float) -> Bytes:
    file = io.BytesIO()
    Image.fromarray(case.image).save(file, "JPEG", quality=int(quality))
    return np.asarray(Image.open(file))


def covered(case: Case, percent: float) -> Bytes:
    """A part of the kernel's place from one of its sides on."""
    image, side = case.image.copy(), len(case.kernel)
    length = round(side * percent / 100)
    turns = case.seed % 4
    hidden = np.rot90(np.arange(side)[:, None] < np.full(side, length), turns)
    x, y = case.at
    image[y : y + side, x : x + side][hidden] = case.cover[hidden]
    return image


def darker(case: Case, percent: float) -> Bytes:
    return rounded(case.image.astype(float) * (percent / 100))


DAMAGES: dict[str, tuple[Callable[[Case, float], Bytes], tuple[int, ...]]] = {
    "noise, standard deviation of 255": (with_noise, (0, 10, 20, 30, 40, 60, 80)),
    "JPEG quality": (as_jpeg, (95, 75, 50, 30, 20, 10, 5)),
    "covered, %": (covered, (0, 10, 20, 30, 40, 50, 60, 70)),
    "brightness, %": (darker, (100, 90, 80, 70, 60, 40, 20)),
}


def ours(
    image: Bytes,
    kernel: Bytes,
    metric: str,
    color: str = "auto",
    channel_weights: Sequence[float] | None = None,
) -> Place:
    best = match(
        image, kernel, top=1, margin=False,
        metric=metric, color=color, channel_weights=channel_weights,
    ).best  # fmt: skip
    assert best is not None
    return best.x, best.y


def opencv(image: Bytes, kernel: Bytes, mode: int) -> Place:
    _, _, least, most = cv2.minMaxLoc(cv2.matchTemplate(image, kernel, mode))
    x, y = least if mode == cv2.TM_SQDIFF else most
    return x, y


METHODS: dict[str, Callable[[Bytes, Bytes], Place]] = {
    "sad": partial(ours, metric="sad"),
    "ssd": partial(ours, metric="ssd"),
    "zncc": partial(ours, metric="zncc"),
    "sad hsv": partial(ours, metric="sad", color="hsv"),
    "zncc lab": partial(ours, metric="zncc", color="lab"),
    "sad a*b*": partial(ours, metric="sad", color="lab", channel_weights=(0, 1, 1)),
    "TM_SQDIFF": partial(opencv, mode=cv2.TM_SQDIFF),
    "TM_CCOEFF_NORMED": partial(opencv, mode=cv2.TM_CCOEFF_NORMED),
}

Rates = dict[str, dict[int, float]]  # of each method, at each strength


def damage(name: str, cases: Sequence[Case]) -> Rates:
    worn, strengths = DAMAGES[name]
    rates: Rates = defaultdict(dict)
    for strength in strengths:
        images = [worn(case, strength) for case in cases]
        for method, find in METHODS.items():
            found = [find(image, case.kernel) for image, case in zip(images, cases, strict=True)]
            right = [
                max(abs(x - case.at[0]), abs(y - case.at[1])) <= NEAR
                for (x, y), case in zip(found, cases, strict=True)
            ]
            rates[method][strength] = sum(right) / len(right)
    return rates


# -- poses -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Posed:
    """Where a kernel is, by its middle, and in which pose."""

    x: float
    y: float
    scale: float
    angle: float  # counter-clockwise as seen
    score: float = math.nan

    def __str__(self) -> str:
        return f"({self.x:.1f}, {self.y:.1f}) scale {self.scale:.3f} angle {self.angle:.1f}"

    def place_is(self, other: Posed) -> bool:
        return math.hypot(self.x - other.x, self.y - other.y) <= POSED_NEAR

    def is_(self, other: Posed) -> bool:
        turn = abs((self.angle - other.angle + 180) % 360 - 180)
        alike = abs(self.scale / other.scale - 1) <= SCALE_NEAR and turn <= ANGLE_NEAR
        return self.place_is(other) and alike


@dataclass(frozen=True)
class Scene:
    """A kernel, RGB or RGBA, that is planted in an image."""

    image: Bytes
    kernel: Bytes
    truth: Posed

    @classmethod
    def of(cls, number: int, noise: float) -> Scene:
        random = np.random.default_rng([number, 2])
        first, second = (photograph(name) for name in random.permutation(PHOTOGRAPHS)[:2])
        side = int(random.integers(POSED_KERNELS[0], POSED_KERNELS[1] + 1))
        _, kernel = textured(first, side, random)
        _, image = cut(second, POSED_SCENE, random)
        if number % 2:
            kernel = np.dstack([kernel, disc(side)])
        scale = 2 ** float(random.uniform(-1, 1))
        angle = float(random.uniform(0, 360))
        reach = side * scale * max(
            abs(math.cos(math.radians(angle - turn))) for turn in (45, 135)
        ) / math.sqrt(2) + 2  # fmt: skip
        y, x = (float(random.uniform(reach, length - reach)) for length in POSED_SCENE)
        truth = Posed(x, y, scale, angle)
        seen = planted(image, kernel, truth)
        return cls(rounded(seen + random.normal(0, noise, seen.shape)), kernel, truth)


def disc(side: int) -> Bytes:
    """255 in a circle, 0 around it."""
    off = np.arange(side) - (side - 1) / 2
    return np.where(np.hypot(off[:, None], off) <= side / 2, 255, 0).astype(np.uint8)


def to_pose(kernel: Bytes, scale: float, angle: float, middle: Middle) -> NDArray[np.float64]:
    """The affine map that takes a kernel into a pose about a middle; pixels are 1 wide, from x."""
    height, width = kernel.shape[:2]
    cos, sin = (f(math.radians(angle)) * scale for f in (math.cos, math.sin))
    linear = np.array([[cos, sin], [-sin, cos]])
    offset = np.array(middle) - 0.5 - linear @ ((width - 1) / 2, (height - 1) / 2)
    return np.column_stack([linear, offset])


def opacity(kernel: Bytes) -> Floats:
    alpha = kernel[..., 3] if kernel.shape[2] == 4 else np.full(kernel.shape[:2], 255, np.uint8)
    return np.divide(alpha, 255, dtype=np.float32)


def planted(image: Bytes, kernel: Bytes, truth: Posed) -> NDArray[np.float64]:
    """The image with a kernel over it, antialiased at its border too."""
    finely = to_pose(
        kernel, truth.scale * SUBPIXELS, truth.angle, (truth.x * SUBPIXELS, truth.y * SUBPIXELS)
    )
    height, width = image.shape[:2]
    large = width * SUBPIXELS, height * SUBPIXELS
    cover = cv2.warpAffine(opacity(kernel), finely, large, flags=cv2.INTER_NEAREST)
    colour = cv2.warpAffine(
        kernel[..., :3].astype(np.float32), finely, large,
        flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    area = partial(cv2.resize, dsize=(width, height), interpolation=cv2.INTER_AREA)
    over, share = area(colour * cover[..., None]), area(cover)
    mixed: NDArray[np.float64] = over + image * (1.0 - share[..., None])
    return mixed


def ours_posed(image: Bytes, kernel: Bytes, metric: str) -> Posed:
    best = match(
        image, Image.fromarray(kernel), metric=metric, scales=SCALES, angles=ANGLES,
        top=1, margin=False,
    ).best  # fmt: skip
    assert best is not None
    assert best.corners is not None
    x, y = np.mean(best.corners, 0).tolist()
    return Posed(x, y, best.scale, best.angle, best.score)


def opencv_posed(image: Bytes, kernel: Bytes) -> Posed:
    """The best of a loop over the grid."""
    best = Posed(0, 0, 1, 0, -math.inf)
    alpha = opacity(kernel)
    for scale in np.arange(0.5, 2.01, 0.1).tolist():
        # Its warps do not average over what becomes one pixel.
        size = round(kernel.shape[1] * scale), round(kernel.shape[0] * scale)
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        colour = cv2.resize(kernel[..., :3], size, interpolation=way)
        shape = cv2.resize(alpha, size, interpolation=way)
        for angle in range(0, 360, 15):
            around = [abs(f(math.radians(angle))) for f in (math.cos, math.sin)]
            side = math.ceil(size[0] * sum(around) - 1e-6)
            if side > min(image.shape[:2]):
                continue
            turn = to_pose(colour, 1, angle, (side / 2, side / 2))
            turned = cv2.warpAffine(
                colour, turn, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
            mask = cv2.warpAffine(shape, turn, (side, side), flags=cv2.INTER_LINEAR) > 0.99
            whole = bool(mask.all())
            scores = cv2.matchTemplate(
                image, turned, cv2.TM_CCOEFF_NORMED, mask=None if whole else mask.astype(np.uint8)
            )
            # With a mask it gives inf and nan where a window is flat.
            scores[~np.isfinite(scores)] = -1
            _, score, _, (x, y) = cv2.minMaxLoc(scores)
            if score > best.score:
                best = Posed(x + side / 2, y + side / 2, scale, float(angle), score)
    return best


def score_there(scene: Scene, metric: str) -> float:
    """The best of the true pose and those beside it, near the place."""
    truth = scene.truth
    height, width = scene.image.shape[:2]
    reach = math.ceil(scene.kernel.shape[0] * truth.scale * math.sqrt(0.5)) + 3
    left, top = max(0, int(truth.x) - reach), max(0, int(truth.y) - reach)
    right, bottom = min(width, int(truth.x) + reach), min(height, int(truth.y) + reach)
    best = match(
        scene.image, Image.fromarray(scene.kernel), metric=metric,
        scales=f"{max(truth.scale * 0.98, 0.5)}:{min(truth.scale * 1.02, 2)}",
        angles=f"{truth.angle - 1}:{truth.angle + 1}",
        region=(left, top, right - left, bottom - top), top=1, margin=False,
    ).best  # fmt: skip
    assert best is not None
    return best.score


LOOP = "TM_CCOEFF_NORMED, loop"
POSED_METHODS: dict[str, Callable[[Bytes, Bytes], Posed]] = {
    "sad": partial(ours_posed, metric="sad"),
    "zncc": partial(ours_posed, metric="zncc"),
    LOOP: opencv_posed,
}


@dataclass(frozen=True)
class Outcome:
    """One search for a posed kernel."""

    number: int
    noise: int
    method: str
    truth: Posed
    found: Posed
    there: float  # the score about the true pose, of patchsim's metrics where another was found
    seconds: float

    @property
    def missed(self) -> bool:
        """Whether what was found scores less."""
        return self.there > self.found.score

    def __str__(self) -> str:
        there = "" if math.isnan(self.there) else f", there {self.there:.4f}"
        why = " MISSED" if self.missed else ""
        return (
            f"case {self.number}, noise {self.noise}, {self.method}: {self.truth};"
            f" found {self.found}, score {self.found.score:.4f}{there}{why}"
        )


def search(number: int, noise: int, methods: Sequence[str]) -> list[Outcome]:
    """By each method; those that are wrong are printed."""
    scene = Scene.of(number, noise)
    outcomes = []
    for method in methods:
        started = time.perf_counter()
        found = POSED_METHODS[method](scene.image, scene.kernel)
        seconds = time.perf_counter() - started
        there = math.nan
        if method != LOOP and not found.is_(scene.truth):
            there = score_there(scene, method)
        outcome = Outcome(number, noise, method, scene.truth, found, there, seconds)
        if not found.is_(scene.truth):
            print(outcome, flush=True)
        outcomes.append(outcome)
    return outcomes


# -- tables and the picture --------------------------------------------------------------------


def print_rates(name: str, rates: Rates) -> None:
    strengths = DAMAGES[name][1]
    print(f"\n{name:34}" + "".join(f"{strength:6}" for strength in strengths))
    for method, own in rates.items():
        print(f"  {method:32}" + "".join(f"{own[strength]:6.0%}" for strength in strengths))


def print_outcomes(outcomes: Sequence[Outcome]) -> Rates:
    """And the rates of right places."""
    rates: Rates = defaultdict(dict)
    print("\nscaled and turned           noise  cases  place  and pose  missed  median s")
    for method in POSED_METHODS:
        for noise in POSED_NOISES:
            own = [o for o in outcomes if (o.method, o.noise) == (method, noise)]
            if not own:
                continue
            place = sum(o.found.place_is(o.truth) for o in own) / len(own)
            pose = sum(o.found.is_(o.truth) for o in own) / len(own)
            missed = "" if method == LOOP else sum(o.missed for o in own)
            seconds = statistics.median(o.seconds for o in own)
            print(
                f"  {method:24}{noise:7}{len(own):7}{place:7.0%}{pose:10.0%}{missed:8}"
                f"{seconds:10.2f}"
            )
            rates[method][noise] = place
    return rates


def draw(tables: dict[str, Rates], path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, grid = pyplot.subplots(2, 3, figsize=(13, 7.5), sharey=True)
    colours = {name: f"C{number}" for number, name in enumerate([*METHODS, LOOP])}
    for axes, (name, rates) in zip(grid.flat, tables.items(), strict=False):
        for method, own in rates.items():
            # Broad and pale: some of ours lie on them.
            peer = {"linewidth": 6, "alpha": 0.35} if method.startswith("TM_") else {"marker": "."}
            percent = [100 * rate for rate in own.values()]
            axes.plot(list(own), percent, color=colours[method], label=method, **peer)
        if name in ("JPEG quality", "brightness, %"):
            axes.invert_xaxis()
        axes.set(xlabel=name, ylim=(-3, 103))
        axes.grid(visible=True, alpha=0.3)
    for axes in grid[:, 0]:
        axes.set_ylabel("found, %")
    for axes in grid.flat[len(tables) :]:
        axes.set_axis_off()
    shown = {
        label: line
        for axes in grid.flat
        for line, label in zip(*axes.get_legend_handles_labels(), strict=True)
    }
    grid[1, 2].legend(shown.values(), shown.keys(), loc="center", frameon=False)
    figure.tight_layout()
    figure.savefig(path, dpi=100)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=CASES, help="damaged kernels, 0 for none")
    parser.add_argument("--posed", type=int, default=POSED, help="posed kernels, 0 for none")
    parser.add_argument("--out", type=Path, default=Path(), help="folder of recovery.png")
    parser.add_argument("--without-loop", action="store_true", help="leave out OpenCV's poses")
    chosen = parser.parse_args()
    chosen.out.mkdir(parents=True, exist_ok=True)
    print(f"{platform.platform()}, Python {platform.python_version()}, NumPy {np.__version__},")
    print(f"OpenCV {cv2.__version__}, scikit-image {version('scikit-image')}")
    tables: dict[str, Rates] = {}
    if chosen.cases:
        cases = [Case.of(number) for number in range(chosen.cases)]
        print(f"{chosen.cases} kernels of {', '.join(map(str, KERNELS))} pixels: found")
        for name in DAMAGES:
            tables[name] = damage(name, cases)
            print_rates(name, tables[name])
    if chosen.posed:
        print(f"\n{chosen.posed} scaled and turned kernels, wrong ones:")
        methods = [m for m in POSED_METHODS if m != LOOP or not chosen.without_loop]
        outcomes = [
            outcome
            for number in range(chosen.posed)
            for noise in POSED_NOISES
            for outcome in search(number, noise, methods)
        ]
        tables["scaled and turned; noise"] = print_outcomes(outcomes)
    if tables:
        draw(tables, chosen.out / "recovery.png")


if __name__ == "__main__":
    main()
