"""Times the fused kernel on the card here, beside the card's limit and what people use today.

Run it as ``python benchmarks/gpu.py``, or ``--only PART``; ``--list`` names the parts. Answers are
compared before anything is timed. Times on the card are medians by CUDA events, in milliseconds;
the limit is what the card's lanes can issue if nothing but differences took an instruction: two
for a float, one for four bytes.
"""

from __future__ import annotations

import argparse
import importlib.util
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import triton
from PIL import Image
from triton.testing import do_bench

from patchsim import match, similarity_map
from patchsim.engines import unfold_tensors
from patchsim.engines.cuda import launch, planes
from patchsim.geometry import tiles

# Of a multiprocessor, for float32, by compute capability (CUDA C++ Programming Guide, "Arithmetic
# Instructions"); 128 of others. Those for integers may be half as many.
LANES = {(7, 0): 64, (7, 5): 64, (8, 0): 64}
FULL_HD, UHD, LARGE = (1080, 1920), (2160, 3840), (16384, 16384)
ENGINES = {"cuda": "cuda", "cpu": "auto"}
PROCESSES = 5
ROUNDS = 5

Work = Callable[[], object]


@dataclass(frozen=True)
class Card:
    """What it is called, and the instructions that its lanes can issue a second."""

    name: str
    issued: float

    @classmethod
    def here(cls) -> Card:
        card = torch.cuda.get_device_properties(0)
        query = ["nvidia-smi", f"--id=GPU-{card.uuid}", "--query-gpu=name,clocks.max.sm"]
        query.append("--format=csv,noheader,nounits")
        answer = subprocess.run(query, capture_output=True, text=True, check=True).stdout
        name, clock = answer.splitlines()[0].rsplit(",", 1)
        count, lanes = card.multi_processor_count, LANES.get((card.major, card.minor), 128)
        hertz = float(clock) * 1e6
        what = f"{name}: {count} multiprocessors, {hertz / 1e9:.2f} GHz at the most"
        return cls(what, count * lanes * hertz)

    def limit(self, dtype: torch.dtype, *, squared: bool) -> float:
        """Differences a second."""
        if dtype == torch.uint8:
            return self.issued * (2 if squared else 4)
        return self.issued / 2


@dataclass(frozen=True)
class Case:
    """A search; every value is random."""

    dtype: torch.dtype
    side: tuple[int, int]
    kernel: tuple[int, int]
    channels: int = 3
    stride: int = 1
    squared: bool = False

    @property
    def windows(self) -> int:
        rows, cols = tiles.map_shape(self.side, self.kernel, (self.stride,) * 2)
        return rows * cols

    @property
    def differences(self) -> int:
        return self.windows * self.kernel[0] * self.kernel[1] * self.channels

    def __str__(self) -> str:
        kind = f"{str(self.dtype)[6:]:8} {'ssd' if self.squared else 'sad':4}"
        sides = f"{self.side[1]}x{self.side[0]}", f"{self.kernel[1]}x{self.kernel[0]}"
        return f"{kind} {sides[0]:>11} {sides[1]:>8}x{self.channels} /{self.stride}"

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Image and kernel, [1, C, H, W], on the card."""
        made = [
            torch.rand((1, self.channels, *sides), device="cuda")
            for sides in (self.side, self.kernel)
        ]
        if self.dtype == torch.uint8:
            return (made[0] * 256).to(torch.uint8), (made[1] * 256).to(torch.uint8)
        return made[0].to(self.dtype), made[1].to(self.dtype)


THE_MISSION = Case(torch.float32, (101, 101), (9, 10), 1, 2)
CASES = [
    *(
        Case(dtype, *sides)
        for sides in ((FULL_HD, (64, 64)), (UHD, (128, 128)), (LARGE, (64, 64)))
        for dtype in (torch.float32, torch.uint8)
    ),
    Case(torch.float32, UHD, (128, 128), squared=True),
    Case(torch.uint8, UHD, (128, 128), squared=True),
    Case(torch.uint8, FULL_HD, (64, 64), stride=2),
    Case(torch.float32, FULL_HD, (16, 16)),
    Case(torch.uint8, FULL_HD, (16, 16)),
    Case(torch.uint8, FULL_HD, (900, 900)),
]


@dataclass(frozen=True)
class Bench:
    """What the parts share."""

    card: Card
    repeated: int  # milliseconds for each

    def milliseconds(self, work: Work) -> float:
        spent: float = do_bench(work, warmup=25, rep=self.repeated, return_mode="median")
        return spent


def sums(bench: Bench) -> None:
    """The engine's launch alone: differences a second, and their share of the limit."""
    print("what                                   ms      T/s  of the limit  configuration")
    for case in CASES:
        try:
            print(f"{case} {_launch(bench, case)}")
        except torch.cuda.OutOfMemoryError:
            print(f"{case}  does not fit the card")


