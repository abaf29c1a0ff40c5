"""Values that contrastive losses are compared with: of collapsed slots, and of orthogonal ones."""

from __future__ import annotations

import math

from patchsim.errors import InputError
from patchsim.slots import tensor_checks


def collapsed(negatives: int) -> float:
    """Return the contrastive loss of slots that are all the same: ``log(1 + negatives)``.

    The formula follows from the definition of the contrastive loss, because all similarities are
    equal then, whatever the temperature. The value is a reference, not a bound: a loss may be
    higher.

    Parameters
    ----------
    negatives : int
        The number of negatives of a slot, from 0: 2BS - 2 for `matching_contrastive_loss`, 2S - 2
        for `matching_contrastive_loss_per_img`.

    Returns
    -------
    float
        The loss of each slot, and so their mean; the logarithm is natural.

    Raises
    ------
    InputError
        A ValueError: `negatives` is below 0.
    """
    _check_negatives(negatives)
    return math.log1p(negatives)


def orthogonal(negatives: int, temperature: float = 1.0) -> float:
    """Return the contrastive loss where matches are identical and all other slots orthogonal.

    It is ``log(exp(1/t) + negatives) - 1/t`` at temperature t. The formula follows from the
    definition of the contrastive loss with cosine 1 for matches and 0 for negatives. The value is a
    reference, not a bound: a loss may be lower where cosines of negatives are below 0.

    Parameters
    ----------
    negatives : int
        The number of negatives of a slot, from 0: 2BS - 2 for `matching_contrastive_loss`, 2S - 2
        for `matching_contrastive_loss_per_img`.
    temperature : float
        The temperature of the loss, a number from 1e-30.

    Returns
    -------
    float
        The loss of each slot, and so their mean; the logarithm is natural.

    Raises
    ------
    InputError
        A ValueError: `negatives` is below 0, or `temperature` is not a number from 1e-30.
    """
    _check_negatives(negatives)
    tensor_checks.check_temperature(temperature)
    return math.log1p(negatives * math.exp(-1 / temperature))


def _check_negatives(negatives: int) -> None:
    if negatives < 0:
        raise InputError(f"negatives {negatives} are fewer than none; give a number from 0")
