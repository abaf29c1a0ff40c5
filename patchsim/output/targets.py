"""The files a search writes: their paths, checked before the search, and the writing behind it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from patchsim.errors import InputError, escaped, printable
from patchsim.events import Observer
from patchsim.files import atomic, direct
from patchsim.output import exporters, map_files
from patchsim.output.contract import FileExporter, Finished
from patchsim.output.streamed_maps import StreamedMaps
from patchsim.pictures.reader import Picture

PathLike = str | os.PathLike[str]
_MAP = "map"  # the kind of the files that have all scores


class Asked(NamedTuple):
    """The results that are asked of a search beside its matches.

    Attributes
    ----------
    map : bool or path
        Keep the scores of all windows; a path also asks for the file.
    files : mapping from names of exporters to paths
        None stands for no file.
    force : bool
        Files that are read-only may be replaced.
    heatmap_size : int, optional
        The most pixels of a heatmap's side.
    labels : tuple of str
        What the labels of boxes say.
    resumes : bool
        The map is a file that goes on where an earlier run ended.
    """

    map: bool | PathLike
    files: Mapping[str, PathLike | None]
    force: bool
    heatmap_size: int | None = None
    labels: tuple[str, ...] = ()
    resumes: bool = False

    @property
    def has_maps(self) -> bool:
        """Whether the report has the maps, or they are written to files."""
        return self.map is not False

    @property
    def is_drawn(self) -> bool:
        """Whether maps are kept or files are written."""
        return self.has_maps or self.has_files

    @property
    def has_files(self) -> bool:
        """Whether files are written beside that of the map."""
        return any(path is not None for path in self.files.values())


class Target(NamedTuple):
    """The files of one kind.

    Attributes
    ----------
    kind : str
        The name of its exporter.
    paths : tuple of str
        One path for each kernel, or a single one for all kernels.
    """

    kind: str
    paths: tuple[str, ...]

    @property
    def exporter(self) -> FileExporter:
        return exporters.load(self.kind)


class Outputs(NamedTuple):
    """The files that a search writes, in the order of writing.

    Attributes
    ----------
    targets : tuple of Target
    keeps_map : bool
        Whether the search keeps maps, for a file or for the report.
    heatmap_size : int or None
        The most pixels of a heatmap's side, if they were given.
    labels : tuple of str
        What the labels of boxes say.
    """

    targets: tuple[Target, ...]
    keeps_map: bool
    heatmap_size: int | None = None
    labels: tuple[str, ...] = ()

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(path for target in self.targets for path in target.paths)

    @property
    def is_image_needed(self) -> bool:
        """Whether a file shows the image."""
        return any(target.exporter.NEEDS_IMAGE for target in self.targets)

    @property
    def of_maps(self) -> tuple[str, ...]:
        """The options that ask for maps."""
        kinds = [target.kind for target in self.targets if target.exporter.NEEDS_MAP]
        return tuple(kinds) or (_MAP,)

    def of_kernels(self, numbers: Sequence[int]) -> Outputs:
        """Return the outputs of the kernels with these numbers alone."""
        if not self.targets:
            return self
        targets = tuple(
            one._replace(paths=tuple(one.paths[number] for number in numbers))
            if one.exporter.IS_PER_KERNEL
            else one
            for one in self.targets
        )
        return self._replace(targets=targets)

    @property
    def is_map_needed(self) -> bool:
        """Whether a file beside that of the map itself is made from the map."""
        return any(one.exporter.NEEDS_MAP for one in self.targets if one.kind != _MAP)

    def streamed(self, fingerprint: Mapping[str, str] | None) -> StreamedMaps:
        """Return the files of maps, to be written while these are made.

        With a fingerprint of the search they go on where an earlier run ended.
        """
        paths = [path for target in self.targets if target.kind == _MAP for path in target.paths]
        return StreamedMaps(paths, fingerprint)

    def path(self, kind: str, kernel: int) -> str | None:
        """Return the path of a kernel's file of this kind, or None if there is no such file."""
        for target in self.targets:
            if target.kind == kind:
                return target.paths[kernel]
        return None

    def drawing_bytes(self, cells: int, pixels: int) -> int:
        """Estimate the memory that writing takes, for the largest map and the image."""
        return max(
            (target.exporter.working_bytes(cells, pixels) for target in self.targets), default=0
        )

    def check_image(self, height: int, width: int) -> None:
        """Check that the files can show an image of this size.

        Raises
        ------
        InputError
            If one cannot, because its format has smaller pictures.
        """
        for target in self.targets:
            for path in target.paths:
                target.exporter.check_image(path, height, width)

    def write(self, search: Finished, observer: Observer, streamed: StreamedMaps) -> None:
        """Write the files of a finished search; those of streamed maps are made, and appear.

        Raises
        ------
        OutputError
            If a file cannot be written; those before it are there.
        """
        for target in self.targets:
            for kernel, path in enumerate(target.paths):
                if target.kind == _MAP and streamed.has_map(kernel):
                    from patchsim.output.exporters.map import describe  # few maps are such

                    text = describe(search, kernel, streamed.finish(kernel))
                else:
                    with _writing(target.kind, path) as file:
                        text = target.exporter.write(file, search, kernel, path)
                observer.wrote(f"{target.kind} {escaped(path)}{text}")


