"""One part of a search: the flags of `patchsim match` become a file for `patchsim merge`."""

from __future__ import annotations

import re
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from patchsim.cli import imports, watcher
from patchsim.cli.flags import MatchFlags
from patchsim.errors import FOUND, InputError, printable

if TYPE_CHECKING:
    from collections.abc import Callable

    from patchsim.options import Given

# Flags about the whole search, which `merge` takes or nobody does with parts.
_REFUSED = {
    "map": "--map needs the scores of all windows, which parts do not keep; leave it out",
    "resume": "--resume needs the scores of all windows, which parts do not keep; leave it out",
    "blend": "--blend needs the scores of all windows, which parts do not keep; leave it out",
    "overlay": "--overlay is of the whole search; give it to patchsim merge",
    "labels": "--labels is about the overlay; give both to patchsim merge",
    "report": "--report is of the whole search; give it to patchsim merge",
    "cluster": "--cluster and --part both split the search; give one of them",
    "wait": "--wait looks at a picture again and again; leave out --part",
    "wait_gone": "--wait-gone looks at a picture again and again; leave out --part",
}
# Flags of this process alone, which the file does not tell.
_OWN = ("part", "part_file", "preview", "force", "quiet", "explain", "memory", "threads", "debug")


def check(flags: MatchFlags) -> None:
    """Refuse flags that do not go with a part.

    Raises
    ------
    InputError
        If there are some.
    """
    if flags.part is None:
        if flags.part_file is not None:
            raise InputError("--part-file is about a part; give --part I/N with it")
        return
    for name, text in _REFUSED.items():
        if getattr(flags, name) is not None:
            raise InputError(text)
    if flags.heatmap not in (None, "none"):
        raise InputError(
            "--heatmap needs the scores of all windows, which parts do not keep; leave it out"
        )


def command(flags: MatchFlags, options_of: Callable[[MatchFlags], Given]) -> int:
    """Compute the part that the flags ask for; return the exit code."""
    assert flags.part is not None
    imports.limit_libraries()
    with imports.quickly():
        from patchsim.cluster import parts
        from patchsim.matching.matcher import Matcher
    part = _part(flags.part)
    with watcher.Watcher(quiet=flags.quiet, explain=flags.explain) as observer:
        options = with_margin(flags, options_of(flags))
        matcher = Matcher(flags.kernel, mask=flags.mask, image_mask=flags.image_mask, **options)
        parts.compute(
            matcher,
            flags.image,
            part,
            parts.file_name(flags.image, part) if flags.part_file is None else flags.part_file,
            flags=_told(flags),
            observer=observer,
            force=flags.force,
        )
    return FOUND


def with_margin(flags: MatchFlags, options: Given) -> Given:
    """Find margins where `match` with these flags does: where it draws a heatmap, by default."""
    if flags.margin is None and not flags.no_heatmap and flags.heatmap != "none":
        return {**options, "margin": True}
    return options


def _told(flags: MatchFlags) -> dict[str, Any]:
    """Return the flags that `merge` needs to do what `match` would."""
    return {
        field.name: getattr(flags, field.name)
        for field in fields(flags)
        if is_told(field.name) and getattr(flags, field.name) != field.default
    }


def is_told(name: str) -> bool:
    """Return whether the file of a part may tell of a flag: of none that writes files."""
    return name not in _OWN and name not in _REFUSED


def _part(text: str) -> Any:
    """Parse I/N."""
    from patchsim.cluster.part_files import Part

    typed = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text.strip())
    if typed is None or not 1 <= int(typed[1]) <= int(typed[2]):
        raise InputError(
            f"part {printable(text)} is not possible; give I/N, such as 3/8, with I from 1 to N"
        )
    return Part(int(typed[1]), int(typed[2]))
