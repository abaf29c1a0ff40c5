"""How a score is written: rounded down, so that only what is 1 reads as 1."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal

DECIMALS = 6


def rounded_down(score: float, decimals: int = DECIMALS) -> Decimal:
    """Round the number that is written for a float down."""
    return Decimal(repr(float(score))).quantize(Decimal(1).scaleb(-decimals), ROUND_FLOOR)


def told(score: float, decimals: int = DECIMALS) -> str:
    """Return a score as messages have it, like the rows of results, without zeros at the end."""
    return f"{float(rounded_down(score, decimals)):.10g}"
