"""How kernels are compared with images by the colour profiles of both."""

from __future__ import annotations

from typing import NamedTuple

from patchsim.options import Options
from patchsim.pictures.reader import Picture
from patchsim.scene import profiles
from patchsim.scene.comparison import Comparisons


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
    as_they_are : Comparisons
    """

    def __init__(self, as_they_are: Comparisons) -> None:
        self._as_they_are = as_they_are
        self._in_srgb: Comparisons | None = None

    def beside(self, image: Picture, options: Options) -> Beside:
        """Return how the kernels are compared with an image, and what is told of the profiles."""
        pictures = [image, *self._as_they_are.pictures]
        if options.ignore_profile:
            return Beside(self._as_they_are, False, ())
        is_converted = options.data_range is None
        notices = profiles.notices(pictures, is_converted=is_converted)
        if not is_converted or not profiles.has_several_spaces(pictures):
            return Beside(self._as_they_are, False, notices)
        if self._in_srgb is None:
            self._in_srgb = self._as_they_are.with_pictures(
                [profiles.in_srgb(picture) for picture in self._as_they_are.pictures]
            )
        return Beside(self._in_srgb, True, notices)
