"""Times patchsim beside what people use today; answers are compared before anything is timed.

Run it as ``python benchmarks/compare.py``, with the extra ``bench`` installed; ``--quick`` leaves
out the large pictures, ``--only TEXT`` all whose table and name do not contain TEXT. It prints
tables and writes ``compare.json`` and ``compare.png`` (time over the kernel's size) into ``--out``.

Contestants run in turn, round by round, so that a machine that changes its speed changes it for
all, those of some milliseconds a few times in a row; medians and ratios are printed. Whoever finds
another place than patchsim's exact search is marked with *: what it computes is something else.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import skimage.data
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.feature import match_template

from patchsim import engines, match
from patchsim.engines import Problem, simd
from patchsim.execution import runner
from patchsim.machine import devices
from patchsim.metrics import Kernel
from patchsim.types import Pixels

Place = tuple[int, int]  # x, y
Run = Callable[[], Place]

NOISE = 2  # sigma, of 255: a kernel is a patch of the picture, seen once more
ROUNDS = 5
THREADS = devices.cpu_count()
SLOW_SECONDS = 20.0  # what takes longer runs once
BURST_SECONDS = 0.05


@dataclass(frozen=True)
class Case:
    """A picture and a kernel."""

    height: int
    width: int
    kernel: int
    channels: int = 3
    stride: int = 1
    dtype: str = "uint8"
    subject: str = "photograph"  # or unrelated (nothing to find), noise

    def __str__(self) -> str:
        colour = "RGB" if self.channels == 3 else "grey"
        step = f", stride {self.stride}" if self.stride > 1 else ""
        kind = "" if self.subject == "photograph" else f", {self.subject}"
        return f"{self.height}x{self.width}/{self.kernel} {colour} {self.dtype}{step}{kind}"

    def pictures(self) -> tuple[Pixels, Pixels]:
        """Image and kernel, [H, W, C]."""
        random = np.random.default_rng(self.kernel)
        if self.subject == "noise":
            image = random.integers(0, 256, (self.height, self.width, 3), dtype=np.uint8)
        else:
            image = photographs(self.height, self.width)
        top, left = self.height // 3 // 7 * 7, self.width // 2 // 7 * 7  # on every stride's grid
        patch = image[top : top + self.kernel, left : left + self.kernel]
        if self.subject == "unrelated":
            patch = skimage.data.retina()[300 : 300 + self.kernel, 300 : 300 + self.kernel]
        kernel = noisy(patch, random)
        if self.channels == 1:
            image, kernel = (picture[..., 1:2] for picture in (image, kernel))
        if self.dtype == "float32":
            return image.astype(np.float32) / 255, kernel.astype(np.float32) / 255
        return np.ascontiguousarray(image), np.ascontiguousarray(kernel)


def noisy(pixels: Pixels, random: np.random.Generator) -> Pixels:
    seen = pixels + random.normal(0, NOISE, pixels.shape)
    return np.clip(np.rint(seen), 0, 255).astype(np.uint8)


@functools.cache
def photographs(height: int, width: int) -> Pixels:
    """Photographs side by side; each has noise of its own, so that none appears twice."""
    random = np.random.default_rng(0)
    names = ["coffee", "astronaut", "chelsea", "rocket", "hubble_deep_field"]
    tiles = [getattr(skimage.data, name)()[:300, :400, :3] for name in names]
    rows = []
    for row in range(-(-height // 300)):
        line = [tiles[(row * 2 + col) % len(tiles)] for col in range(-(-width // 400))]
        rows.append(np.concatenate(line, axis=1))
    return noisy(np.concatenate(rows)[:height, :width], random)


# What people use today. Each gives the place of the best window, ours without its margin.


def ours(image: Pixels, kernel: Pixels, **options: Any) -> Place:
    best = match(image, kernel, top=1, margin=False, **options).best
    assert best is not None
    return best.x, best.y


def opencv(image: Pixels, kernel: Pixels, mode: str) -> Place:
    scores = cv2.matchTemplate(image, kernel, getattr(cv2, mode))
    _, _, least, most = cv2.minMaxLoc(scores)
    x, y = least if "SQDIFF" in mode else most
    return int(x), int(y)


def scikit_image(image: Pixels, kernel: Pixels) -> Place:
    return place(match_template(image, kernel)[..., 0])


def corrmatch(image: Pixels, kernel: Pixels, metric: str) -> Place:
    from corrmatch import match_template as search

    found = search(image[..., 0], kernel[..., 0], metric=metric, parallel=True)
    return round(found.x), round(found.y)


def pyvips(image: Pixels, kernel: Pixels, method: str) -> Place:
    import pyvips

    big, small = (pyvips.Image.new_from_array(picture[..., 0]) for picture in (image, kernel))
    scores = getattr(big, method)(small)
    best, options = (
        scores.min(x=True, y=True) if method == "fastcor" else scores.max(x=True, y=True)
    )
    del best
    # Its maps are as large as the picture, with the kernel's middle at each score.
    return options["x"] - kernel.shape[1] // 2, options["y"] - kernel.shape[0] // 2


def taps(image: Pixels, kernel: Pixels) -> Place:
    """Tap by tap in torch: a loop over the kernel's pixels, whole maps at a time."""
    big = torch.from_numpy(image).permute(2, 0, 1).contiguous()
    rows, cols = big.shape[1] - kernel.shape[0] + 1, big.shape[2] - kernel.shape[1] + 1
    total, difference = torch.zeros(rows, cols), torch.empty(rows, cols)
    for y in range(kernel.shape[0]):
        for x in range(kernel.shape[1]):
            for c in range(kernel.shape[2]):
                part = big[c, y : y + rows, x : x + cols]
                total += torch.sub(part, float(kernel[y, x, c]), out=difference).abs_()
    return place(-total.numpy())


