"""Scores of the engine `cuda` without a card: its kernel on the CPU, in Triton's interpreter.

A process of its own, since Triton decides when it is imported whether it compiles: it reads
pickled lists of (rows, group, kernel, problem, weights, image) from stdin and writes for each one
of (map, error).
"""

from __future__ import annotations

import os

import numpy as np
from helpers.interpreter import serve

os.environ["TRITON_INTERPRET"] = "1"

from patchsim.engines import cuda
from patchsim.engines.cuda.config import Config


def bounds_of(cases):
    found = []
    for rows, group, kernel, problem, weights, image in cases:
        config = Config(rows, 32, group, 1)
        with np.errstate(all="ignore"):  # a card does not warn
            bounds = cuda.prepare(kernel, problem, weights, config)(image)
        found.append((bounds.map, bounds.error))
    return found


if __name__ == "__main__":
    serve(bounds_of)
