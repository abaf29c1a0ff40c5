"""Times patchsim beside what people use today; answers are compared before anything is timed.

Run it as ``python benchmarks/compare.py``, with the extra ``bench`` installed. ``--only TEXT`` runs
the cases whose question or name contains TEXT; the questions are the names in `QUESTIONS`.
``--quick`` leaves out the large pictures. The tables are printed, and ``compare.json`` and
``compare.png`` (time over the kernel's size) are written into the folder ``--out``.

Contestants run in turn, round by round, so that a machine that changes its speed changes it for
all. Medians and ratios are printed. A contestant that finds another place than patchsim's exact
search is marked with *, because it computes something else.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from types import ModuleType

from comparison import (
    best_match_wide,
    drop_ins,
    float32,
    many_kernels,
    other_metrics,
    plot,
    process,
    psadbw_share,
    sad,
    small_float32,
    timing,
)
from comparison.cases import FULL_HD, Case

QUESTIONS = {
    "small float32": small_float32,
    "sad": sad,
    "other metrics": other_metrics,
    "psadbw share": psadbw_share,
    "float32": float32,
    "best match wide": best_match_wide,
    "process": process,
    "many kernels": many_kernels,
    "drop-ins": drop_ins,
}


def cases(arguments: argparse.Namespace) -> Iterator[tuple[ModuleType, Case]]:
    """Choose the cases, each with the module of its question."""
    for name, question in QUESTIONS.items():
        for case in question.CASES:
            if arguments.quick and case.height > FULL_HD[0]:
                continue
            if arguments.only in f"{name} {case}":
                yield question, case


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--quick", action="store_true", help="leave out 2160x3840")
    parser.add_argument("--only", default="", metavar="TEXT", help="cases whose names contain it")
    parser.add_argument("--out", type=Path, default=Path(), metavar="FOLDER")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    print(timing.machine())
    print(", ".join(f"{name} {version}" for name, version in timing.versions().items()))
    results = [result for question, case in cases(arguments) for result in question.run(case)]
    record = {
        "machine": timing.machine(),
        "versions": timing.versions(),
        "rounds": timing.ROUNDS,
        "results": [asdict(result) for result in results],
    }
    (arguments.out / "compare.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    plot.draw(results, arguments.out / "compare.png")


if __name__ == "__main__":
    main()
