"""A plot of time over the kernel's size."""

from __future__ import annotations

from pathlib import Path

from comparison.timing import Result


def draw(results: list[Result], path: Path) -> None:
    """Draw the times of `sad` in photographs of 2160x3840 pixels, if there are any."""
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