def _launch(bench: Bench, case: Case) -> str:
    image, kernel = case.tensors()
    taps = planes.taps(kernel, (case.stride,) * 2, squared=case.squared)
    check_sums(image, kernel, taps)
    spent = bench.milliseconds(lambda: launch.difference_sums(image, taps))
    rate = case.differences / spent * 1e3
    share = rate / bench.card.limit(case.dtype, squared=case.squared)
    return f"{spent:9.3f} {rate / 1e12:8.2f} {share:9.1%}     {launch.chosen(image, taps)}"


def layer(bench: Bench) -> None:
    """`similarity_map` beside the loop and the unfold that it replaces, and beside conv2d."""
    print("what                                        fused     unfold       loop     conv2d (ms)")
    for case in (THE_MISSION, largest_unfolded(), Case(torch.float32, FULL_HD, (64, 64))):
        print(f"{case} {_layer(bench, case)}")


def _layer(bench: Bench, case: Case) -> str:
    image, kernel = (one[0] for one in case.tensors())

    def fused() -> torch.Tensor:
        return similarity_map(image, kernel, case.stride)

    others: list[Callable[[], torch.Tensor] | None] = [
        unfolded(image, kernel, case.stride) if fits(case) else None,
        looped(image, kernel, case.stride) if case is THE_MISSION else None,
    ]
    for other in others:
        if other is not None:
            torch.testing.assert_close(other(), fused(), rtol=0, atol=1e-5)
    others.append(convolved(image, kernel, case.stride))
    own = bench.milliseconds(fused)
    beside = [None if one is None else bench.milliseconds(one) for one in others]
    texts = ("-" if ms is None else f"{ms:.3f} ({ms / own:.0f}x)" for ms in beside)
    return f"{own:10.3f} {' '.join(f'{text:>16}' for text in texts)}"


def gradients(bench: Bench) -> None:
    """Forward and backward, beside autograd through the unfold."""
    print("what                                  forward   backward   unfold's both (ms)")
    for case in (THE_MISSION, largest_unfolded(copies=5), Case(torch.float32, FULL_HD, (64, 64))):
        print(f"{case} {_gradients(bench, case)}")


def _gradients(bench: Bench, case: Case) -> str:
    image, kernel = (one[0].requires_grad_() for one in case.tensors())

    def fused() -> torch.Tensor:
        return similarity_map(image, kernel, case.stride)

    weights = torch.rand_like(fused().detach())

    def both(scores: Callable[[], torch.Tensor]) -> tuple[torch.Tensor, ...]:
        return torch.autograd.grad(scores(), (image, kernel), weights)

    forward = bench.milliseconds(fused)
    whole = bench.milliseconds(lambda: both(fused))
    beside = "-"
    if fits(case, copies=5):
        other = unfolded(image, kernel, case.stride)
        for one, true in zip(both(fused), both(other), strict=True):
            torch.testing.assert_close(one, true, rtol=1e-3, atol=1e-4)
        spent = bench.milliseconds(lambda: both(other))
        beside = f"{spent:.3f} ({spent / whole:.0f}x)"
    return f"{forward:9.3f} {whole - forward:10.3f} {beside:>20}"


