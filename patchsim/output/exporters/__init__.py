"""The files that a search can write, one module each; see `contract.FileExporter`."""

from __future__ import annotations

from importlib import import_module
from typing import cast

from patchsim.output.contract import FileExporter

# Options that ask for a file, each with a module of its name, in the order of writing.
NAMES = ("heatmap", "blend", "map", "overlay", "report")


def load(name: str) -> FileExporter:
    """Import the exporter with this name."""
    return cast(FileExporter, import_module(f"patchsim.output.exporters.{name}"))
