"""How kernels are compared with images by the colour profiles of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from patchsim.options import Options
from patchsim.pictures.reader import Picture
from patchsim.scene import profiles
from patchsim.scene.comparison import Comparisons
from patchsim.types import Weights


class Beside(NamedTuple):
    """How the kernels are compared with one image.

    Attributes
    ----------
    comparisons : Comparisons
    in_srgb : bool
        The image's colours are brought to sRGB, as those of the kernels are.
    notices : tuple of str
    """

    comparisons: Comparisons
    in_srgb: bool
    notices: tuple[str, ...]


class ByProfile:
    """The kernels of several searches, as they are and, once it is needed, in sRGB.

    Several threads may use it at once.

    Parameters
    ----------
    pictures : sequence of Picture
        The kernels.
    weights : sequence of uint8 arrays [h, w], or None
        How much each pixel of a kernel counts.
    options : Options
    """

    def __init__(
        self, pictures: Sequence[Picture], weights: Sequence[Weights | None], options: Options
    ) -> None:
        self._pictures, self._weights, self._options = pictures, weights, options
        self._as_they_are = Comparisons(pictures, weights, options)
        self._in_srgb: Comparisons | None = None

    def beside(self, image: Picture, options: Options) -> Beside:
        """Return how the kernels are compared with an image, and what is told of the profiles."""
        pictures = [image, *self._pictures]
        if options.ignore_profile:
            return Beside(self._as_they_are, False, ())
        is_converted = options.data_range is None
        notices = profiles.notices(pictures, is_converted=is_converted)
        if not is_converted or not profiles.has_several_spaces(pictures):
            return Beside(self._as_they_are, False, notices)
        if self._in_srgb is None:
            kernels = [profiles.in_srgb(picture) for picture in self._pictures]
            self._in_srgb = Comparisons(kernels, self._weights, self._options)
        return Beside(self._in_srgb, True, notices)
