"""Which devices there are, and what it takes to know."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata

import pytest

from patchsim.machine import devices


@pytest.mark.parametrize(
    ("version", "platform", "is_known"),
    [
        ("2.13.0+cpu", "linux", True),
        ("2.13.0+cpu", "win32", True),
        ("2.13.0+cpu", "darwin", False),
        ("2.13.0+cu130", "linux", False),
        ("2.13.0+rocm7", "linux", False),
        ("2.13.0", "linux", False),
    ],
)
def test_builds_for_cpus_alone_have_a_label(version, platform, is_known, monkeypatch):
    monkeypatch.setattr(metadata, "version", lambda _name: version)
    monkeypatch.setattr(sys, "platform", platform)
    assert devices._is_cpu_build() == is_known


def test_a_torch_without_metadata_is_asked_itself(monkeypatch):
    def absent(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    assert not devices._is_cpu_build()


@pytest.mark.parametrize("version", ["2.13.0+cpu", "2.13.0+cu130"])
def test_torch_is_imported_if_it_may_see_a_device(version):
    code = (
        "import importlib.metadata, json, sys\n"
        f"importlib.metadata.version = lambda _name: {version!r}\n"
        "from patchsim.machine import devices\n"
        "found = devices.accelerators()\n"
        "print(json.dumps([found, 'torch' in sys.modules]))\n"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    found, is_imported = json.loads(output)
    if version.endswith("+cpu") and sys.platform != "darwin":
        assert (found, is_imported) == ([], False)
    else:
        assert is_imported
