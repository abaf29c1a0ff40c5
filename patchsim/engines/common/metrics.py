"""Which metrics an engine computes."""

from __future__ import annotations

from patchsim.choices import ENGINE_METRICS


def refused_metric(engine: str, metric: str) -> str | None:
    """Return why an engine of `ENGINE_METRICS` cannot compute a metric, or None if it can."""
    computed = ENGINE_METRICS[engine]
    return None if metric in computed else f"it computes {' and '.join(computed)}, not {metric}"
