"""The image of a search: opened beside the kernels, whole or by windows, within the memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from patchsim.errors import InputError
from patchsim.matching import unsupported
from patchsim.matching.inputs import Kernels, count_streams, open_one
from patchsim.options import ALL, Options
from patchsim.pictures import reader, windowed
from patchsim.pictures.limits import TooLargeError
from patchsim.pictures.reader import Picture
from patchsim.planning.planner import NoRoomError
from patchsim.scene import profiles

if TYPE_CHECKING:
    from patchsim.output.report import Report
    from patchsim.pictures.reader import Source

_NO_PIXELS = np.zeros((0, 0, 1), np.uint8)


@dataclass(eq=False, repr=False)
class Opened:
    """The opened image of one search.

    Attributes
    ----------
    about : Picture
        The image without its pixels.
    size : (height, width)
    """

    about: Picture
    size: tuple[int, int]
    _picture: Picture | None
    _is_shared: bool = False  # others hold the picture, too, so that its values must stay

    @classmethod
    def of(cls, image: Source | Picture, kernels: Kernels, options: Options) -> Opened:
        """Open an image beside kernels that are already in memory.

        One that is too large for that is read by windows, where there is a reader for it.

        Raises
        ------
        InputError
            If it cannot be read.
        """
        count_streams([image], kernels.streams)
        if isinstance(image, Picture):
            return replace(cls.holding(image), _is_shared=True)
        if options.level:
            from patchsim.pictures import large  # as below, where an image is not read whole

            picture = large.open_level(
                image,
                options.level,
                max_pixels=options.max_pixels,
                memory=options.memory - kernels.nbytes,
                alpha=options.alpha,
                ignore_alpha=options.ignore_alpha,
            )
            return cls.holding(picture)
        try:
            picture = open_image(image, kernels, options)
        except TooLargeError as error:
            picture = by_windows(image, kernels, options, error)
        return cls.holding(picture)

    @classmethod
    def holding(cls, picture: Picture) -> Opened:
        """Return an image that is decoded; its only owner should be the result."""
        about = picture._replace(pixels=_NO_PIXELS)
        return cls(about, (picture.pixels.shape[0], picture.pixels.shape[1]), picture)

    @property
    def picture(self) -> Picture:
        """The image, until it is taken."""
        assert self._picture is not None
        return self._picture

    def take(self, *, in_srgb: bool) -> Picture:
        """Hand the picture over: its only owner can free the pixels once they are converted.

        Parameters
        ----------
        in_srgb : bool
            Bring its colours to sRGB.
        """
        picture, self._picture = self.picture, None
        if not in_srgb:
            return picture
        return profiles.in_srgb(picture, in_place=not self._is_shared)


def open_image(image: Source, kernels: Kernels, options: Options) -> Picture:
    """Open an image beside kernels that are already in memory.

    Raises
    ------
    InputError
        If it cannot be read.
    """
    return open_one(image, "image", options, options.memory - kernels.nbytes)


def by_windows(image: Source, kernels: Kernels, options: Options, error: TooLargeError) -> Picture:
    """Open an image by windows that is too large to be read whole, for which there is an error.

    Raises
    ------
    InputError
        If that cannot be.
    """
    opened = _opened_by_windows(image, kernels, options)
    if opened is not None:
        return opened
    from patchsim.pictures import large

    hint = large.missing(image)
    if hint is None:
        raise error
    raise InputError(f"{error}, or {hint}") from None


def _opened_by_windows(image: Source, kernels: Kernels, options: Options) -> Picture | None:
    if isinstance(image, str | os.PathLike) and not reader.is_stdin(image):
        unsupported.check_options(os.fspath(image), options)
    from patchsim.pictures import large

    return large.open_by_windows(
        image,
        memory=options.memory - kernels.nbytes,
        alpha=options.alpha,
        ignore_alpha=options.ignore_alpha,
        frame=options.frame if isinstance(options.frame, int) else None,
    )


def in_room(
    search: Callable[[Opened], Report],
    opened: Opened,
    image: Source,
    kernels: Kernels,
    options: Options,
) -> Report:
    """Search an image; by windows, if there is no room beside it for outputs while it is whole.

    Raises
    ------
    InputError
        If there is no room either way. Where windows cannot be, it is the error of the whole image.
    """
    is_whole = windowed.of(opened.picture.pixels) is None
    try:
        return search(opened)
    except NoRoomError as error:
        if not is_whole:
            raise
        refusal = error.with_traceback(None)  # whose frames would keep the pixels
        refusal.__context__ = None
    try:
        by_window = _by_windows_again(image, kernels, options)
        if by_window is not None:
            return search(Opened.holding(by_window))
    except NoRoomError:
        raise
    except InputError:
        # Nobody asked for windows, so the user is told why the whole image has no room (`refusal`),
        # and not why it cannot be read by windows.
        pass
    raise refusal


def _by_windows_again(image: Source, kernels: Kernels, options: Options) -> Picture | None:
    """Open an image again, if it can be: a file, not one of all frames, which others hold whole."""
    is_file = isinstance(image, str | os.PathLike) and not reader.is_stdin(image)
    if not is_file or options.level or options.frame == ALL:
        return None
    return _opened_by_windows(image, kernels, options)
