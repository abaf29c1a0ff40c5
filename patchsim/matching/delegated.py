"""Searches whose maps are scored outside of this process: who does that, and what it cannot do."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Protocol

from patchsim.errors import InputError, printable
from patchsim.events import Observer
from patchsim.geometry.area import Region
from patchsim.options import Options
from patchsim.output.targets import Asked
from patchsim.pictures.reader import is_stdin
from patchsim.search.bands import BandSource

if TYPE_CHECKING:
    from patchsim.pictures.reader import Source


class Titled(Protocol):
    """Other processes in messages.

    Attributes
    ----------
    title : str
        Their name, with its article.
    """

    title: str


class DelegatedSearch(Titled, Protocol):
    """Processes that score the maps of a search, such as `patchsim.Cluster`."""

    def band_source(
        self,
        matcher: Any,
        image: str,
        *,
        region: Region | None,
        memory: int | None,
        observer: Observer,
    ) -> BandSource:
        """Return where the bounds of an image's maps come from.

        Parameters
        ----------
        matcher : Matcher
            The module of its class uses this one, and cannot be named here.
        image : str
            A path or URL.
        region, memory
            In place of the matcher's options; `memory` is None where none was given.
        observer : Observer
            Told of notices.

        Raises
        ------
        InputError
            If that cannot be done.
        """


def refuse_others(there: object) -> None:
    """Refuse what is given as a cluster and is none, such as the text of an address.

    Raises
    ------
    InputError
        If it has no title.
    """
    if not isinstance(getattr(there, "title", None), str):  # that of a text is a function
        raise InputError(
            f"cluster is {printable(repr(there))}, which is no patchsim.Cluster; give"
            " patchsim.Cluster('local:2') or that of a scheduler's address"
        )


def check(there: Titled, image: Source, options: Options, asked: Asked) -> str:
    """Check that a search is one whose maps can be scored elsewhere; return the image's path.

    `there` may be anything that a caller gave.

    Raises
    ------
    InputError
        If it is none. Nothing was opened then.
    """
    refuse_others(there)
    if not isinstance(image, str | os.PathLike) or is_stdin(image):
        kind = "is standard input" if is_stdin(image) else "is in memory"
        raise InputError(
            f"the image {kind}, but {there.title} opens it by its path; save it to a file that all"
            " machines see"
        )
    if asked.has_maps or any(asked.files.get(name) is not None for name in ("heatmap", "blend")):
        raise InputError(
            "map, resume, heatmap and blend need the scores of all windows, which"
            f" {there.title} does not send back;\nleave them out, or search without it"
        )
    if options.frame is not None:
        raise InputError(
            f"frame is not for {there.title}, which opens the first one; save the frame to a file"
            " of its own"
        )
    if options.poses is not None and not options.poses.is_of_quarter_turns:
        raise InputError(
            "scales and angles other than quarter turns are searched for in the whole image, and"
            f" {there.title} splits it;\nsearch without it"
        )
    if options.engine == "pruned":
        raise InputError(
            f"the engine pruned scores no map, which {there.title} splits into bands; leave the"
            " engine to it"
        )
    return os.fspath(image)