def template(bench: Bench) -> None:
    """The metric zncc beside cuCIM's match_template, where it is installed."""
    if importlib.util.find_spec("cucim") is None or importlib.util.find_spec("cupy") is None:
        print("cuCIM and CuPy are not installed")
        return
    for size in (64, 128):
        case = Case(torch.float32, UHD, (size, size), 1)
        print(f"{case} {_template(bench, case)}")


def _template(bench: Bench, case: Case) -> str:
    import cupy
    from cucim.skimage.feature import match_template

    image, kernel = (one[0] for one in case.tensors())
    arrays = cupy.from_dlpack(image[0]), cupy.from_dlpack(kernel[0])

    def own() -> torch.Tensor:
        return similarity_map(image, kernel, metric="zncc")

    found = torch.utils.dlpack.from_dlpack(match_template(*arrays))
    torch.testing.assert_close(own(), found.float(), rtol=0, atol=1e-4)
    spent, other = (bench.milliseconds(work) for work in (own, lambda: match_template(*arrays)))
    return f"{spent:.3f} ms, cuCIM {other:.3f} ms ({other / spent:.1f}x)"


def searches(bench: Bench) -> None:
    """`match` from arrays to matches, copies included, beside the CPU."""
    print(f"what{'card':>42} {'cpu':>9} (ms, medians), on {bench.card.name}")
    rng = np.random.default_rng(0)
    for (height, width), size in ((FULL_HD, 64), (UHD, 128)):
        for dtype in (np.uint8, np.float32):
            image = rng.integers(0, 256, (height, width, 3), np.uint8)
            image = image if dtype == np.uint8 else (image / np.float32(255))
            kernel = image[300 : 300 + size, 500 : 500 + size].copy()
            times: dict[str, list[float]] = {"cuda": [], "cpu": []}
            found = {
                device: match(image, kernel, engine=engine, device=device, map=True).matches
                for device, engine in ENGINES.items()
            }
            assert found["cuda"] == found["cpu"], "the matches differ"
            for _ in range(ROUNDS):
                for device, spent in times.items():
                    start = time.perf_counter()
                    match(image, kernel, engine=ENGINES[device], device=device, map=True)
                    spent.append((time.perf_counter() - start) * 1e3)
            own, cpu = (statistics.median(spent) for spent in times.values())
            sides = f"{np.dtype(dtype).name:8} {width}x{height} {size}x{size}x3"
            print(f"{sides:36} {own:9.1f} {cpu:9.1f}  {cpu / own:.1f}x")


def processes(bench: Bench) -> None:
    """Whole processes; what of them is importing torch and making a context on the card."""
    print(f"seconds, medians of {PROCESSES}, on {bench.card.name}")
    with tempfile.TemporaryDirectory() as folder:
        rng = np.random.default_rng(0)
        image = rng.integers(0, 256, (*UHD, 3), np.uint8)
        Image.fromarray(image).save(Path(folder, "image.png"), compress_level=1)
        Image.fromarray(image[300:428, 500:628]).save(Path(folder, "kernel.png"))
        python, command = [sys.executable, "-c"], [sys.executable, "-m", "patchsim", "match"]
        command += ["image.png", "kernel.png", "--no-margin"]
        answers = [run([*command, "--device", device], folder)[1] for device in ("cuda", "cpu")]
        assert answers[0] == answers[1], "the matches differ"
        for name, words in {
            "import torch": [*python, "import torch"],
            "and a context": [*python, "import torch; torch.zeros(1, device='cuda')"],
            "patchsim match, 4K/128, cuda": [*command, "--device", "cuda", "--engine", "cuda"],
            "patchsim match, 4K/128, cpu": [*command, "--device", "cpu"],
        }.items():
            spent = statistics.median(run(words, folder)[0] for _ in range(PROCESSES))
            print(f"{name:32} {spent:6.2f} s")


