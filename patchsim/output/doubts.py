"""Whether the best places of a search without a threshold look as if the kernel were not there.

150 kernels of 16 to 64 pixels were searched for in another photograph, and in their own after noise
or JPEG. Of those that were not there 71% (`zncc`), 88% (`ssd`, `ncc`) and 95% (`sad`) are doubted,
of the others none in 600 searches (`benchmarks/threshold.py` has the pictures).
"""

from __future__ import annotations

from itertools import pairwise

from patchsim.errors import printable
from patchsim.metrics.written import told
from patchsim.output.report import Report

# Scores stand out if the next one differs from 1 by so many times as much.
_APART = 1.2
# A match that goes so far from an empty area to an identical window is not doubted. Copies of a
# thing that is there score alike, too.
_SURE = 0.8
# Smaller differences from 1 count as identical.
_IDENTICAL = 1e-4
# Decimals of the scores that the line tells.
_DECIMALS = 4


def doubt(report: Report) -> str | None:
    """Return why the kernel may not be in the image, as a hint of one or two lines, or None.

    Parameters
    ----------
    report : Report
        That of a search without a threshold.
    """
    best = report.best
    if best is None:
        return None
    empty = next(one.empty_score for one in report.kernels if one.name == best.kernel)
    advice = "it may not be there; --threshold auto asks whether a place stands out"
    kernel = printable(best.kernel)
    if best.score <= empty < 1:
        return (
            f"{kernel} scores {told(best.score, _DECIMALS)} at best, no more than an empty area of"
            f" its mean colour ({told(empty, _DECIMALS)});\n{advice}"
        )
    scores = sorted((match.score for match in report), reverse=True)
    margins = [match.margin for match in report if match.score == scores[-1]]
    if margins[0] is not None:
        scores.append(scores[-1] - margins[0])
    differences = [max(1 - score, _IDENTICAL) for score in scores]
    stands_out = any(after >= _APART * before for before, after in pairwise(differences))
    is_sure = 1 - best.score <= (1 - _SURE) * max(1 - empty, _IDENTICAL)
    if len(scores) < 2 or stands_out or is_sure:
        return None
    highest, lowest = (told(score, _DECIMALS) for score in (scores[0], scores[-1]))
    return (
        f"the {len(scores)} best places score alike, {highest} to {lowest}, so none stands out as"
        f" {kernel};\n{advice}"
    )
