"""A search of bands of an image, for another process that selects the matches."""

from __future__ import annotations

from typing import TYPE_CHECKING

from patchsim.errors import InputError
from patchsim.events import Observer
from patchsim.geometry.area import Region
from patchsim.matching.image_search import ImageSearch
from patchsim.matching.matcher import Matcher
from patchsim.matching.opened_image import Opened
from patchsim.output.targets import Asked
from patchsim.search.exhaustive import Exhaustive

if TYPE_CHECKING:
    from patchsim.pictures.reader import Source


def band_search(
    matcher: Matcher,
    image: Source,
    *,
    region: Region | None = None,
    threads: int | None = None,
    memory: int | None = None,
) -> Exhaustive:
    """Open an image, and plan the search in it for a matcher's kernels, band by band.

    Parameters
    ----------
    matcher : Matcher
    image : path or URL
    region, threads, memory
        In place of the matcher's options, as for `Matcher.match`.

    Returns
    -------
    Exhaustive
        Its `score_band` scores a band. The jobs are those of `matcher.match` with the same image
        and region in any process, in the same order.

    Raises
    ------
    InputError
        If the image cannot be used with these kernels and options, or poses are to be fitted.
    """
    options = matcher._options_now(region, threads, memory)  # of this room
    check_poses(matcher)
    search = ImageSearch(
        Opened.of(image, matcher._kernels, options),
        matcher._kernels,
        matcher._comparisons,
        matcher._kept,
        options,
        Asked(False, {}, force=False),
        Observer(),
    )
    return search.by_bands()


def check_poses(matcher: Matcher) -> None:
    """Refuse a search that is not one of windows alone.

    Raises
    ------
    InputError
        If poses are asked for beside quarter turns and mirror images.
    """
    poses = matcher.options.poses
    if poses is not None and not poses.is_of_quarter_turns:
        raise InputError(
            "scales and angles other than quarter turns are not searched for band by band; search"
            " the whole image in one process"
        )