def unfold(image: Pixels, kernel: Pixels, stride: int) -> NDArray[np.float32]:
    patches = torch.from_numpy(image).permute(2, 0, 1).float()
    reference = torch.from_numpy(kernel).permute(2, 0, 1).float()
    for axis in (1, 2):
        patches = patches.unfold(axis, kernel.shape[axis - 1], stride)
    return np.asarray(1 - (patches - reference[:, None, None]).abs().mean((0, 3, 4)))


def loop(image: Pixels, kernel: Pixels, stride: int) -> NDArray[np.float32]:
    height, width, _ = kernel.shape
    tops = range(0, image.shape[0] - height + 1, stride)
    lefts = range(0, image.shape[1] - width + 1, stride)
    return np.array(
        [
            [1 - np.abs(image[y : y + height, x : x + width] - kernel).mean() for x in lefts]
            for y in tops
        ]
    )


def place(scores: NDArray[Any]) -> Place:
    y, x = np.unravel_index(int(scores.argmax()), scores.shape)
    return int(x), int(y)


# The race.


@dataclass
class Result:
    """One contestant's time in one case."""

    table: str
    case: str
    name: str
    milliseconds: float
    ratio: float  # of the reference's time and this one: larger is faster
    agrees: bool


def race(
    table: str,
    case: object,
    rivals: dict[str, Callable[[], Any]],
    answer: Any = None,
    shares: dict[str, int] | None = None,
) -> list[Result]:
    """Medians of interleaved runs; the last contestant is the reference.

    The times of contestants that do but a share of the work, so many parts of it, are multiplied.
    """
    first = {}
    agrees = {}
    for name, run in rivals.items():
        start = time.perf_counter()
        found = run()
        first[name] = time.perf_counter() - start
        if answer is None:
            answer = found
        agrees[name] = bool(np.allclose(found, answer, rtol=0, atol=1e-5))
    times: dict[str, list[float]] = {name: [] for name in rivals}
    for _ in range(ROUNDS):
        for name, run in rivals.items():
            if first[name] > SLOW_SECONDS:
                continue
            # What is short runs some times in a row: callers that need it often do the same.
            burst = []
            for _ in range(max(1, int(BURST_SECONDS / first[name]))):
                start = time.perf_counter()
                run()
                burst.append(time.perf_counter() - start)
            times[name].append(statistics.median(burst))
    medians = {
        name: statistics.median(times[name] or [first[name]]) * (shares or {}).get(name, 1)
        for name in rivals
    }
    base = medians[list(rivals)[-1]]
    results = [
        Result(table, str(case), name, median * 1e3, base / median, agrees[name])
        for name, median in medians.items()
    ]
    print(f"\n{table}: {case}")
    for found_result in results:
        mark = "" if found_result.agrees else " *"
        print(
            f"  {found_result.name + mark:38}{found_result.milliseconds:10.2f} ms"
            f"{found_result.ratio:9.2f}x"
        )
    sys.stdout.flush()
    return results


