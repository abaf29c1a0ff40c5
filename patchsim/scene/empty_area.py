"""Whether an empty area reaches the threshold, so that matches may be places without the kernel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from patchsim.errors import printable

_NAMED = 2  # kernels that the notice names
_NOT_EXCEEDED = "does not exceed what an empty area of"


def threshold_notices(
    threshold: float | None,
    empty_scores: Sequence[float],
    flat_kernels: Sequence[bool],
    names: Sequence[str],
) -> Iterator[str]:
    """Yield a notice if a threshold does not exceed what empty areas score.

    Parameters
    ----------
    threshold : float or None
        A threshold of 0 or less asks for every window, so that nothing is said of it.
    empty_scores : sequence of float
        The score of each kernel in an area of its mean colour.
    flat_kernels : sequence of bool
        Whether each kernel has a single colour; such kernels have a notice of their own.
    names : sequence of str
        The names of the kernels.
    """
    if threshold is None or threshold <= 0:
        return
    kernels = zip(empty_scores, names, flat_kernels, strict=True)
    reaching = [(score, name) for score, name, flat in kernels if score >= threshold and not flat]
    if not reaching:
        return
    whose = "the kernel's mean colour"
    if len(names) > 1:
        listed = ", ".join(printable(name) for _, name in reaching[:_NAMED])
        more = len(reaching) - _NAMED
        whose = f"the mean colour of {listed}" + (f" and {more} more" if more > 0 else "")
    highest = max(score for score, _ in reaching)
    yield (
        f"threshold {threshold:.10g} {_NOT_EXCEEDED} {whose} scores"
        f" ({highest:.4g});\n"
        f"give {'' if threshold >= 1 else 'a higher one, '}--threshold auto (threshold='auto')"
        " or --metric zncc (metric='zncc')"
    )


def is_reached(message: str) -> bool:
    """Return whether a message is one of `threshold_notices`."""
    return _NOT_EXCEEDED in message
