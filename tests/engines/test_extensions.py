"""Why an engine has no C extension: it was not built, or cannot be loaded."""

from __future__ import annotations

import importlib

import pytest

from patchsim.engines import extensions


@pytest.fixture
def nothing_loaded():
    extensions._load.cache_clear()
    yield
    extensions._load.cache_clear()


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