def run(words: list[str], folder: str) -> tuple[float, str]:
    start = time.perf_counter()
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=True)
    return time.perf_counter() - start, done.stdout


def check_sums(image: torch.Tensor, kernel: torch.Tensor, taps: planes.Taps) -> None:
    """Some rows of windows, with sums that share no code with these."""
    rows = min(image.shape[-2], taps.size[1] + 20)
    part = image[..., :rows, : taps.size[2] + 200]
    found = launch.difference_sums(part, taps)[0, 0]
    if taps.kind.squared:
        windows = part[0].double().unfold(1, taps.size[1], taps.stride[0])
        taken = windows.unfold(2, taps.size[2], taps.stride[1])[:, :2, :2]
        true = (taken - kernel[0].double()[:, None, None]).square().sum((0, 3, 4))
        found = found[:2, :2]
    else:
        true = unfold_tensors.difference_sums(part, kernel[0], taps.stride, 256 << 20)[0]
    if image.dtype == torch.uint8:
        assert torch.equal(found.double(), true.double()), "the sums differ"
    else:
        torch.testing.assert_close(found, true.double(), rtol=1e-5, atol=0)


def unfolded(image: torch.Tensor, kernel: torch.Tensor, stride: int) -> Callable[[], torch.Tensor]:
    """The known way: all patches at once."""

    def scores() -> torch.Tensor:
        patches = image.unfold(1, kernel.shape[1], stride).unfold(2, kernel.shape[2], stride)
        return 1 - (patches - kernel[:, None, None]).abs().mean((0, 3, 4))

    return scores


def looped(image: torch.Tensor, kernel: torch.Tensor, stride: int) -> Callable[[], torch.Tensor]:
    """The plain way: patch by patch."""
    height, width = kernel.shape[1:]

    def scores() -> torch.Tensor:
        return torch.stack([
            torch.stack([
                1 - (image[:, y : y + height, x : x + width] - kernel).abs().mean()
                for x in range(0, image.shape[2] - width + 1, stride)
            ])
            for y in range(0, image.shape[1] - height + 1, stride)
        ])  # fmt: skip

    return scores


def convolved(image: torch.Tensor, kernel: torch.Tensor, stride: int) -> Callable[[], torch.Tensor]:
    """The convolution of the same shapes by cuDNN, in float32: another result, as much work."""
    return lambda: F.conv2d(image[None], kernel[None], stride=stride)


def fits(case: Case, copies: int = 2) -> bool:
    """Whether the card has room for so many copies of all patches."""
    free, _ = torch.cuda.mem_get_info()
    return case.differences * 4 * copies < free


def largest_unfolded(copies: int = 2) -> Case:
    """The largest square that the unfold fits the card with, kernels of 32x32x3."""
    free, _ = torch.cuda.mem_get_info()
    side = int((0.9 * free / (32 * 32 * 3 * 4 * copies)) ** 0.5) + 31
    return Case(torch.float32, (side, side), (32, 32))


PARTS = {part.__name__: part for part in (sums, layer, gradients, template, searches, processes)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rep", type=int, default=200, help="milliseconds to repeat each for")
    parser.add_argument("--only", choices=PARTS, action="append", help="a part; may be repeated")
    parser.add_argument("--list", action="store_true", help="name the parts")
    given = parser.parse_args()
    if given.list:
        for name, part in PARTS.items():
            print(f"{name:10} {part.__doc__}")
        return 0
    if not torch.cuda.is_available():
        print("torch sees no card", file=sys.stderr)
        return 3
    # What is compared is computed in float32 throughout.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    bench = Bench(Card.here(), given.rep)
    print(bench.card.name)
    versions = f"torch {torch.__version__} (CUDA {torch.version.cuda}), triton {triton.__version__}"
    print(f"Python {platform.python_version()}, {versions}")
    for name in given.only or PARTS:
        print(f"\n{name}: {PARTS[name].__doc__}")
        PARTS[name](bench)
    return 0


if __name__ == "__main__":
    sys.exit(main())
