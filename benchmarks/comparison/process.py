"""The time of a whole process, from PNG files to a place and a heatmap."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from comparison.cases import FULL_HD, SMALL, Case
from comparison.contestants import Place
from comparison.timing import Result, race

CASES = [Case(*SMALL, 32), Case(*FULL_HD, 64)]


_OPENCV_SCRIPT = """
import sys, cv2
image, kernel = cv2.imread(sys.argv[1]), cv2.imread(sys.argv[2])
scores = cv2.matchTemplate(image, kernel, cv2.TM_SQDIFF)
_, _, place, _ = cv2.minMaxLoc(scores)
drawn = cv2.normalize(scores, None, 255, 0, cv2.NORM_MINMAX, cv2.CV_8U)
cv2.imwrite(sys.argv[3], cv2.applyColorMap(drawn, cv2.COLORMAP_VIRIDIS))
print(*place)
"""


def run(case: Case) -> list[Result]:
    image, kernel = case.pictures()
    patchsim = str(Path(sys.executable).with_name("patchsim"))
    with tempfile.TemporaryDirectory() as folder:
        for name, pixels in (("big.png", image), ("small.png", kernel)):
            Image.fromarray(pixels.squeeze()).save(Path(folder, name))

        def patchsim_place(*options: str) -> Place:
            command = f'"{patchsim}" match big.png small.png --top 1 --no-margin -q'
            return _place(["sh", "-c", f"{command} {' '.join(options)} | tail -n 1"], folder)

        contestants: dict[str, Callable[[], Any]] = {
            "patchsim match --no-margin, heatmap": patchsim_place,
            "patchsim match --no-margin --no-heatmap": lambda: patchsim_place("--no-heatmap"),
        }
        if case.height <= 512 and shutil.which("compare"):
            contestants["ImageMagick compare -metric MAE"] = lambda: _imagemagick(folder)
        script = [sys.executable, "-c", _OPENCV_SCRIPT, "big.png", "small.png", "cv.png"]
        contestants["a script with OpenCV, heatmap"] = lambda: _place(script, folder)
        # NumPy's OpenBLAS starts a thread for each core, and these wait by spinning.
        contestants["the same with OPENBLAS_NUM_THREADS=1"] = lambda: _place(
            ["env", "OPENBLAS_NUM_THREADS=1", *script], folder
        )
        results = race("whole process", case, contestants)
        peak = _peak_memory([patchsim, "match", "big.png", "small.png", "-q"], folder)
        print(f"  patchsim match, peak memory of the process: {peak / 1e6:.0f} MB")
    return results


def _place(words: list[str], folder: str) -> Place:
    """Run a command that prints x and y first."""
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    x, y = done.stdout.split()[:2]
    return int(x), int(y)


def _imagemagick(folder: str) -> Place:
    # It exits with 1 if the best window is not identical.
    done = subprocess.run(
        ["compare", "-metric", "MAE", "-subimage-search", "big.png", "small.png", "null:"],
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    x, y = done.stderr.rsplit("@", 1)[1].split(",")
    return int(x), int(y)


def _peak_memory(words: list[str], folder: str) -> float:
    """Measure the peak memory of a command, in bytes."""
    code = (
        "import resource, subprocess, sys;"
        "subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL, check=True);"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=folder, capture_output=True, text=True, check=True
    )
    return float(done.stdout) * (1 if sys.platform == "darwin" else 1024)
