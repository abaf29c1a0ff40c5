"""The ways to compute scores, one module or package each, and the contract that all keep.

A new engine is a new module here with the names of `contract.Engine`, and its name in
`choices.ENGINES`. Importing an engine must be cheap: what it needs to run (torch) it imports in
`prepare`.

The room uses `metrics`, `numerics`, `machine`, `geometry` and what lies below; an engine knows
nothing of plans, files or progress. Others use the names of the contract and `load`.
"""

from patchsim.engines.contract import (
    REMOVED,
    BlockBounds,
    Bounds,
    Engine,
    Finder,
    Look,
    LowerBounds,
    MapEngine,
    Scorer,
    Search,
    SearchEngine,
    Seen,
    SharedScorer,
    SharedTileScorer,
    SharingEngine,
    TileScorer,
    can_share,
    has_map,
    is_search,
)
from patchsim.engines.loading import load
from patchsim.engines.problem import Problem, Reading

__all__ = [
    "REMOVED",
    "BlockBounds",
    "Bounds",
    "Engine",
    "Finder",
    "Look",
    "LowerBounds",
    "MapEngine",
    "Problem",
    "Reading",
    "Scorer",
    "Search",
    "SearchEngine",
    "Seen",
    "SharedScorer",
    "SharedTileScorer",
    "SharingEngine",
    "TileScorer",
    "can_share",
    "has_map",
    "is_search",
    "load",
]
