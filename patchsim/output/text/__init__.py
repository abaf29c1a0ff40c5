"""The formats in which results are printed, one module each; see `contract.TextExporter`.

`choices.FORMATS` lists them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from patchsim.output.contract import TextExporter


def load(name: str) -> TextExporter:
    """Import the exporter with this name."""
    return cast("TextExporter", import_module(f"patchsim.output.text.{name}"))