def check(pictures: Sequence[Picture], asked: Asked, masks: Sequence[Picture] = ()) -> Outputs:
    """Check the files that are asked for.

    Parameters
    ----------
    pictures : sequence of Picture
        The image and then the kernels.
    asked : Asked
    masks : sequence of Picture
        Further pictures that must not be overwritten.

    Raises
    ------
    InputError
        If a path cannot be written, is an input, stands for several files, or is none.
    """
    paths = {kind: path for kind, path in asked.files.items() if path is not None}
    if not isinstance(asked.map, bool):
        paths[_MAP] = asked.map
    if not paths:
        return Outputs((), keeps_map=asked.has_maps)
    _check_one_stream(paths)
    stems = [picture.stem for picture in pictures[1:]]
    targets = tuple(_target(kind, paths[kind], stems) for kind in exporters.NAMES if kind in paths)
    inputs = [picture.file for picture in [*pictures, *masks] if picture.file]
    for target in targets:
        for path in target.paths:
            if target.kind == _MAP and asked.resumes:
                from patchsim.output import resumed_map  # where a map goes on

                resumed_map.check(path)
                continue
            if target.kind == _MAP:
                map_files.check(path)
            atomic.check_target(path, target.exporter.SUFFIXES, inputs, force=asked.force)
    is_map_needed = any(target.exporter.NEEDS_MAP for target in targets)
    outputs = Outputs(targets, asked.has_maps or is_map_needed, asked.heatmap_size, asked.labels)
    atomic.check_distinct(outputs.paths)
    return outputs


def _writing(kind: str, path: str) -> AbstractContextManager[Any]:
    return map_files.writing(path) if kind == _MAP else atomic.writing(path)


def _target(kind: str, value: object, stems: list[str]) -> Target:
    """Make the target of one kind from the path that was given."""
    path = _path(value, kind)
    if exporters.load(kind).IS_PER_KERNEL:
        return Target(kind, _per_kernel(path, kind, stems))
    if "{kernel}" in path:
        raise InputError(f"{kind} {printable(path)} shows all kernels; take {{kernel}} out")
    return Target(kind, (path,))


def _path(value: object, option: str) -> str:
    if not isinstance(value, str | os.PathLike) or not os.fspath(value):
        also = "True, or " if option == _MAP else ""
        raise InputError(f"{option} {value!r} is no path; give {also}the path of a file to write")
    path = os.fspath(value)
    return direct.STDOUT if path == "-" else path


def _check_one_stream(paths: Mapping[str, PathLike]) -> None:
    streams = [kind for kind, path in paths.items() if path == "-"]
    if len(streams) > 1:
        raise InputError(
            f"{streams[0]} and {streams[1]} are both '-', but standard output takes one file;"
            " give one of them a name"
        )


def _per_kernel(path: str, option: str, stems: list[str]) -> tuple[str, ...]:
    """List the path for each kernel: ``{kernel}`` is its stem, with -2, -3 where stems repeat."""
    if len(stems) > 1 and "{kernel}" not in path:
        raise InputError(
            f"{option} {printable(path)} is one file for {len(stems)} kernels;"
            " put {kernel} into its name"
        )
    taken: set[str] = set()
    paths = []
    for stem in stems:
        unique, count = stem, 1
        # For some file systems A and a are one name.
        while unique.casefold() in taken:
            count += 1
            unique = f"{stem}-{count}"
        taken.add(unique.casefold())
        paths.append(path.replace("{kernel}", unique))
    return tuple(paths)
