"""Times the slot-matching loss beside a plain loop over images, forward and backward.

Run it as ``python benchmarks/slots.py``. Values and gradients are compared before anything is
timed; the two run in turn; medians and ratios are printed, and by how much memory grows.
"""

from __future__ import annotations

import platform
import resource
import statistics
import time
from collections.abc import Callable

import scipy
import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from patchsim import matching_contrastive_loss, matching_similarity_loss_per_img
from patchsim.machine import devices

SHAPES = [(2 * 1024, 11, 256), (2 * 4096, 16, 64)]
CONTRASTIVE_SHAPES = [(2 * 256, 8, 64), (2 * 512, 8, 64), (2 * 1024, 8, 64)]
ROUNDS = 9

# The gradient of p[i] is as large as p: with more images the indexed loop takes minutes.
INDEXING_IS_BEARABLE = 2 * 1024


def plain_loop(f: Tensor, p: Tensor) -> Tensor:
    """The loss image by image, as it is commonly written."""
    f = torch.nn.functional.normalize(f.detach(), dim=-1)
    p = torch.nn.functional.normalize(p, dim=-1)
    images = len(f) // 2
    losses = []
    for i in range(images):
        rows, columns = linear_sum_assignment((f[i] @ f[i + images].T).numpy(), maximize=True)
        losses.append((1 - (p[i, rows] * f[i + images, columns]).sum(-1)) / 2)
        losses.append((1 - (p[i + images, columns] * f[i, rows]).sum(-1)) / 2)
    return torch.cat(losses).mean()


def unbound_loop(f: Tensor, p: Tensor) -> Tensor:
    """The same over the images of `unbind`, whose gradients are not each as large as all of p."""
    f = torch.nn.functional.normalize(f.detach(), dim=-1)
    p = torch.nn.functional.normalize(p, dim=-1)
    images = len(f) // 2
    losses = []
    for f1, f2, p1, p2 in zip(f[:images], f[images:], p[:images], p[images:], strict=True):
        rows, columns = linear_sum_assignment((f1 @ f2.T).numpy(), maximize=True)
        losses.append((1 - (p1[rows] * f2[columns]).sum(-1)) / 2)
        losses.append((1 - (p2[columns] * f1[rows]).sum(-1)) / 2)
    return torch.cat(losses).mean()


def step(loss: Callable[[Tensor, Tensor], Tensor], f: Tensor, p: Tensor) -> tuple[float, Tensor]:
    """Value and gradient."""
    p = p.detach().requires_grad_()
    value = loss(f, p)
    value.backward()  # type: ignore[no-untyped-call]
    assert p.grad is not None
    return value.item(), p.grad


def main() -> None:
    print(f"{platform.platform()}, {devices.cpu_count()} CPUs")
    print(
        f"Python {platform.python_version()}, torch {torch.__version__}, scipy {scipy.__version__}"
    )
    # First, while no other work has raised the peak.
    print("\ncontrastive over all pairs, forward and backward")
    for shape in CONTRASTIVE_SHAPES:
        slots = torch.randn(shape, generator=torch.Generator().manual_seed(0)).requires_grad_()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start = time.perf_counter()
        matching_contrastive_loss(slots).backward()  # type: ignore[no-untyped-call]
        took = time.perf_counter() - start
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
        pairs = (shape[0] * shape[1]) ** 2 * 4 / 1e6
        print(
            f"  {list(shape)}: {took * 1e3:7.1f} ms, peak grew by {grown / 1e3:.0f} MB"
            f" (the matrix of all pairs has {pairs:.0f} MB)"
        )
    for shape in SHAPES:
        generator = torch.Generator().manual_seed(0)
        f = torch.randn(shape, generator=generator)
        p = torch.randn(shape, generator=generator)
        rivals = {"patchsim": matching_similarity_loss_per_img, "loop, unbound": unbound_loop}
        if shape[0] <= INDEXING_IS_BEARABLE:
            rivals["loop, indexed"] = plain_loop
        answers = {name: step(loss, f, p) for name, loss in rivals.items()}
        for answer in answers.values():
            torch.testing.assert_close(answer, answers["patchsim"], rtol=1e-4, atol=1e-6)
        times: dict[str, list[float]] = {name: [] for name in rivals}
        for _ in range(ROUNDS):
            for name, loss in rivals.items():
                start = time.perf_counter()
                step(loss, f, p)
                times[name].append(time.perf_counter() - start)
        medians = {name: statistics.median(found) for name, found in times.items()}
        print(f"\nsimilarity, forward and backward, {list(shape)}")
        for name, median in medians.items():
            print(f"  {name:14}{median * 1e3:9.1f} ms  {median / medians['patchsim']:6.2f} x")


if __name__ == "__main__":
    main()
