"""Options that take words, which help lists and Tab completes."""

# Annotations are values here: Typer asks for those of each function that completes words.

from collections.abc import Callable, Sequence
from typing import Any

import typer

from patchsim import choices

# Device numbers that Tab offers: counting the cards would import torch.
_NUMBERS = 8


def one_of(words: Sequence[str], text: str) -> Any:
    """Return an option whose help and tab completion list the words that it takes.

    The option does not check its value, so that the command and Python give the same error.
    """
    return typer.Option(metavar="|".join(words), help=text, autocompletion=completing(words))


def device(text: str) -> Any:
    """Return an option for a device; behind ``cuda:`` Tab offers numbers."""

    def completed(incomplete: str) -> list[str]:
        kind, is_numbered, _ = incomplete.partition(":")
        if not is_numbered:
            return completing(choices.DEVICES)(incomplete)
        return completing([f"{kind}:{number}" for number in range(_NUMBERS)])(incomplete)

    return typer.Option(metavar="auto|cpu|cuda[:N]|mps|xpu", help=text, autocompletion=completed)


def completing(words: Sequence[str]) -> Callable[[str], list[str]]:
    """Return the tab completion of an option that takes these words."""

    def completed(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return completed


def completing_list(words: Sequence[str]) -> Callable[[str], list[str]]:
    """Return the tab completion of an option that takes several of these words, with commas."""

    def completed(incomplete: str) -> list[str]:
        before, comma, begun = incomplete.rpartition(",")
        taken = before.split(",")
        return [
            f"{before}{comma}{word}"
            for word in words
            if word.startswith(begun) and word not in taken
        ]

    return completed
