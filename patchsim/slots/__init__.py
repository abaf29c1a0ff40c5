"""Losses between matched slots of two views: similarity, contrastive, small to large crops.

Features are [2B, S, C]: B images in two views of S slots each, first the B first views, then the B
second views, so that image i is in rows i and i + B. `stack_views` makes them from [B, 2, S, C].

All functions compute where the tensors are, in float32 or, for float64 features, float64; float16
and bfloat16 are widened. A vector of zeros has cosine 0 with everything, and gradient 0.

The room of slot losses: it may use `output` and what lies below. Others use the losses here, which
stand in `losses` and `references`; `evaluate.score` for files of features; `records` to print its
results; and `affinity` to draw them.
"""

from __future__ import annotations

from patchsim.slots.losses import (
    match_slots,
    matching_contrastive_loss,
    matching_contrastive_loss_per_img,
    matching_similarity_loss_per_img,
    matching_similarity_loss_small_to_large,
    stack_views,
)
from patchsim.slots.references import collapsed, orthogonal

__all__ = [
    "collapsed",
    "match_slots",
    "matching_contrastive_loss",
    "matching_contrastive_loss_per_img",
    "matching_similarity_loss_per_img",
    "matching_similarity_loss_small_to_large",
    "orthogonal",
    "stack_views",
]
