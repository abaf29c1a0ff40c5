"""`patchsim doctor`: what it says of this machine, and of one where something is missing."""

from __future__ import annotations

import json
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from PIL import features

from patchsim import choices, diagnosis
from patchsim.machine import devices, extensions

PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"


@pytest.fixture
def fresh_extensions(monkeypatch):
    monkeypatch.setattr(extensions, "_failed", [])
    extensions._load.cache_clear()
    yield
    extensions._load.cache_clear()


def test_on_one_screen(run):
    code, out, err = run("doctor")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert len(lines) <= 23  # and a prompt
    assert max(map(len, lines)) <= 80
    assert any(line.startswith("devices        cpu") for line in lines)
    for engine in choices.ENGINES:
        assert engine == "auto" or f"engine {engine}" in out


def test_as_json(run):
    code, out, err = run("doctor", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert found["problems"] == []
    assert found["devices"][0] == "cpu"
    assert found["memory_limit"] < found["memory_available"]
    engines = {one["name"]: one for one in found["engines"]}
    assert engines["simd"]["metrics"] == list(choices.METRICS)
    assert engines["unfold"] == {"name": "unfold", "metrics": ["sad"], "reason": None}
    assert {one["name"] for one in found["packages"]} == {"numpy", "scipy", "pillow", "torch"}


def test_extras_are_those_of_the_distribution():
    project = tomllib.loads(PYPROJECT.read_text(encoding="utf-8"))["project"]
    declared = {
        name: {requirement.partition(">")[0].partition("[")[0] for requirement in requirements}
        for name, requirements in project["optional-dependencies"].items()
        if name not in ("test", "dev", "bench", "docs")
    }
    assert {name: set(extra.packages) for name, extra in diagnosis.EXTRAS.items()} == declared


def test_on_one_screen_without_any_extra(run, monkeypatch):
    extras = {package for extra in diagnosis.EXTRAS.values() for package in extra.packages}
    installed = metadata.version

    def version(package):
        if package in extras:
            raise metadata.PackageNotFoundError(package)
        return installed(package)

    monkeypatch.setattr(metadata, "version", version)
    lines = run("doctor")[1].splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 80
    assert "extra plot     pip install matplotlib: report.plot(), a figure in Python" in lines


def test_packages_that_are_missing(run, monkeypatch):
    installed = metadata.version

    def version(package):
        if package in ("pi-heif", "imagecodecs"):
            raise metadata.PackageNotFoundError(package)
        return installed(package)

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(features, "check", lambda feature: feature != "avif")
    code, out, _ = run("doctor")
    assert code == 0
    assert "extra heif pip install pi-heif: reads HEIC, the photographs of phones" in " ".join(
        out.split()
    )
    assert "not in this build of Pillow: AVIF" in out
    found = json.loads(run("doctor", "--json")[1])
    extras = {one["name"]: one for one in found["extras"]}
    assert extras["tiff"]["install"] == "pip install imagecodecs"
    assert extras["fits"]["install"] is None


@pytest.mark.usefixtures("fresh_extensions")
def test_an_extension_that_is_not_built(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "patchsim.engines._sad", None)
    code, out, err = run("doctor")
    assert code == 3
    assert "engine simd" in out
    assert "engines._sad: its C extension was not built" in err
    assert err.startswith("patchsim: ")


def test_torch_that_cannot_be_loaded(run, monkeypatch):
    def broken():
        raise OSError("libtorch.so: cannot open shared object file\nmore")

    monkeypatch.setattr(devices, "accelerators", broken)
    code, out, err = run("doctor")
    assert code == 3
    assert "devices        cpu" in out
    assert err == "patchsim: torch cannot be loaded: libtorch.so: cannot open shared object file\n"


def test_vector_instructions_that_are_not_here(run, monkeypatch):
    monkeypatch.setenv(extensions.VARIANT_SETTING, "altivec")
    code, out, err = run("doctor")
    assert code == 3
    assert "engine simd" in out
    assert err.startswith("patchsim: PATCHSIM_SIMD=altivec is not here; unset it, or give one of ")
