"""How often `threshold="auto"` is right, and what kernels that are not there score, on photographs.

Kernels are patches of one photograph, of 16 to 64 pixels. In another nothing should be
found; where they are planted in it, once or several times, with noise or as a JPEG, all places and
no others; and in their own photograph, with noise or as a JPEG, the one place. The last lines
say what the best place in another photograph scores by each metric, and what an empty area does.

    python benchmarks/threshold.py [PAIRS]
"""

from __future__ import annotations

import io
import sys
from collections import defaultdict
from typing import Any

import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from patchsim import choices, match

NAMES = [
    "astronaut", "brick", "camera", "cat", "cell", "clock", "coffee", "coins", "grass", "gravel",
    "hubble_deep_field", "immunohistochemistry", "moon", "page", "retina", "rocket",
]  # fmt: skip
SIZES = [16, 24, 32, 48, 64]
MOST_TRIES = 200
LEAST_CONTRAST = 10  # standard deviation of a kernel; without texture any place is like another

Pixels = NDArray[np.uint8]
Places = set[tuple[int, int]]


def photograph(name: str) -> Pixels:
    picture = Image.fromarray(getattr(skimage.data, name)()).convert("L")
    left, top = max(0, picture.width - 512) // 2, max(0, picture.height - 512) // 2
    right, bottom = min(picture.width, left + 512), min(picture.height, top + 512)
    return np.asarray(picture.crop((left, top, right, bottom)))


def worn(pixels: Pixels, random: np.random.Generator) -> Pixels:
    """With noise, or as a JPEG."""
    if random.random() < 0.5:
        seen = pixels + random.normal(0, random.choice([2, 5]), pixels.shape)
        return np.clip(np.rint(seen), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=int(random.choice([90, 75])))
    return np.asarray(Image.open(file))


def patch(pixels: Pixels, size: int, random: np.random.Generator) -> tuple[int, int, Pixels] | None:
    """Where it lies, and itself; none of a photograph without texture."""
    for _ in range(MOST_TRIES):
        y = int(random.integers(pixels.shape[0] - size + 1))
        x = int(random.integers(pixels.shape[1] - size + 1))
        found = pixels[y : y + size, x : x + size]
        if found.std() >= LEAST_CONTRAST:
            return x, y, found
    return None


def planted(pixels: Pixels, kernel: Pixels, random: np.random.Generator) -> tuple[Pixels, Places]:
    size, image = len(kernel), pixels.copy()
    places: Places = set()
    for _ in range(int(random.choice([1, 1, 2, 3, 6]))):
        y = int(random.integers(pixels.shape[0] - size + 1))
        x = int(random.integers(pixels.shape[1] - size + 1))
        if all(abs(x - left) >= size or abs(y - top) >= size for left, top in places):
            image[y : y + size, x : x + size] = kernel
            places.add((x, y))
    return image, places


def outcome(image: Pixels, kernel: Pixels, metric: str, places: Places) -> str:
    report = match(image, kernel, metric=metric, threshold="auto", margin=False)
    near = [
        {place for place in places if max(abs(m.x - place[0]), abs(m.y - place[1])) <= 3}
        for m in report.matches
    ]
    if not all(near):
        return "also elsewhere"
    found = set().union(*near)
    return "right" if found == places else "some missed" if found else "nothing"


def absent_scores(image: Pixels, kernel: Pixels, metric: str) -> tuple[float, float]:
    """Return what the best place scores, and what an area of the kernel's mean does."""
    report = match(image, kernel, metric=metric, top=1, margin=False)
    return report[0].score, report.kernels[0].empty_score


def main() -> None:
    pairs = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    random = np.random.default_rng(0)
    pictures = {name: photograph(name) for name in NAMES}
    counts: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
    absent: dict[str, list[tuple[float, float]]] = defaultdict(list)
    done = 0
    while done < pairs:
        own, other = (pictures[name] for name in random.choice(NAMES, 2, replace=False))
        part = patch(own, int(random.choice(SIZES)), random)
        if part is None:
            continue
        done += 1
        x, y, kernel = part
        image, places = planted(other, kernel, random)
        cases: dict[str, tuple[Pixels, Any]] = {
            "not there": (other, set()),
            "planted": (worn(image, random), places),
            "in its own photograph": (worn(own, random), {(x, y)}),
        }
        for metric in choices.METRICS:
            absent[metric].append(absent_scores(other, kernel, metric))
            for case, (searched, truth) in cases.items():
                counts[case, metric][outcome(searched, kernel, metric, truth)] += 1
    print(f"{pairs} kernels each")
    for (case, metric), found in sorted(counts.items()):
        shares = ", ".join(f"{name} {found[name] / pairs:.1%}" for name in sorted(found))
        print(f"{case:22} {metric:5} {shares}")
    print("of kernels that are not there, the scores of the lowest 10%, half and 90%")
    for metric, scores in absent.items():
        for column, name in enumerate(("best place", "empty area")):
            ranks = np.quantile([pair[column] for pair in scores], [0.1, 0.5, 0.9])
            shown = ", ".join(f"{score:.3f}" for score in ranks)
            print(f"{name:22} {metric:5} {shown}")


if __name__ == "__main__":
    main()
