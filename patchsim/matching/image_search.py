"""The search of one opened image: what is compared, found, selected, told and written."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from patchsim.errors import InputError, OutputError
from patchsim.events import Observer
from patchsim.machine import extensions
from patchsim.matching import assemble, nothing_found, select_matches, unsupported
from patchsim.matching.inputs import Kernels
from patchsim.matching.opened_image import Opened
from patchsim.options import AUTO, Options
from patchsim.output import targets
from patchsim.output.contract import Finished
from patchsim.output.notebook import ImageDisplay
from patchsim.output.report import Report
from patchsim.output.streamed_maps import StreamedMaps
from patchsim.output.targets import Asked, Outputs
from patchsim.pictures import windowed
from patchsim.pictures.opening import Opening
from patchsim.pictures.reader import Picture
from patchsim.scene import advice, empty_area, flatness, uncounted
from patchsim.scene.advice import Mixed
from patchsim.scene.build import Scene
from patchsim.scene.by_profile import ByProfile
from patchsim.search import jobs
from patchsim.search.exhaustive import Exhaustive
from patchsim.search.jobs import Found, Scored
from patchsim.search.prepared import KeptKernels

if TYPE_CHECKING:
    from patchsim.matches.pose_selection import PoseSelection
    from patchsim.matches.selection import Selection
    from patchsim.matching.array_kind import Kind
    from patchsim.matching.repeated import Repeated
    from patchsim.output.reduced_image import View
    from patchsim.output.report_parts import BestBelow
    from patchsim.pictures.reader import Source
    from patchsim.search.bands import BandSource
    from patchsim.search.criteria import Criteria
    from patchsim.search.fitted_windows import FittedWindows
    from patchsim.search.posed import Posed

_SHARE_OF_DRAWING = 4  # the part of the memory in which a reduced image is drawn on


@dataclass(eq=False, repr=False)
class ImageSearch:
    """One search for the kernels of a matcher in one image.

    Attributes
    ----------
    opened : Opened
        The image.
    kernels : Kernels
    comparisons : ByProfile
        How the kernels are compared with images, kept for the next one.
    kept : KeptKernels
        Small kernels that stay prepared for the next image.
    options : Options
    asked : Asked
    observer : Observer
    bands : BandSource, optional
        Where maps are scored, if not here.
    kind : Kind or None
        That of an image which others may repeat.
    notices : list of str
        What the observer was told.
    repeated : Repeated or None
        What the next image of the kind needs, once this one is searched.
    """

    opened: Opened
    kernels: Kernels
    comparisons: ByProfile
    kept: KeptKernels
    options: Options
    asked: Asked
    observer: Observer
    bands: BandSource | None = None
    kind: Kind | None = None
    notices: list[str] = field(default_factory=list)
    repeated: Repeated | None = None

    def run(self, display_source: Source | None, started: float, *, says_why: bool) -> Report:
        """Find the kernels, and write the files that are asked for.

        Parameters
        ----------
        display_source : path, PIL image or array, or None
            What the report shows of itself.
        started : float
            When the search began, in seconds of `time.perf_counter`.
        says_why : bool
            Tell why nothing was found.
        """
        options = self.options
        self._tell(self.kernels.notices(self.opened.about, self.opened.size, options))
        small = advice.small_values(self.opened.picture, self.kernels.pictures, options)
        mixed = advice.grey_beside_color(self.opened.picture, self.kernels.pictures, options)
        fingerprint = self._fingerprint() if self.asked.resumes else None
        scene, outputs = self._scene()
        with outputs.streamed(fingerprint) as streamed:
            search = self._search(scene, outputs, streamed)
            # Only once the search is sure to run: an error stands alone.
            self._tell_of(scene, small)
            findings = self._found(search, scene, outputs)
            selections, strict = self._selected(findings, scene, outputs, mixed)
            select_matches.settle(selections, findings.scored, streamed)
            below = self._best_below(findings, selections, scene, strict, says_why=says_why)
            select_matches.tell_resolved(findings.scored, scene, self.observer)
            made = assemble.report(
                findings,
                selections,
                scene,
                options,
                outputs,
                self.opened.size,
                tuple(self.notices),
                skipped=self.kernels.skipped(scene.unusable),
                best_below=below,
                margin=options.is_margin_wanted(keeps_map=outputs.keeps_map),
                criteria=strict,
                has_maps=self.asked.has_maps
                and not self.asked.resumes
                and windowed.of(scene.image) is None,
                display=self._display(display_source),
                started=started,
            )
            if not outputs.paths:
                if self.kind is not None and isinstance(search, Exhaustive):
                    from patchsim.matching.repeated import Repeated  # of arrays alone

                    self.repeated = Repeated.of(
                        self.kind, options=options, search=search, report=made,
                        kernels=self.kernels.pictures, comparisons=self.comparisons,
                        scene=scene, outputs=outputs, kept=self.kept,
                    )  # fmt: skip
                return made
            return self._written(made, findings.scored, scene, outputs, streamed)

    def _search(
        self, scene: Scene, outputs: Outputs, streamed: StreamedMaps
    ) -> Exhaustive | FittedWindows | Posed:
        """Choose how the kernels are searched: in windows, in fitted poses, or one by the other."""
        options, poses = self.options, self.options.poses
        if poses is None or poses.is_of_quarter_turns:
            # Kernels that are turned or mirrored are made anew for each image.
            kept = self.kept if poses is None else None
            given = scene, options, outputs, kept, streamed, self.bands
            return Exhaustive(*given, is_repeated=self.kind is not None)
        # The pose search takes as long to import as a search of small pictures.
        if options.exhaustive or outputs.keeps_map:
            from patchsim.search.fitted_windows import FittedWindows

            return FittedWindows(scene, options, outputs, self.observer)
        from patchsim.search.posed import Posed

        return Posed(scene, options, outputs)

    def _display(self, source: Source | None) -> ImageDisplay:
        """Return what shows the report, by the memory that the search of the image had."""
        options = self.options
        spare = max(1, options.memory - self.kernels.nbytes)
        way = Opening(None, options.level, options.max_pixels, spare, options.alpha)
        return ImageDisplay(source, way)

    def by_bands(self) -> Exhaustive:
        """Return the search with its image opened, to score bands of maps for another process."""
        scene, outputs = self._scene()
        kept = self.kept if self.options.poses is None else None
        return Exhaustive(scene, self.options, outputs, kept, by_bands=True)

    def _selected(
        self, findings: Found, scene: Scene, outputs: Outputs, mixed: Mixed
    ) -> tuple[Sequence[Selection | PoseSelection], Criteria | None]:
        """Select the matches, and tell what there is to know about them."""
        options = self.options
        margin = options.is_margin_wanted(keeps_map=outputs.keeps_map)
        strict = select_matches.criteria_of(findings, options, scene)
        selections = select_matches.select(findings, options, scene, margin=margin, criteria=strict)
        self._tell(select_matches.explanations(selections, options, scene))
        self._tell(extensions.notices())
        self._tell(select_matches.grey_notices(mixed, selections, findings, scene))
        self._tell(nothing_found.missing_notices(findings))
        return selections, strict

    def _fingerprint(self) -> dict[str, str]:
        """Return all on which map and matches depend, as texts."""
        if self.options.poses is not None:
            raise InputError("a map that is resumed is of kernels as they are; leave out the poses")
        from patchsim.matching import fingerprint  # few maps are resumed

        return fingerprint.of_search(self.opened.picture, self.kernels, self.options)

    def _scene(self) -> tuple[Scene, Outputs]:
        """Check what is asked for, and return what is compared, and the files."""
        comparisons, is_srgb, texts = self.comparisons.beside(self.opened.picture, self.options)
        self._tell(texts)
        outputs = targets.check(
            [self.opened.about, *self.kernels.pictures],
            self.asked,
            self.kernels.masks,
        )
        _check_maps(self.options, outputs)
        if windowed.of(self.opened.picture.pixels) is None:  # which pictures show reduced
            outputs.check_image(*self.opened.size)
        scene = Scene.of(
            self.opened.take(in_srgb=is_srgb),
            comparisons,
            self.options,
            overlay=outputs.is_image_needed,
            image_mask=self.kernels.image_mask,
        )
        scene = jobs.with_room(scene, self.options)
        unsupported.check_search(scene, self.options, keeps_maps=self.asked.map is True)
        if self.options.has_criteria:
            from patchsim.search import criteria  # few searches have some

            criteria.check(self.options)
        if self.options.invert:
            scene = scene.with_inverted(self.options)
        return scene, outputs.of_kernels(scene.numbers[: scene.given])

    def _tell(self, notices: Iterable[str]) -> None:
        """Tell the observer of notices, and keep them; an earlier search may have told some."""
        for text in notices:
            if text not in self.notices:
                self.notices.append(text)
                self.observer.notice(text)

    def _tell_of(self, scene: Scene, small: Iterable[str]) -> None:
        """Tell what there is to know about the pictures before the search."""
        options, opened = self.options, self.opened
        self._tell(scene.area.notices(options.region))
        self._tell(uncounted.notices(options.ignore, opened.size, opened.about.name))
        self._tell(self.kernels.left_out(scene.unusable))
        names = scene.names[1 : 1 + scene.given]
        flat = scene.flat_kernels[: scene.given]
        self._tell(flatness.flat_notices(scene.image, scene.area, flat, names, options.metric))
        self._tell(small)
        lowest = options.numeric_threshold
        empty = scene.empty_scores[: scene.given]
        self._tell(empty_area.threshold_notices(lowest, empty, flat, names))
        if options.exhaustive and options.poses is not None:
            from patchsim.search import coarse_steps  # few searches have steps

            sizes = [kernel.size for kernel in scene.trimmed[: scene.given]]
            self._tell(coarse_steps.notices(sizes, names, options.poses))

    def _found(
        self, search: Exhaustive | FittedWindows | Posed, scene: Scene, outputs: Outputs
    ) -> Found:
        """Run the search, unless it is known to have too few places."""
        too_few: tuple[str, ...] = ()
        is_auto = self.options.threshold == AUTO
        if is_auto and isinstance(search, Exhaustive) and not outputs.keeps_map:
            from patchsim.search import place_count  # few thresholds are `auto`

            too_few = tuple(place_count.notices(search.jobs, scene, self.options))
        self._tell(too_few)
        return Found([]) if too_few else search.run(self.observer)

    def _best_below(
        self,
        findings: Found,
        selections: Sequence[Selection | PoseSelection],
        scene: Scene,
        strict: Criteria | None,
        *,
        says_why: bool,
    ) -> BestBelow | None:
        """Return how close the best place came, and tell why nothing was found."""
        if strict is not None and strict.first_refused is not None:
            self._tell(strict.notices())
            return None
        below = nothing_found.best_below(findings, selections, scene, self.options)
        if says_why or strict is not None:
            reason = nothing_found.reason(findings, selections, scene, self.options, below, strict)
            self._tell(reason)
        return below if strict is None else None

    def _reduced(self, scene: Scene, outputs: Outputs) -> View | None:
        """Return the image as pictures show it, if they do and it is not in memory."""
        if windowed.of(scene.drawn[0]) is None or not outputs.is_image_needed:
            return None
        from patchsim.output.reduced_image import view_of  # where an image is not held

        share = self.options.memory // _SHARE_OF_DRAWING
        return view_of(*scene.drawn, share, lambda pixels: outputs.drawing_bytes(0, pixels))

    def _written(
        self,
        report: Report,
        scored: Sequence[Scored],
        scene: Scene,
        outputs: Outputs,
        streamed: StreamedMaps,
    ) -> Report:
        """Write the files of a finished search and add their time; an error keeps the report."""
        started = time.perf_counter()
        factors = [one.reduced.factor for one in scored if one.reduced is not None]
        pictures: list[Picture] = [
            self.kernels.pictures[number] for number in scene.numbers[: scene.given]
        ]
        # An observer that is no subclass of Observer may lack it.
        command = getattr(self.observer, "command", None)
        finished = Finished(
            report,
            assemble.maps(scored),
            *scene.drawn,
            factors,
            reduced=self._reduced(scene, outputs),
            pictures=pictures,
            command=command,
            heatmap_size=outputs.heatmap_size,
            labels=outputs.labels,
        )
        try:
            outputs.write(finished, self.observer, streamed)
        except OutputError as error:
            error.report = report
            raise
        return replace(report, seconds=report.seconds + time.perf_counter() - started)


def _check_maps(options: Options, outputs: Outputs) -> None:
    poses = options.poses
    if not outputs.keeps_map:
        return
    asked = " and ".join(f"--{name} ({name}=)" for name in outputs.of_maps)
    if options.invert:
        raise InputError(
            f"a map is of one polarity, and --invert (invert=True) asks for both; leave out {asked}"
        )
    if poses and poses.count != 1:
        count = "a range is" if poses.count is None else f"{poses.count:,} are"
        raise InputError(
            f"a map is of one pose, and {count} asked for; leave out {asked},"
            " or ask for one pose with --scales, --angles and --flips"
        )
