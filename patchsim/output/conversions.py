"""Matches in the forms of other packages: pandas, COCO, scikit-image, napari."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import InputError
from patchsim.output import columns
from patchsim.output.report_parts import Match, box

if TYPE_CHECKING:
    from pandas import DataFrame


def to_pandas(matches: Sequence[Match], keys: Sequence[str]) -> DataFrame:
    """Return matches as a table with these keys as columns."""
    try:
        import pandas
    except ModuleNotFoundError:
        raise InputError(
            "to_pandas needs pandas, which is not installed; pip install pandas"
        ) from None
    return pandas.DataFrame(columns.objects(matches, keys), columns=list(keys))


def to_coco(
    matches: Iterable[Match], kernels: Iterable[str], image_id: int
) -> dict[str, list[dict[str, Any]]]:
    """Return matches as detections of COCO, and the names of all kernels as its categories."""
    names = dict.fromkeys(kernels)
    numbers = {name: number for number, name in enumerate(names, 1)}
    annotations = [
        {
            "image_id": image_id,
            "category_id": numbers[match.kernel],
            "bbox": [match.x, match.y, match.width, match.height],
            "score": match.score,
        }
        for match in matches
    ]
    categories = [{"id": number, "name": name} for name, number in numbers.items()]
    return {"annotations": annotations, "categories": categories}


def row_col(matches: Iterable[Match]) -> NDArray[np.int64]:
    """Return the rows and columns of the top-left pixels [N, 2]."""
    return np.array([(m.y, m.x) for m in matches], np.int64).reshape(-1, 2)


def row_col_rectangles(matches: Iterable[Match]) -> NDArray[np.float64]:
    """Return the rows and columns of the centres of the corner pixels [N, 4, 2]."""
    corners = [m.corners or box(m) for m in matches]
    edges: NDArray[np.float64] = np.array(corners, np.float64).reshape(-1, 4, 2)
    # Each corner moves half a pixel inwards along both sides. Then all move by half a pixel,
    # because napari has the centres of pixels at whole numbers.
    ahead, back = np.roll(edges, -1, 1) - edges, np.roll(edges, 1, 1) - edges
    for side in (ahead, back):
        edges += side / np.linalg.norm(side, axis=2, keepdims=True) / 2
    return edges[..., ::-1] - 0.5