def sad(case: Case) -> list[Result]:
    """Mean absolute difference; nobody else has it, so the rival is the squared one."""
    image, kernel = case.pictures()
    stride = case.stride
    rivals: dict[str, Callable[[], Any]] = {
        "patchsim sad, exact map": lambda: ours(image, kernel, map=True, stride=stride),
        "patchsim sad, map within 0.02": lambda: ours(
            image, kernel, map=True, tolerance=0.02, stride=stride
        ),
        "patchsim sad, best match only": lambda: ours(image, kernel, stride=stride),
    }
    answer = rivals["patchsim sad, exact map"]()
    if stride == 1:
        rivals["OpenCV TM_SQDIFF"] = lambda: opencv(image, kernel, "TM_SQDIFF")
    return race("sad", case, rivals, answer)


def psadbw_share(case: Case) -> list[Result]:
    """The exact map beside the instruction that sums differences of bytes, on registers alone."""
    extension = engines.extension("_sad")
    assert extension is not None, "the engine simd was not built"
    image, kernel = case.pictures()
    rows, cols = case.height - case.kernel + 1, case.width - case.kernel + 1
    map_differences = rows * cols * kernel.size
    register_differences = 0.0

    def registers() -> bool:
        nonlocal register_differences
        with ThreadPoolExecutor(THREADS) as pool:
            peak = functools.partial(extension.peak, simd.variant())
            register_differences = sum(pool.map(peak, [4000] * THREADS))
        return bool(register_differences > 0)

    plan = match(image, kernel, map=True, top=1).plans[0]
    score = runner.prepare(plan, Kernel(kernel))
    rivals: dict[str, Callable[[], Any]] = {
        "patchsim sad, exact map": lambda: bool(ours(image, kernel, map=True)),
        "its prepared engine": lambda: all(runner.run(plan, image, score)),
        "psadbw on registers": registers,
    }
    results = race("share of psadbw", case, rivals)
    *rates, peak_rate = (
        count / result.milliseconds / 1e6
        for count, result in zip(
            (map_differences, map_differences, register_differences), results, strict=True
        )
    )
    for rate, result in zip(rates, results, strict=False):
        print(
            f"  {result.name}: {rate:.0f} of {peak_rate:.0f} G differences/s,"
            f" a share of {rate / peak_rate:.2f}"
        )
    return results


def squares(case: Case) -> list[Result]:
    """The other metrics beside their nearest relatives."""
    image, kernel = case.pictures()
    results = []
    for metric, modes in (
        ("ssd", ["TM_SQDIFF_NORMED", "TM_SQDIFF"]),
        ("ncc", ["TM_CCORR", "TM_CCORR_NORMED"]),
        ("zncc", ["TM_CCOEFF", "TM_CCOEFF_NORMED"]),
    ):
        search = functools.partial(ours, image, kernel, map=True, metric=metric)
        rivals: dict[str, Callable[[], Any]] = {
            f"patchsim {metric}": search,
            f"patchsim {metric}, map within 0.02": functools.partial(search, tolerance=0.02),
        }
        if metric == "ssd":
            rivals["patchsim ssd, best match only"] = lambda: ours(image, kernel, metric="ssd")
        if metric == "zncc":
            rivals["scikit-image match_template"] = lambda: scikit_image(image, kernel)
        if case.channels == 1 and metric != "ncc":
            rivals[f"corrmatch {metric}"] = functools.partial(corrmatch, image, kernel, metric)
            method = "fastcor" if metric == "ssd" else "spcor"
            rivals[f"pyvips {method}"] = functools.partial(pyvips, image, kernel, method)
        for mode in modes:
            rivals[f"OpenCV {mode}"] = functools.partial(opencv, image, kernel, mode)
        results += race(metric, case, rivals)
    return results


