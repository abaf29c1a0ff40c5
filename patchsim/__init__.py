"""Find a small picture in a big one: exact sliding image similarity.

`match` searches pictures, `similarity_map` is the same comparison as a differentiable layer. Names
are loaded on first use, so that importing patchsim costs nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # `typing` takes longer to load than all else here
if TYPE_CHECKING:
    from typing import Any

    from patchsim.cluster.client import Cluster
    from patchsim.errors import InputError, MachineError, OutputError, PatchsimError
    from patchsim.events import Observer
    from patchsim.matching.match import match
    from patchsim.matching.matcher import Matcher
    from patchsim.matching.waiting import wait
    from patchsim.output.report import Report
    from patchsim.output.report_parts import Match
    from patchsim.scanning.records import ScanResult
    from patchsim.scanning.scanner import scan
    from patchsim.similarity import similarity_map
    from patchsim.slots.losses import (
        match_slots,
        matching_contrastive_loss,
        matching_contrastive_loss_per_img,
        matching_similarity_loss_per_img,
        matching_similarity_loss_small_to_large,
        stack_views,
    )
    from patchsim.slots.references import collapsed, orthogonal

__version__ = "0.1.0"

_HOMES = {
    "Cluster": "cluster.client",
    "InputError": "errors",
    "MachineError": "errors",
    "Match": "output.report_parts",
    "Observer": "events",
    "OutputError": "errors",
    "PatchsimError": "errors",
    "Report": "output.report",
    "ScanResult": "scanning.records",
    "Matcher": "matching.matcher",
    "match": "matching.match",
    "wait": "matching.waiting",
    "scan": "scanning.scanner",
    "similarity_map": "similarity",
    "collapsed": "slots.references",
    "match_slots": "slots.losses",
    "matching_contrastive_loss": "slots.losses",
    "matching_contrastive_loss_per_img": "slots.losses",
    "matching_similarity_loss_per_img": "slots.losses",
    "matching_similarity_loss_small_to_large": "slots.losses",
    "orthogonal": "slots.references",
    "stack_views": "slots.losses",
}

__all__ = [
    "Cluster",
    "InputError",
    "MachineError",
    "Match",
    "Matcher",
    "Observer",
    "OutputError",
    "PatchsimError",
    "Report",
    "ScanResult",
    "collapsed",
    "match",
    "match_slots",
    "matching_contrastive_loss",
    "matching_contrastive_loss_per_img",
    "matching_similarity_loss_per_img",
    "matching_similarity_loss_small_to_large",
    "orthogonal",
    "scan",
    "similarity_map",
    "stack_views",
    "wait",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(f"patchsim.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES} - {"TYPE_CHECKING", "annotations"})
