"""CPU time of `patchsim scan` for each picture, beside decoding alone, OpenCV and a shell loop.

    python benchmarks/scan.py [PICTURES [MANY]]

It draws PICTURES (200) JPEGs of 640x480 from photographs of scikit-image, with noise of 2/255, and
looks for the best place of two kernels of 48x48 in each. Each contestant is a process with one
thread, or one worker; its time for a picture is that of all pictures less that of one, so that the
start of the process is not counted, but for the shell loop, which starts one for each. Rounds are
interleaved; the table has the least time of each. The answers are compared first. MANY (10,000) is
the length of the list whose peak memory is compared with that of PICTURES. It needs the extra
`bench`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

ROUNDS = 3
LOOPED = 4  # pictures of the shell loop
SIZE, SIDE = (480, 640), 48
TIE = 1e-6  # of scores that float32, in which OpenCV sums, does not tell apart

DECODE = """
import sys
from PIL import Image
for name in open(sys.argv[1]).read().split():
    Image.open(name).convert("RGB").load()
"""
OPENCV = """
import json, multiprocessing, sys
import cv2
cv2.setNumThreads(1)
kernels = [cv2.imread(name) for name in sys.argv[3:]]
def search(name):
    image = cv2.imread(name)
    best = (-2.0,)
    for kernel in kernels:
        _, score, _, (x, y) = cv2.minMaxLoc(cv2.matchTemplate(image, kernel, cv2.TM_CCOEFF_NORMED))
        best = max(best, (score, x, y))
    return name, *best[1:]
if __name__ == "__main__":
    names = open(sys.argv[1]).read().split()
    with multiprocessing.Pool(int(sys.argv[2])) as pool:
        for found in pool.imap(search, names, chunksize=4):
            print(json.dumps(found))
"""


class Run(NamedTuple):
    """What a process took: seconds of CPU and of the clock, peak MiB, and what it printed."""

    cpu: float
    wall: float
    mebibytes: float
    out: str


def run(words: Sequence[str]) -> Run:
    """Run a command to its end."""
    with tempfile.TemporaryFile("w+") as out:
        started = time.perf_counter()
        process = subprocess.Popen(words, stdout=out)
        peak = 0.0
        while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
            peak = _peak(process.pid) or peak
            time.sleep(0.02)
        _, status, usage = ended
        wall = time.perf_counter() - started
        if os.waitstatus_to_exitcode(status) != 0:
            raise SystemExit(f"{words[:4]} ended with {status}")
        out.seek(0)
        return Run(usage.ru_utime + usage.ru_stime, wall, peak, out.read())


def _peak(pid: int) -> float:
    """Return the peak MiB of a process until now; `ru_maxrss` begins with that of its parent."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def draw(folder: Path, count: int) -> tuple[list[str], list[str]]:
    """Draw pictures and two kernels; return their paths."""
    import skimage.data

    chance = np.random.default_rng(5)
    photographs = [
        np.pad(one, ((240, 240), (320, 320), (0, 0)), mode="reflect")
        for one in (skimage.data.coffee(), skimage.data.astronaut(), skimage.data.chelsea())
    ]
    kernels = []
    for name, (y, x) in (("a", (440, 560)), ("b", (420, 600))):
        kernels.append(str(folder / f"{name}.png"))
        photograph = photographs["ab".index(name)]
        Image.fromarray(photograph[y : y + SIDE, x : x + SIDE]).save(kernels[-1])
    pictures = []
    for number in range(count):
        photograph = photographs[number % 3]
        y, x = (
            chance.integers(most - size) for most, size in zip(photograph.shape, SIZE, strict=False)
        )
        pixels = photograph[y : y + SIZE[0], x : x + SIZE[1]].astype(np.int16)
        pixels += chance.integers(-2, 3, pixels.shape, dtype=np.int16)
        pictures.append(str(folder / f"{number:04}.jpg"))
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(pictures[-1], quality=90)
    return pictures, kernels