def floats(case: Case) -> list[Result]:
    image, kernel = case.pictures()
    rivals: dict[str, Callable[[], Any]] = {
        "patchsim sad": lambda: ours(image, kernel, map=True),
        "torch, tap by tap": lambda: taps(image, kernel),
    }
    return race("float32", case, rivals)


def mission(_case: Case) -> list[Result]:
    """The timing that started it: a small float picture, stride 2."""
    random = np.random.default_rng(0)
    image = random.random((101, 101, 1), dtype=np.float32)
    kernel = random.random((10, 9, 1), dtype=np.float32)
    work = Problem(
        image.shape, kernel.shape, "float32", (2, 2), "sad", 1.0, "cpu", devices.cpu_count()
    )
    score = simd.prepare(kernel, work)
    rivals: dict[str, Callable[[], Any]] = {
        "patchsim, the prepared engine": lambda: score(image).map,
        "patchsim.match": lambda: match(image, kernel, stride=2, map=True).map,
        "plain loop": lambda: loop(image, kernel, 2),
        "plain unfold": lambda: unfold(image, kernel, 2),
    }
    return race("mission", "101x101/10x9 grey float32, stride 2", rivals)


OPENCV_SCRIPT = """
import sys, cv2
image, kernel = cv2.imread(sys.argv[1]), cv2.imread(sys.argv[2])
scores = cv2.matchTemplate(image, kernel, cv2.TM_SQDIFF)
least, most, place, _ = cv2.minMaxLoc(scores)
drawn = cv2.normalize(scores, None, 255, 0, cv2.NORM_MINMAX, cv2.CV_8U)
cv2.imwrite(sys.argv[3], cv2.applyColorMap(drawn, cv2.COLORMAP_VIRIDIS))
print(*place)
"""


def process(words: list[str], folder: str) -> Place:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    x, y = done.stdout.split()[:2]
    return int(x), int(y)


def whole(case: Case) -> list[Result]:
    """PNG in, place and heatmap out, as whole processes."""
    image, kernel = case.pictures()
    patchsim = str(Path(sys.executable).with_name("patchsim"))
    with tempfile.TemporaryDirectory() as folder:
        for name, pixels in (("big.png", image), ("small.png", kernel)):
            Image.fromarray(pixels.squeeze()).save(Path(folder, name))

        def ours_whole(*options: str) -> Place:
            command = f'"{patchsim}" match big.png small.png --top 1 --no-margin -q'
            return process(["sh", "-c", f"{command} {' '.join(options)} | tail -n 1"], folder)

        rivals: dict[str, Callable[[], Any]] = {
            "patchsim match --no-margin, heatmap": ours_whole,
            "patchsim match --no-margin --no-heatmap": lambda: ours_whole("--no-heatmap"),
        }
        if case.height <= 512 and shutil.which("compare"):
            rivals["ImageMagick compare -metric MAE"] = lambda: imagemagick(folder)
        rivals["a script with OpenCV, heatmap"] = lambda: process(
            [sys.executable, "-c", OPENCV_SCRIPT, "big.png", "small.png", "cv.png"], folder
        )
        results = race("whole process", case, rivals)
        peak = peak_memory([patchsim, "match", "big.png", "small.png", "-q"], folder)
        print(f"  patchsim match, peak memory of the process: {peak / 1e6:.0f} MB")
    return results


MANY = 100  # kernels
SOME = 5  # of them


