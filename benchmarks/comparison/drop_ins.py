"""The time of each drop-in of `patchsim.compat` beside the library whose calls it answers."""

from __future__ import annotations

import cv2
import numpy as np
import skimage.feature

from comparison.cases import FULL_HD, SMALL, Case
from comparison.timing import Result, race
from patchsim.compat import mtm, opencv, pyscreeze
from patchsim.compat import skimage as ours

METHODS = ["TM_SQDIFF_NORMED", "TM_CCORR", "TM_CCORR_NORMED", "TM_CCOEFF", "TM_CCOEFF_NORMED"]
CASES = [Case(*SMALL, 32, channels=1), Case(*FULL_HD, 64, channels=1), Case(*FULL_HD, 64)]


def run(case: Case) -> list[Result]:
    # Their imports leave files open, or load what no other question needs.
    import MTM
    import pyscreeze as screeze

    image, kernel = (picture.squeeze() for picture in case.pictures())
    results = []
    for name in METHODS:
        method = getattr(cv2, name)

        def place(scores: np.ndarray, method: int = method) -> list[int]:
            best = scores.argmin() if method < cv2.TM_CCORR else scores.argmax()
            return [int(value) for value in np.unravel_index(best, scores.shape)]

        contestants = {
            f"patchsim {name}": lambda m=method: place(opencv.matchTemplate(image, kernel, m), m),
            f"OpenCV {name}": lambda m=method: place(cv2.matchTemplate(image, kernel, m), m),
        }
        results += race("drop-in for OpenCV", case, contestants)
    results += race(
        "drop-in for PyScreeze",
        case,
        {
            "patchsim locate": lambda: pyscreeze.locate(kernel, image, confidence=0.9),
            "PyScreeze locate": lambda: screeze.locate(kernel, image, confidence=0.9),
        },
    )
    results += race(
        "drop-in for Multi-Template-Matching",
        case,
        {
            "patchsim matchTemplates": lambda: mtm.matchTemplates([("", kernel)], image)[0][1],
            "MTM matchTemplates": lambda: MTM.matchTemplates([("", kernel)], image)[0][1],
        },
    )
    if case.channels == 1:
        results += race(
            "drop-in for scikit-image",
            case,
            {
                "patchsim match_template": lambda: ours.match_template(image, kernel).argmax(),
                "scikit-image match_template": lambda: skimage.feature.match_template(
                    image, kernel
                ).argmax(),
            },
        )
    return results
