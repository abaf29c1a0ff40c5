"""The pictures that poses are fitted in: padded, and of which what lies where it may is kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from patchsim.errors import InputError
from patchsim.geometry import polygons
from patchsim.machine.memory import format_size
from patchsim.matches.pose_selection import Candidate
from patchsim.metrics import Kernel, Visibility
from patchsim.metrics.local_differences import Measured
from patchsim.options import Options
from patchsim.poses.axis import Axis
from patchsim.poses.pose import Pose, direction
from patchsim.registration import (
    BAND_BYTES,
    Fitted,
    KernelPlanes,
    PoseSearch,
    Range,
    compared,
    first_look_bytes,
    score,
)
from patchsim.registration.levels import KernelLevels
from patchsim.registration.scores import positions, sampled_linearly
from patchsim.scene import flatness
from patchsim.scene.build import Scene
from patchsim.search import criteria, jobs
from patchsim.search.variants import Variant
from patchsim.types import Pixels

if TYPE_CHECKING:
    from patchsim.output.targets import Outputs

_ROUNDED = 1e-9  # scores of poses that fit as well differ by less
_LEAST_AREA = 1.0  # pixels of the area that a pose on a padded picture covers


class _Padded(NamedTuple):
    """The picture in which poses are fitted: the area with its padding.

    Attributes
    ----------
    pixels : array [H, W, C]
    visible : Visibility or None
        The visibility of its pixels, where not all are visible.
    top, left : int
        Row and column, in the image, of its top-left pixel.
    """

    pixels: Pixels
    visible: Visibility | None
    top: int
    left: int


class FirstLooks(NamedTuple):
    """The memory of first looks and what was made to plan it, before there is a picture.

    Attributes
    ----------
    band_bytes : int
        Their memory, for each thread.
    prepared : KernelPlanes or None
        The levels of the kernel, if it is the only one.
    """

    band_bytes: int = BAND_BYTES
    prepared: KernelPlanes | None = None


class PoseScene:
    """One kernel of a scene, and the picture in which its poses are fitted.

    Parameters
    ----------
    scene : Scene
    options : Options
        With poses.
    variant : Variant
        The kernel.
    before : PoseScene, optional
        That of another kernel, whose picture serves this one too where there is no padding.
    looks : FirstLooks
    """

    def __init__(
        self,
        scene: Scene,
        options: Options,
        variant: Variant,
        before: PoseScene | None,
        looks: FirstLooks,
    ) -> None:
        assert options.poses is not None
        self._scene, self._options, self._variant = scene, options, variant
        self._poses = options.poses
        self._whole = scene.trimmed[variant.number]  # not stretched
        self.number, self.stretch = variant.number, variant.stretch
        self.kernel, self.size = variant.kernel, variant.kernel.size
        around = _around(self._whole.size, self._poses.scales.largest)
        self._padded = padded = _Padded(
            scene.area.padded_views(scene.image, [around], scene.zero)[0],
            scene.seen([around])[0],
            *scene.area.origin(around),
        )
        self.search: PoseSearch
        if before is not None and scene.area.padding == "valid":
            self.search = before.search
        else:
            self.search = PoseSearch(
                padded.pixels,
                options.metric,
                scene.span,
                visible=padded.visible,
                limits=scene.limits,
                least_seen=options.min_visible,
                threads=options.threads,
                band_bytes=looks.band_bytes,
                prepared=looks.prepared,
            )

    @property
    def angles(self) -> Range:
        """The range of angles in degrees, or the angles of a list."""
        return _angles(self._poses.angles)

    @property
    def flips(self) -> tuple[str, ...]:
        """The flips, without `v` where it gives the poses of `h` half a turn further."""
        flips = self._poses.flips
        return ("none", "h") if self._poses.angles.is_full_turn and "h" in flips else flips

    def is_allowed(self, fitted: Fitted) -> bool:
        """Return whether enough of a pose lies in the area and is visible."""
        if self._scene.area.padding != "valid" and not self._is_partly_inside(fitted):
            return False
        visible = self._padded.visible
        if visible is None:
            return True
        return visible_share(visible, self.kernel, fitted) >= self._options.min_visible

    def _is_partly_inside(self, fitted: Fitted) -> bool:
        (top, left), (height, width) = self._scene.area.corner, self._scene.area.size
        top, left = top - self._padded.top, left - self._padded.left
        right, bottom = left + width, top + height
        area = [(left, top), (right, top), (right, bottom), (left, bottom)]
        frame = fitted.corners
        return polygons.intersection_area(area, frame) >= min(_LEAST_AREA, polygons.area(frame))

    def candidate(self, fitted: Fitted) -> Candidate:
        """Return a pose in pixels of the image, rounded to the decimals that are reported.

        It is that of the kernel before it was stretched.
        """
        if self._has_one_color:
            fitted = self._least_changed(fitted)
        angles, pose = self._poses.angles, fitted.pose
        if pose.flip == "v" and "h" in self._poses.flips and angles.has_value(pose.angle + 180):
            pose = pose._replace(flip="h", angle=pose.angle + 180)  # the same, and named so
        angle, flip = angles.rounded(pose.angle), pose.flip
        if self.stretch is None:
            pose = Pose(self._poses.scales.rounded(pose.scale), angle, flip)
        else:
            pose = self._variant.pose._replace(angle=angle, flip=flip)
        # From the centre of the trimmed kernel to that of the whole one.
        right, down = self._off_centre(pose)
        x, y = (
            float(fitted.x) + self._padded.left - right,
            float(fitted.y) + self._padded.top - down,
        )
        placed = Fitted(x, y, pose, float(fitted.score), self._whole.whole_size)
        plain = self._scene.empty_scores[self.number]
        measured = self._measured(fitted) if self._options.has_criteria else None
        return Candidate(self.number, placed, self._counted, plain, measured)

    def _least_changed(self, fitted: Fitted) -> Fitted:
        """Return the pose that is nearest to the kernel as it is, if it fits there as well.

        A kernel of one colour, such as one of a single pixel, fits as well in many poses.
        """
        scale = self._poses.scales.least if self.stretch is None else 1.0
        pose = Pose(scale, self._poses.angles.least)
        posed = self.search.posed(self.kernel, fitted, pose)
        lowest = self._options.numeric_threshold
        is_too_low = lowest is not None and posed.score < lowest <= fitted.score
        if is_too_low or posed.score < fitted.score - _ROUNDED or not self.is_allowed(posed):
            return fitted
        return posed

    def _measured(self, fitted: Fitted) -> Measured:
        pixels = compared(
            self._padded.pixels,
            self.kernel,
            fitted.x,
            fitted.y,
            fitted.pose,
            self._padded.visible,
            self._scene.limits,
        )
        return criteria.measured(*pixels, self._options, self._scene.span)

    def start(self, y: int, x: int, box: tuple[int, int], pose: Pose) -> Fitted:
        """Return a pose that was found in a window (y, x) of the image, of (height, width).

        The window is that of the whole kernel, the pose that of the trimmed one; what is returned
        is the pose of the kernel that may be stretched already.
        """
        off_right, off_down = self._off_centre(pose)
        across = x - self._padded.left + box[1] / 2 + off_right
        down = y - self._padded.top + box[0] / 2 + off_down
        if self.stretch is not None:
            pose = Pose(1.0, pose.angle, pose.flip)
        metric, span = self._options.metric, self._scene.span
        pixels, visible = self._padded.pixels, self._padded.visible
        limits = self._scene.limits
        value = score(
            pixels, self.kernel, across, down, pose, metric, span, visible=visible, limits=limits
        )
        return Fitted(across, down, pose, value, self.size)

    def _off_centre(self, pose: Pose) -> tuple[float, float]:
        """Return where the trimmed kernel's centre lies from the whole one's, right and down."""
        margins = self._whole.margins
        if not any(margins):
            return 0.0, 0.0
        right, down = (margins.left - margins.right) / 2, (margins.top - margins.bottom) / 2
        right, down = (-right if pose.flip == "h" else right), (-down if pose.flip == "v" else down)
        cos, sin = direction(pose.angle)
        # y points down, as in `registration.fitted.corners`.
        down, right = down * pose.scales[0], right * pose.scales[1]
        return right * cos + down * sin, down * cos - right * sin

    @cached_property
    def _has_one_color(self) -> bool:
        return flatness.is_flat(self.kernel.pixels)

    @cached_property
    def _counted(self) -> float:
        weights = self._whole.weights
        if weights is None:
            return float(math.prod(self._whole.size))
        most = weights.reshape(*self._whole.size, -1).max(2)
        return float(most.sum() / most.max())


def _angles(axis: Axis) -> Range:
    several = () if axis.is_range or len(axis.values) == 1 else axis.values
    return Range(*axis.span, several, axis.step)


def pose_scenes(
    scene: Scene, options: Options, kernels: Sequence[Variant], looks: FirstLooks
) -> Iterator[PoseScene]:
    """Yield the scenes of kernels one after the other; padded pictures are made in turn."""
    before = None
    for kernel in kernels:
        before = PoseScene(scene, options, kernel, before, looks)
        yield before


def check_memory(
    scene: Scene, options: Options, kernels: Sequence[Variant], outputs: Outputs
) -> FirstLooks:
    """Check that memory suffices for a pose search.

    Raises
    ------
    InputError
        If it does not.
    """
    assert options.poses is not None
    largest = options.poses.scales.largest
    arounds = [_around(kernel.size, largest) for kernel in scene.trimmed]
    held = jobs.holding(scene, arounds, outputs, 0) + _levels_bytes(scene, arounds)
    picture = scene.area.padded_size(arounds)
    # Kernels are searched for one after the other.
    angles = _angles(options.poses.angles)
    looks, prepared = [], None
    for one in kernels:
        prepared = KernelPlanes.of_bytes(one.kernel)
        looks.append(first_look_bytes(prepared, one.scales, angles, picture))
    held += sum(one.kernel.nbytes for one in kernels if one.stretch is not None)
    held += max((shared for shared, _ in looks), default=0)
    per_thread = max((of_a_thread for _, of_a_thread in looks), default=0)
    needed = held + options.threads * per_thread
    if needed > options.memory:
        raise InputError(
            f"memory {format_size(options.memory)} does not suffice;"
            f" {format_size(needed)} is the least for these pictures and poses"
        )
    return FirstLooks(
        min(BAND_BYTES, (options.memory - held) // options.threads),
        prepared if len(kernels) == 1 else None,
    )


def _levels_bytes(scene: Scene, arounds: Sequence[tuple[int, int]]) -> int:
    """Return the bytes of the levels of a pose search, and what making them takes."""
    image, padded = scene.image, scene.area.padded_size(arounds)
    pixels = max(math.prod(padded), math.prod(image.shape[:2]))
    values = int(pixels * image.shape[2])
    # Every level is a fourth of the one before, of pixels and of planes. Other types than bytes
    # become float32 by way of float64.
    needed: int = values * image.itemsize // 3
    needed += values * 4 // 3 if image.dtype == np.uint8 else values * (16 // 3 + 8)
    if scene.visible is not None:
        needed += values * image.itemsize + pixels * 10
    return needed


def visible_share(visible: Visibility, kernel: Kernel, fitted: Fitted) -> float:
    """Return the share of a kernel's weights that the image's opacity leaves in a pose."""
    levels = KernelLevels(kernel, fitted.pose.flip)
    xs, ys = positions(levels, 0, 0, fitted.x, fitted.y, fitted.pose)
    seen = sampled_linearly(visible.levels, xs, ys) / visible.full_level
    weights = levels[0].weights
    if weights is None:
        return float(seen.mean())
    total = np.atleast_3d(weights).sum(2, dtype=np.int64)
    return float((seen * total).sum() / total.sum())


def _around(size: tuple[int, int], largest: float) -> tuple[int, int]:
    """Return the size of a window that holds a kernel in all its poses."""
    side = math.ceil(math.hypot(*size) * largest) + 1
    return side, side
