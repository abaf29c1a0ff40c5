"""Maps that are off on purpose, and the matches in them."""

from __future__ import annotations

import numpy as np

from patchsim.engines import Bounds
from patchsim.geometry.tiles import Tile
from patchsim.matches import nms
from patchsim.ranking.score_map import ScoreMap


def field(scores, kernel=(3, 3), stride=(1, 1), error=0.0, seed=0, *, whole=False):
    """A field whose map is off by up to `error`, and which knows the truth cell by cell.

    With `whole` also of a block at once.
    """
    scores = np.asarray(scores, dtype=float)
    asked, blocks = [], []

    def exact(y, x):
        asked.extend(zip(y.tolist(), x.tolist(), strict=True))
        return scores[y // stride[0], x // stride[1]]

    def several(wanted):
        for tile in wanted:
            blocks.append(tile)
            yield tile, Bounds(scores[tile.index])

    made = ScoreMap(
        scores.shape,
        kernel,
        stride,
        exact,
        evaluate_blocks=several if whole else None,
        keeps_map=True,
    )
    made.asked, made.asked_blocks = asked, blocks
    noise = np.random.default_rng(seed).uniform(-1, 1, scores.shape) * error
    made.put(Tile(0, 0, *scores.shape), Bounds(scores + noise, error))
    return made


def found(fields, top=None, threshold=None, overlap=0.3, origins=None):
    origins = origins or [(0, 0)] * len(fields)
    peaks_found = nms.resolve(fields, origins, top=top, threshold=threshold, overlap=overlap)
    sizes = [f.kernel for f in fields]
    return [(p.x, p.y, *sizes[p.index][::-1], p.score, p.index) for p in peaks_found]
