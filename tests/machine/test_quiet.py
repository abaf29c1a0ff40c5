"""Warnings are ignored in blocks of several threads, and only there."""

from __future__ import annotations

import threading
import warnings

import pytest

from patchsim.machine.quiet import without_warnings


def test_warnings_are_ignored_inside_and_errors_behind():
    with without_warnings():
        warnings.warn("no matter", stacklevel=1)
        with without_warnings():
            warnings.warn("no matter", stacklevel=1)
        warnings.warn("no matter", stacklevel=1)
    with pytest.warns(UserWarning, match="matters"):
        warnings.warn("matters", stacklevel=1)


def test_the_filters_are_back_whichever_thread_ends_last():
    before = list(warnings.filters)
    first_is_in, second_is_in, first_is_out = (threading.Event() for _ in range(3))

    def first():
        with without_warnings():
            first_is_in.set()
            assert second_is_in.wait(60)
        first_is_out.set()

    def second():
        assert first_is_in.wait(60)
        with without_warnings():
            second_is_in.set()
            assert first_is_out.wait(60)
            warnings.warn("no matter", stacklevel=1)

    threads = [threading.Thread(target=one) for one in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert list(warnings.filters) == before


def test_the_filters_are_back_behind_an_error():
    before = list(warnings.filters)
    with pytest.raises(ValueError, match="broken"), without_warnings():
        raise ValueError("broken")
    assert list(warnings.filters) == before
