"""Times the engine `cuda` on the card here, beside the card's limit and the engine `unfold`.

Run it as ``python benchmarks/gpu.py``. Sums are compared before they are timed: those of `unfold`
on the card, over a part of the map. The limit is what the card's lanes can issue if nothing but
differences took an instruction: two for a float, one for four bytes.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
import triton
from triton.testing import do_bench

from patchsim import tiles
from patchsim.engines import cuda_sums, unfold

LANES = 128  # of a multiprocessor, for float32
UHD, FULL_HD = (2160, 3840), (1080, 1920)


@dataclass(frozen=True)
class Case:
    """A search; every value is random."""

    dtype: torch.dtype
    side: tuple[int, int]
    kernel: int
    channels: int = 3
    stride: int = 1
    squared: bool = False

    @property
    def differences(self) -> int:
        rows, cols = tiles.map_shape(self.side, (self.kernel,) * 2, (self.stride,) * 2)
        return rows * cols * self.kernel**2 * self.channels

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Image and kernel, [1, C, H, W]."""
        made = [
            torch.rand((1, self.channels, *sides), device="cuda")
            for sides in (self.side, (self.kernel,) * 2)
        ]
        if self.dtype == torch.uint8:
            return (made[0] * 256).to(torch.uint8), (made[1] * 256).to(torch.uint8)
        return made[0].to(self.dtype), made[1].to(self.dtype)


CASES = [
    Case(torch.float32, UHD, 128),
    Case(torch.uint8, UHD, 128),
    Case(torch.float32, UHD, 128, squared=True),
    Case(torch.uint8, UHD, 128, squared=True),
    Case(torch.float32, FULL_HD, 64),
    Case(torch.uint8, FULL_HD, 64),
    Case(torch.uint8, FULL_HD, 64, stride=2),
    Case(torch.float32, FULL_HD, 16),
    Case(torch.uint8, FULL_HD, 16),
    Case(torch.uint8, FULL_HD, 900),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rep", type=int, default=200, help="milliseconds to repeat each for")
    rep = parser.parse_args().rep
    if not torch.cuda.is_available():
        print("torch sees no card", file=sys.stderr)
        return 3
    name, clock = card()
    count = torch.cuda.get_device_properties(0).multi_processor_count
    issued = count * LANES * clock
    print(f"{name}: {count} multiprocessors, {clock / 1e9:.2f} GHz at the most")
    print(f"Python {platform.python_version()}, torch {torch.__version__}, triton", end=" ")
    print(triton.__version__)
    print(
        "type     metric  image      kernel   stride  ms        T/s     of the limit  configuration"
    )
    for case in CASES:
        image, kernel = case.tensors()
        stride = case.stride, case.stride
        taps = cuda_sums.taps(kernel, stride, squared=case.squared)
        check(image, kernel, taps)
        spent = milliseconds(lambda: cuda_sums.difference_sums(image, taps), rep)  # noqa: B023
        rate = case.differences / spent * 1e3
        limit = issued * 4 if case.dtype == torch.uint8 else issued / 2
        limit /= 2 if case.dtype == torch.uint8 and case.squared else 1
        print(
            f"{str(case.dtype)[6:]:8} {'ssd' if case.squared else 'sad':7}"
            f" {case.side[1]}x{case.side[0]:<5} {case.kernel:>3}x{case.kernel}x{case.channels:<3}"
            f" {case.stride:<6} {spent:9.3f} {rate / 1e12:7.2f} {rate / limit:8.1%}"
            f"       {cuda_sums.chosen(image, taps)}"
        )
    return 0


def card() -> tuple[str, float]:
    """Name and largest clock, in Hz."""
    query = ["nvidia-smi", "--query-gpu=name,clocks.max.sm", "--format=csv,noheader,nounits"]
    first = subprocess.run(query, capture_output=True, text=True, check=True).stdout.splitlines()[0]
    name, clock = first.rsplit(",", 1)
    return name, float(clock) * 1e6


def check(image: torch.Tensor, kernel: torch.Tensor, taps: cuda_sums.Taps) -> None:
    """Some rows of windows, with sums that share no code with these."""
    rows = min(image.shape[-2], taps.size[1] + 20)
    part = image[..., :rows, : taps.size[2] + 200]
    found = cuda_sums.difference_sums(part, taps)[0, 0]
    if taps.kind.squared:
        windows = part[0].double().unfold(1, taps.size[1], taps.stride[0])
        windows = windows.unfold(2, taps.size[2], taps.stride[1])
        taken = windows[:, :2, :2]
        true = (taken - kernel[0].double()[:, None, None]).square().sum((0, 3, 4))
        found = found[:2, :2]
    else:
        true = unfold.difference_sums(part, kernel[0], taps.stride, 256 << 20)[0]
    if image.dtype == torch.uint8:
        assert torch.equal(found.double(), true.double()), "the sums differ"
    else:
        torch.testing.assert_close(found, true.double(), rtol=1e-5, atol=0)


def milliseconds(work: Callable[[], object], rep: int) -> float:
    spent: float = do_bench(work, warmup=25, rep=rep, return_mode="median")
    return spent


if __name__ == "__main__":
    sys.exit(main())
