"""A table of the engines: the cost of each, or why it refuses."""

from __future__ import annotations

from collections.abc import Sequence

from patchsim.planning.candidates import Candidate, duration

_TITLES = ("engine", "device", "time", "why")


def lines(chosen: Candidate, candidates: Sequence[Candidate]) -> list[str]:
    """Return the lines of a table of the candidates of a plan, the chosen one among them.

    Parameters
    ----------
    chosen : Candidate
        The one that does the work, maybe with fewer kernels at a time than was considered.
    candidates : sequence of Candidate
    """
    rows = [_TITLES]
    for one in candidates:
        time = "-" if one.refusal is not None else duration(one.seconds)
        rows.append((one.engine, one.problem.device, time, _why(one, chosen, len(candidates))))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_TITLES) - 1)]
    return [
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1]])
        for row in rows
    ]


def _why(one: Candidate, chosen: Candidate, count: int) -> str:
    """Say why an engine was chosen, or was not."""
    if one.refusal is not None:
        return one.refusal
    if (one.engine, one.problem.device) == (chosen.engine, chosen.problem.device):
        return "chosen: " + ("it is the only one" if count == 1 else "the fastest that can do it")
    ratio = one.seconds / chosen.seconds if chosen.seconds > 0 else 1.0
    if ratio < 1:
        return "it is faster, but the memory does not suffice"
    return f"{ratio:.2g} times as long" if ratio < 100 else f"{ratio:,.0f} times as long"
