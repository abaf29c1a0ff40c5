"""The kernels of a search, as they are or scaled, turned and mirrored in each of its poses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from patchsim.errors import InputError
from patchsim.machine.memory import format_size
from patchsim.metrics import Kernel
from patchsim.options import Options
from patchsim.poses.pose import UNCHANGED, Pose
from patchsim.scene.build import Scene
from patchsim.search import jobs
from patchsim.search.progress import Tell, untold

if TYPE_CHECKING:
    from patchsim.poses.grid import Poses


class PosedKernel(NamedTuple):
    """A kernel in one pose."""

    number: int
    pose: Pose
    kernel: Kernel


def of(scene: Scene, options: Options, tell: Tell = untold) -> Iterator[PosedKernel]:
    """Yield the trimmed kernels of a scene, each in all poses that are asked for.

    Parameters
    ----------
    scene : Scene
    options : Options
    tell : share -> None
        Told of the share of the poses that are made.

    Raises
    ------
    InputError
        If a kernel fits in no pose, or memory does not suffice for all of them.
    """
    poses = options.poses
    if poses is None:
        for number, kernel in enumerate(scene.trimmed):
            yield PosedKernel(number, UNCHANGED, kernel)
        return
    from patchsim.poses.warp import PoseRenderer  # where poses are asked for

    poses.check_count(scene.sizes)
    _check_memory(scene, poses, options.memory)
    for number, kernel in enumerate(scene.kernels):
        posing = PoseRenderer(kernel)
        made = list(poses.of(scene.sizes[number]))
        able = []
        for count, pose in enumerate(made, 1):
            one = jobs.fitting(scene, number, posing, pose, options.metric)
            if one is not None:
                able.append(PosedKernel(number, pose, one))
            tell((number + count / len(made)) / len(scene.kernels))
        if not able:
            raise jobs.nothing_fits(scene, number, poses)
        yield from able


def _check_memory(scene: Scene, poses: Poses, memory: int) -> None:
    """Refuse poses that are too large all together, before any is made."""
    pixel_bytes = scene.image.shape[2] * scene.image.itemsize
    needed = scene.image.nbytes + pixel_bytes * sum(
        math.prod(pose.box(size))
        for size, trimmed in zip(scene.sizes, scene.trimmed, strict=True)
        for pose in poses.of(size)
        if jobs.can_fit(scene.area, trimmed.size, pose)
    )
    if needed > memory:
        raise InputError(
            f"memory {format_size(memory)} does not suffice for {poses};"
            f" {format_size(needed)} is the least"
        )
