"""The time of `ssd`, `ncc` and `zncc` beside their nearest relatives in other programs."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from comparison.cases import FULL_HD, SMALL, UHD, Case
from comparison.contestants import corrmatch, opencv, patchsim, pyvips, scikit_image
from comparison.timing import Result, race

CASES = [Case(*SMALL, 32, channels=1), Case(*FULL_HD, 64), Case(*UHD, 128)]


def run(case: Case) -> list[Result]:
    image, kernel = case.pictures()
    results = []
    for metric, modes in (
        ("ssd", ["TM_SQDIFF_NORMED", "TM_SQDIFF"]),
        ("ncc", ["TM_CCORR", "TM_CCORR_NORMED"]),
        ("zncc", ["TM_CCOEFF", "TM_CCOEFF_NORMED"]),
    ):
        search = functools.partial(patchsim, image, kernel, map=True, metric=metric)
        contestants: dict[str, Callable[[], Any]] = {
            f"patchsim {metric}": search,
            f"patchsim {metric}, map within 0.02": functools.partial(search, tolerance=0.02),
        }
        if metric == "ssd":
            contestants["patchsim ssd, best match only"] = lambda: patchsim(
                image, kernel, metric="ssd"
            )
        if metric == "zncc":
            contestants["scikit-image match_template"] = lambda: scikit_image(image, kernel)
        if case.channels == 1 and metric != "ncc":
            contestants[f"corrmatch {metric}"] = functools.partial(corrmatch, image, kernel, metric)
            method = "fastcor" if metric == "ssd" else "spcor"
            contestants[f"pyvips {method}"] = functools.partial(pyvips, image, kernel, method)
        for mode in modes:
            contestants[f"OpenCV {mode}"] = functools.partial(opencv, image, kernel, mode)
        results += race(metric, case, contestants)
    return results
