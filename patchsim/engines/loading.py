"""Loads engines by name."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from patchsim import choices
from patchsim.engines.contract import Engine, MapEngine, SearchEngine, SharingEngine

if TYPE_CHECKING:
    # Modules are imported by name, so the type checker compares them with their protocols here.
    from patchsim.engines import cuda, fft, pruned, simd, unfold

    _MAP: tuple[MapEngine, ...] = (simd, unfold)
    _SHARING: tuple[SharingEngine, ...] = (cuda, fft)
    _SEARCH: tuple[SearchEngine, ...] = (pruned,)

_loaded: dict[str, Engine] = {}


def load(name: str) -> Engine:
    """Return the engine of that name; it is imported at its first use.

    Raises
    ------
    InputError
        If there is none.
    """
    engine = _loaded.get(name)
    if engine is None:
        choices.check("engine", name, choices.ENGINES)
        module = importlib.import_module(f"patchsim.engines.{name}")
        engine = _loaded[name] = cast(Engine, module)
    return engine