def many(case: Case) -> list[Result]:
    """Many kernels in one run, beside one run each."""
    image, _ = case.pictures()
    random = np.random.default_rng(case.kernel)
    tops = random.integers(0, image.shape[0] - case.kernel, MANY)
    lefts = random.integers(0, image.shape[1] - case.kernel, MANY)
    kernels = [
        noisy(image[top : top + case.kernel, left : left + case.kernel], random)
        for top, left in zip(tops, lefts, strict=True)
    ]
    results = []
    searches: list[tuple[str, str, dict[str, Any]]] = [
        ("sad, best matches only", "TM_SQDIFF", {}),
        ("sad, maps", "TM_SQDIFF", {"map": True}),
        ("ssd, maps", "TM_SQDIFF", {"map": True, "metric": "ssd"}),
        ("zncc, best matches only", "TM_CCOEFF_NORMED", {"metric": "zncc"}),
        ("zncc within 0.02, maps", "TM_CCOEFF_NORMED",
         {"map": True, "metric": "zncc", "tolerance": 0.02}),
    ]  # fmt: skip

    def together(**options: Any) -> list[Place]:
        found = match(image, kernels, top=1, per_kernel=True, **options).matches
        return [(one.x, one.y) for one in found]

    def singly(**options: Any) -> list[Place]:
        return [ours(image, kernel, **options) for kernel in kernels]

    def others(mode: str) -> list[Place]:
        return [opencv(image, kernel, mode) for kernel in kernels]

    for name, mode, options in searches:
        rivals: dict[str, Callable[[], Any]] = {
            f"patchsim {name}, one run": functools.partial(together, **options),
            f"patchsim {name}, {MANY} runs": functools.partial(singly, **options),
            f"OpenCV {mode} in a loop": functools.partial(others, mode),
        }
        results += race(f"{MANY} kernels", case, rivals)
    return results + many_whole(case, image, kernels)


MANY_SCRIPT = """
import sys, cv2
image = cv2.imread(sys.argv[1])
for name in sys.argv[2:]:
    _, _, place, _ = cv2.minMaxLoc(cv2.matchTemplate(image, cv2.imread(name), cv2.TM_SQDIFF))
    print(*place)
"""