class Contest:
    """The contestants, and lists of pictures for them."""

    def __init__(self, folder: Path, count: int) -> None:
        self.folder = folder
        self.pictures, self.kernels = draw(folder, count)
        self.program = str(Path(sys.executable).with_name("patchsim"))

    def listed(self, count: int) -> str:
        """Write a list of so many pictures, again and again the same."""
        path = self.folder / f"list-{count}"
        names = (self.pictures[i % len(self.pictures)] for i in range(count))
        path.write_text("\n".join(names) + "\n")
        return str(path)

    def scan(self, count: int, *options: str, threads: int = 1) -> Run:
        kernels = [word for kernel in self.kernels for word in ("--kernel", kernel)]
        form = ["--top", "1", "--format", "jsonl", "--threads", str(threads), *options]
        return run([self.program, "scan", "--list", self.listed(count), *kernels, *form])

    def opencv(self, count: int, *, workers: int = 1) -> Run:
        script = self.folder / "opencv.py"
        script.write_text(OPENCV)
        words = [sys.executable, str(script), self.listed(count), str(workers), *self.kernels]
        return run(words)

    def decode(self, count: int) -> Run:
        return run([sys.executable, "-c", DECODE, self.listed(count)])

    def looped(self) -> float:
        """Return the seconds of CPU that a process takes for each picture."""
        words = [*self.kernels, "--top", "1", "--no-heatmap", "--threads", "1"]
        runs = [run([self.program, "match", name, *words]) for name in self.pictures[:LOOPED]]
        return sum(one.cpu for one in runs) / LOOPED

    def check(self, count: int) -> None:
        """Compare the places by zncc with those that OpenCV finds."""
        lines = self.scan(count, "--metric", "zncc").out.splitlines()
        ours = []
        for one in map(json.loads, lines):
            (match,) = one["matches"]
            ours.append([one["image"], match["x"], match["y"]])
        theirs = [json.loads(line) for line in self.opencv(count).out.splitlines()]
        others = [two for two in zip(ours, theirs, strict=True) if two[0] != two[1]]
        for one, other in others:
            lacking = self._score(*other) - self._score(*one)
            if one[0] != other[0] or abs(lacking) > TIE:
                raise SystemExit(f"the answers {one} and {other} differ by {lacking:.2g}")
        print(
            f"{count - len(others)} of {count} places of zncc are those of OpenCV,"
            f" {len(others)} score the same within {TIE:g}"
        )

    def _score(self, picture: str, x: int, y: int) -> float:
        """Return the higher zncc of both kernels at a place."""
        window = _centred(_pixels(picture)[y : y + SIDE, x : x + SIDE])
        kernels = (_centred(_pixels(kernel)) for kernel in self.kernels)
        return max(float((window * kernel).sum()) for kernel in kernels)


def _pixels(path: str) -> NDArray[np.float64]:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), np.float64)


def _centred(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return pixels less the mean of each channel, of length 1."""
    centred: NDArray[np.float64] = pixels - pixels.mean((0, 1))
    return centred / float(np.linalg.norm(centred))


def main() -> None:
    """Print the figures."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    many = int(sys.argv[2]) if len(sys.argv) > 2 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        contest = Contest(Path(folder), count)
        contest.check(count)
        contestants: dict[str, Callable[[int], Run]] = {
            "decoding alone, Pillow": contest.decode,
            "patchsim scan, sad": contest.scan,
            "patchsim scan, zncc": lambda n: contest.scan(n, "--metric", "zncc"),
            "OpenCV, TM_CCOEFF_NORMED": contest.opencv,
        }
        least: dict[str, float] = dict.fromkeys(contestants, float("inf"))
        for _ in range(ROUNDS):
            for name, work in contestants.items():
                per_picture = (work(count).cpu - work(1).cpu) / (count - 1)
                least[name] = min(least[name], per_picture)
        least["a shell loop of patchsim match, sad"] = contest.looped()
        for name, seconds in least.items():
            print(f"{seconds * 1000:8.1f} ms CPU a picture  {name}")
        cores = len(os.sched_getaffinity(0))
        walls = {
            "patchsim scan, sad": contest.scan(count, threads=cores).wall,
            "patchsim scan, zncc": contest.scan(count, "--metric", "zncc", threads=cores).wall,
            "OpenCV with multiprocessing": contest.opencv(count, workers=cores).wall,
        }
        for name, seconds in walls.items():
            print(f"{count / seconds:8.1f} pictures a second with {cores} cores  {name}")
        for length in (count, many):
            peak = contest.scan(length, threads=cores).mebibytes
            print(f"{peak:8.1f} MiB at most, {length} pictures")


if __name__ == "__main__":
    main()
