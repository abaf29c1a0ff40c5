"""Why an engine has no C extension: it was not built, or cannot be loaded."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

import patchsim
from patchsim.errors import InputError
from patchsim.machine import extensions
from patchsim.planning import batching


def forget():
    extensions._load.cache_clear()
    extensions._variants.cache_clear()


@pytest.fixture
def nothing_loaded():
    forget()
    yield
    forget()
    extensions._failed.clear()


@pytest.mark.usefixtures("nothing_loaded")
def test_an_extension_that_was_not_built_is_told():
    assert extensions.extension("_nothing") is None
    assert "was not built" in extensions.refusal("_nothing")


@pytest.mark.usefixtures("nothing_loaded")
def test_an_extension_that_cannot_be_loaded_says_why(monkeypatch):
    def broken(_name):
        raise ImportError("_sad.abi3.so: undefined symbol: PyOther\nmore")

    monkeypatch.setattr(importlib, "import_module", broken)
    assert extensions.extension("_sad") is None
    assert extensions.refusal("_sad") == (
        "its C extension cannot be loaded: _sad.abi3.so: undefined symbol: PyOther (install again)"
    )


@pytest.mark.usefixtures("nothing_loaded")
def test_a_search_without_its_extensions_says_that_it_is_slow(monkeypatch, rng):
    def missing(name):
        if name.rpartition(".")[2].startswith("_"):
            raise ModuleNotFoundError(name)
        return import_module(name)

    import_module = importlib.import_module
    image = rng.integers(0, 256, (30, 40), np.uint8)
    assert not patchsim.match(image, image[5:15, 8:20]).notices
    batching.forget()
    forget()
    monkeypatch.setattr(importlib, "import_module", missing)
    report = patchsim.match(image, image[5:15, 8:20])
    batching.forget()
    assert (report.best.x, report.best.y) == (8, 5)
    assert report.notices == (
        "searches are slow here: a C extension was not built"
        " (install again where there is a C compiler)",
    )


@pytest.mark.usefixtures("nothing_loaded")
def test_missing_exact_scores_are_told_too(monkeypatch, rng):
    def missing(name):
        if name == "patchsim.metrics._windows":
            raise ModuleNotFoundError(name)
        return import_module(name)

    import_module = importlib.import_module
    monkeypatch.setattr(importlib, "import_module", missing)
    image = rng.integers(0, 256, (30, 40), np.uint8)
    report = patchsim.match(image, image[5:15, 8:20], metric="zncc")
    assert (report.best.x, report.best.y, report.best.score) == (8, 5, 1.0)
    assert report.notices[0].startswith("searches are slow here: a C extension was not built")


def test_an_extension_with_few_variants_takes_its_last_one_for_others(monkeypatch):
    here = extensions.extension("_pruned").variants()
    assert here[-1] == "portable"
    assert extensions.variant("_pruned", has_few=True) == here[0]
    monkeypatch.setenv(extensions.VARIANT_SETTING, here[-2])
    assert extensions.variant("_pruned", has_few=True) == here[-2]
    monkeypatch.setenv(extensions.VARIANT_SETTING, "neon")
    assert extensions.variant("_pruned", has_few=True) == "portable"
    with pytest.raises(InputError, match=r"neon is not here; unset it, or give one of .*portable$"):
        extensions.variant("_pruned")
    monkeypatch.setenv(extensions.VARIANT_SETTING, "")
    assert extensions.variant("_pruned") == here[0]


@pytest.mark.parametrize(("forced", "taken"), [("avxvnni", "avx2"), ("dotprod", "neon")])
def test_an_extension_without_products_of_bytes_takes_the_instructions_beside_them(
    forced, taken, monkeypatch
):
    monkeypatch.setattr(extensions, "_variants", lambda _name, _room: ["avx512", taken, "base"])
    monkeypatch.setenv(extensions.VARIANT_SETTING, forced)
    assert extensions.variant("_sad") == taken
    assert extensions.variant("_pruned", has_few=True) == taken
    monkeypatch.setattr(extensions, "_variants", lambda _name, _room: [taken, forced, "base"])
    assert extensions.variant("_correlation") == forced
    monkeypatch.setattr(extensions, "_variants", lambda _name, _room: ["avx512", "sse2"])
    with pytest.raises(InputError, match=rf"PATCHSIM_SIMD={forced} is not here"):
        extensions.variant("_sad")