def many_whole(case: Case, image: Pixels, kernels: list[Pixels]) -> list[Result]:
    """The same as processes; of the runs with one kernel some, whose time is multiplied."""
    words = [str(Path(sys.executable).with_name("patchsim")), "match", "big.png"]
    options = ["--top", "1", "--per-kernel", "--no-heatmap", "-q"]
    names = [f"{number:03}.png" for number in range(len(kernels))]
    with tempfile.TemporaryDirectory() as folder:
        for name, pixels in zip(["big.png", *names], [image, *kernels], strict=True):
            Image.fromarray(pixels).save(Path(folder, name))

        def places(words: list[str]) -> list[Place]:
            done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
            lines = (line.split() for line in done.stdout.splitlines())
            return [(int(x), int(y)) for x, y, *_ in lines if x != "x"]

        singly = f"patchsim match, {len(kernels)} runs ({SOME}, times {len(kernels) // SOME})"
        rivals: dict[str, Callable[[], Any]] = {
            "patchsim match, one run": lambda: places([*words, *names, *options])[:SOME],
            singly: lambda: [places([*words, name, *options])[0] for name in names[:SOME]],
            "a script with OpenCV, one run": lambda: places(
                [sys.executable, "-c", MANY_SCRIPT, "big.png", *names]
            )[:SOME],
        }
        shares = {singly: len(kernels) // SOME}
        return race(f"{MANY} kernels, whole process", case, rivals, shares=shares)


def peak_memory(words: list[str], folder: str) -> float:
    """Bytes, of a child of its own."""
    code = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return float(done.stdout) * (1 if sys.platform == "darwin" else 1024)


def imagemagick(folder: str) -> Place:
    # It exits with 1 where the best window is not identical.
    done = subprocess.run(
        ["compare", "-metric", "MAE", "-subimage-search", "big.png", "small.png", "null:"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    x, y = done.stderr.rsplit("@", 1)[1].split(",")
    return int(x), int(y)


SMALL, FULL_HD, UHD = (512, 512), (1080, 1920), (2160, 3840)
TABLES: list[tuple[Callable[[Case], list[Result]], list[Case]]] = [
    (mission, [Case(101, 101, 10)]),
    (
        sad,
        [
            Case(*SMALL, 32),
            Case(*SMALL, 32, channels=1),
            Case(*FULL_HD, 64),
            Case(*FULL_HD, 64, channels=1),
            Case(*FULL_HD, 64, stride=2),
            Case(*FULL_HD, 64, subject="unrelated"),
            Case(*FULL_HD, 64, subject="noise"),
            Case(*UHD, 128),
            Case(*UHD, 128, subject="unrelated"),
            Case(*UHD, 128, subject="noise"),
            Case(*UHD, 256),
            Case(*UHD, 512),
        ],
    ),
    (squares, [Case(*SMALL, 32, channels=1), Case(*FULL_HD, 64), Case(*UHD, 128)]),
    (psadbw_share, [Case(*SMALL, 32), Case(*FULL_HD, 64)]),
    (floats, [Case(*FULL_HD, 64, dtype="float32")]),
    (whole, [Case(*SMALL, 32), Case(*FULL_HD, 64)]),
    (many, [Case(*FULL_HD, 32)]),
]


def cases(arguments: argparse.Namespace) -> Iterator[tuple[Callable[[Case], list[Result]], Case]]:
    for table, chosen in TABLES:
        for case in chosen:
            if arguments.quick and case.height > 1080:
                continue
            if arguments.only in f"{table.__name__} {case}":
                yield table, case


def plot(results: list[Result], path: Path) -> None:
    """Time over the kernel's size, of the photographs in colour."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    lines: dict[str, list[tuple[int, float]]] = {}
    for result in results:
        size, _, rest = result.case.partition("/")
        kernel, _, kind = rest.partition(" ")
        if result.table == "sad" and size == "2160x3840" and kind == "RGB uint8":
            lines.setdefault(result.name, []).append((int(kernel), result.milliseconds))
    if not lines:
        return
    figure, axes = pyplot.subplots(figsize=(7, 4.5))
    for name, points in lines.items():
        sizes, times = zip(*sorted(points), strict=True)
        axes.plot(sizes, times, marker="o", label=name)
    axes.set(xlabel="kernel side, pixels", ylabel="milliseconds", xscale="log", yscale="log")
    axes.set_xticks(sizes, labels=map(str, sizes))
    axes.set_xticks([], minor=True)
    axes.set_title("2160x3840 RGB, best of all windows")
    axes.grid(visible=True, which="both", alpha=0.3)
    axes.legend(loc="center right")
    figure.tight_layout()
    figure.savefig(path, dpi=120)


def versions() -> dict[str, str]:
    packages = ["numpy", "scipy", "torch", "opencv-python-headless", "scikit-image", "corrmatch"]
    found = {name: metadata.version(name) for name in [*packages, "pyvips"]}
    return {"python": platform.python_version(), **found}


def machine() -> str:
    model = platform.processor()
    if os.path.exists("/proc/cpuinfo"):  # noqa: PTH110 - no path of ours
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
        model = next(line for line in text.splitlines() if "model name" in line).split(":")[1]
    return f"{model.strip()}, {devices.cpu_count()} CPUs, {platform.platform()}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="leave out 2160x3840")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose names contain it")
    parser.add_argument("--out", type=Path, default=Path(), metavar="FOLDER")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    print(machine())
    print(", ".join(f"{name} {version}" for name, version in versions().items()))
    results = [result for table, case in cases(arguments) for result in table(case)]
    record = {
        "machine": machine(),
        "versions": versions(),
        "rounds": ROUNDS,
        "results": [asdict(result) for result in results],
    }
    (arguments.out / "compare.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    plot(results, arguments.out / "compare.png")


if __name__ == "__main__":
    main()
