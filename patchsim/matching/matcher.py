"""`Matcher`: the same kernels in one image after another."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Unpack

from patchsim.checks import positive_integer
from patchsim.errors import InputError
from patchsim.events import Observer, check_observer
from patchsim.geometry.area import Region, check_region
from patchsim.machine.memory import default_limit
from patchsim.machine.threads import clamp
from patchsim.matching import inputs
from patchsim.matching.array_kind import Kind, kind_of
from patchsim.matching.image_search import ImageSearch
from patchsim.matching.opened_image import Opened, in_room, open_image
from patchsim.options import Given, Options, check_keywords
from patchsim.output.report import Report
from patchsim.output.targets import Asked
from patchsim.pictures.reader import Picture, is_stdin
from patchsim.scene.by_profile import ByProfile
from patchsim.scene.comparison import Comparisons
from patchsim.search.prepared import KeptKernels

if TYPE_CHECKING:
    from pathlib import Path

    from patchsim.matching.delegated import DelegatedSearch
    from patchsim.matching.repeated import Repeated
    from patchsim.output.targets import PathLike
    from patchsim.pictures.reader import Source

# The keywords of `match` that `Matcher.match` takes.
OUTPUTS = (
    "map", "resume", "heatmap", "blend", "overlay", "heatmap_size", "labels", "report", "force",
    "observer", "cluster",
)  # fmt: skip


class Matcher:
    """Find the same kernel images in one image after another.

    What depends on the kernels and the options alone is done once: options are checked, kernels and
    mask are opened. Kernels are converted once for images of one type and number of channels; plans
    are kept for images of one shape, too, and so are the transforms of kernels (up to 64 MiB,
    and up to 1/64 of `memory`). An engine that takes long to prepare a kernel is therefore chosen
    sooner than by `match`. With one kernel an array is searched soonest if it has the shape
    and type of the two before, in this machine's byte order, and there are no files and no
    observer. A matcher gives the same answers at any time, so that several threads may
    use it at once, and it can be pickled. It does not copy arrays: they must not change while it is
    used.

    Parameters
    ----------
    kernel : path, PIL image or array, or a list of them
        As for `match`.
    mask, image_mask : path, PIL image or array [h, w], optional
        As for `match`.
    **options
        The options of `match` that describe the search: all but `map`, `resume`, `heatmap`,
        `heatmap_size`, `blend`, `overlay`, `labels`, `report`, `force`, `observer` and `cluster`,
        which `Matcher.match` takes.

    Attributes
    ----------
    options : Options
        The checked options. They cannot be changed.

    Raises
    ------
    InputError
        If an option, a kernel or a mask cannot be used.
    TypeError
        If a keyword is unknown.

    Examples
    --------
    >>> import numpy as np, patchsim
    >>> image = np.arange(200, dtype=np.uint8).reshape(10, 20)
    >>> matcher = patchsim.Matcher(image[4:7, 5:9], threshold=0.99)
    >>> [(match.x, match.y) for match in matcher.match(image)]
    [(5, 4)]
    >>> bool(matcher.match(image[:4]))
    False
    """

    __module__ = "patchsim"

    def __init__(
        self,
        kernel: Source | Sequence[Source],
        *,
        mask: Source | None = None,
        image_mask: Source | None = None,
        **options: Unpack[Given],
    ) -> None:
        for name in OUTPUTS:
            if name in options:
                raise TypeError(
                    f"Matcher() takes no {name!r}: it differs from image to image; give it to"
                    " Matcher.match()"
                )
        check_keywords(options, "Matcher", ("mask", "image_mask"))
        sources = inputs.as_list(kernel)
        self._options = self._latest = Options.checked(
            len(sources), image_mask is not None, **options
        )
        self._has_own_memory = options.get("memory") is not None
        self._kernels = inputs.Kernels.opened(sources, mask, self.options, image_mask)
        comparisons = Comparisons(self._kernels.pictures, self._kernels.weights, self.options)
        self._comparisons = ByProfile(comparisons)
        self._kept = KeptKernels()
        self._before: Repeated | None = None
        self._kind_before: Kind | None = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_before": None, "_kind_before": None}

    @property
    def options(self) -> Options:
        """The checked options, which cannot be changed."""
        return self._options

    @property
    def files(self) -> tuple[Path, ...]:
        """The files of kernels and masks, which no output may overwrite."""
        pictures = [*self._kernels.pictures, *self._kernels.masks]
        return tuple(picture.file for picture in pictures if picture.file)

    @property
    def fingerprint(self) -> dict[str, str]:
        """All on which the matches depend beside the image, as texts: kernels, mask and options.

        Pictures are told by the SHA-256 of their pixels, not by their names. Matchers with equal
        fingerprints find the same matches.
        """
        return {**self._kernels.digests, **self.options.texts}

    @property
    def nbytes(self) -> int:
        """Bytes of the pixels of kernels and masks, which the matcher keeps."""
        return self._kernels.nbytes

    def __repr__(self) -> str:
        return f"<patchsim.Matcher: {self._summary}>"

    def _repr_html_(self) -> str:
        from patchsim.output import notebook

        return notebook.kernels_as_html(self._summary, self._kernels.pictures)

    @property
    def _summary(self) -> str:
        changed = self._options.changed(with_memory=self._has_own_memory)
        return "; ".join([self._kernels.description, *([changed] if changed else [])])

    def match(
        self,
        image: Source,
        *,
        map: bool | PathLike | None = None,
        resume: PathLike | None = None,
        heatmap: PathLike | None = None,
        blend: PathLike | None = None,
        overlay: PathLike | None = None,
        heatmap_size: int | None = None,
        labels: str | Sequence[str] | None = None,
        report: PathLike | None = None,
        force: bool = False,
        observer: Observer | None = None,
        region: Region | None = None,
        threads: int | None = None,
        memory: int | None = None,
        cluster: DelegatedSearch | None = None,
    ) -> Report:
        """Find the kernels in an image.

        Parameters
        ----------
        image : path, PIL image, or array [H, W] or [H, W, C]
            As for `match`.
        map : bool or path, optional
            Keep the scores of all windows in the report; with a path also write them, as for
            `match`.
        resume : path, optional
            A .zarr to write the map into, which goes on where an earlier run ended, as for `match`.
        heatmap, blend, overlay : path, optional
            Pictures to write, as for `match`.
        heatmap_size : int, optional
            As for `match`.
        labels : str or sequence of str, optional
            As for `match`.
        report : path, optional
            An HTML page to write.
        force : bool
            Replace files that are read-only, too.
        observer : Observer, optional
            Told of notices, plans, progress and files as they come.
        region : (x, y, width, height), optional
            In place of the option, for this image.
        threads : int, optional
            In place of the option, for this image.
        memory : int, optional
            In place of the option, for this image: the bytes that the search may take, the kernels
            included.
        cluster : Cluster, optional
            Where the windows are scored, as for `match`.

        Returns
        -------
        Report
            The matches, best first, and how they were found.

        Raises
        ------
        InputError
            If the image cannot be used with these kernels and options.
        OutputError
            If a file could not be written; its `report` has the matches.
        """
        started = time.perf_counter()
        is_told = observer is not None
        observer = check_observer(observer)
        options = self._options_now(region, threads, memory)
        files = {"heatmap": heatmap, "blend": blend, "overlay": overlay, "report": report}
        asked = _asked(map, resume, files, heatmap_size, labels, force=force)
        bands = None
        if cluster is not None:
            path = _delegated_path(cluster, image, options, asked)
            given = memory if memory is not None or not self._has_own_memory else options.memory
            bands = cluster.band_source(self, path, region=region, memory=given, observer=observer)
        is_single = is_told or asked.has_files or options.frame is not None or cluster is not None
        kind = None if is_single else kind_of(image, map)
        made = self._repetition(image, kind, options, started)
        if made is not None:
            return made

        def in_picture(opened: Opened, told: Observer, says_why: bool) -> Report:
            display_source = None if isinstance(image, Picture) or is_stdin(image) else image
            kept = self._kernels, self._comparisons, self._kept
            # A single image leaves nothing for others; the second of a kind does.
            repeated_kind = kind if kind == self._kind_before else None
            of_image = *kept, options, asked, told, bands, repeated_kind, list[str]()

            def searched(opened: Opened) -> Report:
                search = ImageSearch(opened, *of_image)
                report = search.run(display_source, started, says_why=says_why)
                self._before = search.repeated or self._before
                return report

            report = in_room(searched, opened, image, self._kernels, options)
            self._kind_before = kind or self._kind_before
            return report

        if options.frame is None:
            return in_picture(Opened.of(image, self._kernels, options), observer, True)
        from patchsim.matching import each_frame

        return each_frame.search(
            image, self._kernels, options, observer, in_picture, is_drawn=asked.is_drawn
        )

    def _repetition(
        self, image: Source, kind: Kind | None, options: Options, started: float
    ) -> Report | None:
        """Return the report of an image that is searched like the one before, else None."""
        before = self._before  # another thread may set it
        if kind is None or before is None or before.kind != kind or before.options is not options:
            return None
        return before.search(image, started)

    def _opened(self, path: PathLike) -> Picture:
        """Decode the picture of a file as `match` does, which takes the result, too."""
        return open_image(path, self._kernels, self._options_now())

    def _options_now(
        self,
        region: Region | None = None,
        threads: int | None = None,
        memory: int | None = None,
    ) -> Options:
        """Return the options of an image; memory not given is what there is to spare now."""
        spare = self.options.memory if self._has_own_memory else default_limit()
        if spare != self._latest.memory:
            self._latest = replace(self.options, memory=spare)
        options = self._latest
        if memory is not None:
            options = replace(options, memory=positive_integer(memory, "memory"))
        if region is not None:
            options = replace(options, region=check_region(region))
        if threads is not None:
            options = replace(options, threads=clamp(positive_integer(threads, "threads")))
        return options


def _delegated_path(cluster: DelegatedSearch, image: Source, options: Options, asked: Asked) -> str:
    from patchsim.matching import delegated  # here, because few searches are

    return delegated.check(cluster, image, options, asked)


def _asked(
    map: bool | PathLike | None,
    resume: PathLike | None,
    files: dict[str, PathLike | None],
    heatmap_size: int | None,
    labels: str | Sequence[str] | None,
    *,
    force: bool,
) -> Asked:
    """Check the outputs of an image."""
    if resume is not None and map is not None and map is not False:
        raise InputError("map and resume both name the file of the map; give one of them")
    maps = map if resume is None else resume
    side = None if heatmap_size is None else positive_integer(heatmap_size, "heatmap-size")
    words = _words(labels) if labels is not None or files["overlay"] is not None else ()
    return Asked(False if maps is None else maps, files, force, side, words, resume is not None)


def _words(labels: str | Sequence[str] | None) -> tuple[str, ...]:
    """Check what labels say; most searches draw none, and do not wait for the module."""
    from patchsim.output import labels as label_words

    return label_words.check(labels)
