"""Numbers of flags: they count as numbers, and messages show them as they were typed."""

from __future__ import annotations

import operator

import pytest

from patchsim import InputError
from patchsim.cli import values
from patchsim.options import Options


@pytest.mark.parametrize("text", ["0.50", "1e-1", "95", "-0", "nan", "9" * 400])
def test_a_number_is_shown_as_it_was_typed(text):
    number = values.number(text)
    assert isinstance(number, float)
    assert (str(number), repr(number), f"{number}") == (text, text, text)
    assert str(values.number(f" {text}\n")) == text  # a message has its own lines


def test_a_whole_number_is_exact():
    assert operator.index(values.number("9007199254740993")) == 9007199254740993
    for text in ("1.5", "1e6", "nan", "9" * 5000):
        with pytest.raises(TypeError):
            operator.index(values.number(text))


@pytest.mark.parametrize("text", [None, "", "auto", "30%", "0,5"])
def test_other_text_is_left_to_the_option(text):
    assert values.number(text) == text


def test_options_keep_plain_numbers():
    options = Options.checked(
        1,
        top=values.number("3"),
        threshold=values.number("0.50"),
        overlap=values.number("0.3"),
        data_range=values.data_range("0:255"),
        channel_weights=values.channel_weights("1.0,2"),
        threads=values.number("2"),
    )
    kept = (options.top, options.threshold, options.overlap, options.threads)
    assert kept == (3, 0.5, 0.3, 2)
    assert (options.data_range, options.channel_weights) == ((0, 255), (1, 2))
    numbers = (*kept, *options.data_range, *options.channel_weights)
    assert {type(number) for number in numbers} == {int, float}


@pytest.mark.parametrize("text", ["9" * 400, "95", "-1.01"])
def test_a_message_repeats_a_number(text):
    with pytest.raises(InputError, match=f"^threshold {text} cannot be a score"):
        Options.checked(1, threshold=values.number(text))
