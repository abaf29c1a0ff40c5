"""Refuses, before a search begins, what it cannot do in an image that is read by windows."""

from __future__ import annotations

from patchsim.errors import InputError, printable
from patchsim.machine.memory import format_size
from patchsim.options import Options
from patchsim.pictures import windowed
from patchsim.scene.build import Scene

_SCORE_BYTES = 4


def check_search(scene: Scene, options: Options, *, keeps_maps: bool) -> None:
    """Check what is asked for where the searched area is too large to be read whole.

    Parameters
    ----------
    scene : Scene
    options : Options
    keeps_maps : bool
        Maps of all scores are asked for in the report, and not in a file.

    Raises
    ------
    InputError
        If it needs the whole area, or a map of all windows.
    """
    if windowed.of(scene.image) is None:
        return
    if keeps_maps:
        height, width = scene.image.shape[:2]
        down, across = options.stride
        size = format_size(_SCORE_BYTES * -(-height // down) * -(-width // across))
        raise _refusal(
            scene.names[0],
            f"its map of up to {size} is not kept; give the path of a file that it is written to,"
            " or a region",
        )
    _check_poses(scene.names[0], options)


def check_options(name: str, options: Options) -> None:
    """Check what is asked for before an image is opened by windows, of which all is searched.

    Raises
    ------
    InputError
        If it needs the whole image.
    """
    if options.region is None:
        _check_poses(name, options)


def _check_poses(name: str, options: Options) -> None:
    if options.poses is not None and not options.poses.is_of_quarter_turns:
        raise _refusal(
            name,
            "scales and angles other than quarter turns are searched for in the whole of it; give a"
            " --region, or a smaller --level if it has levels",
        )


def _refusal(name: str, reason: str) -> InputError:
    return InputError(
        f"{printable(name)} is read by windows, because it is too large to be read whole,"
        f" and {reason};\nor allow more with --max-pixels and --memory"
    )
