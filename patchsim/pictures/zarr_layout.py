"""Which array of a Zarr store is the picture, and which axes are rows, columns and channels.

A store is a folder, or what is behind a URL: an array of Zarr 2 or 3, or a group. Of a group
OME-Zarr (https://ngff.openmicroscopy.org) says which arrays are the levels of one picture.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from patchsim.errors import DamageError, InputError, printable
from patchsim.pictures.source import level_notice, no_part

PACKAGES = "zarr"  # the extra `zarr`

_CHANNELS = ("c", "channel", "channels", "band", "bands")  # names of their axis
_MOST_COLORS = 4  # channels of an array whose axes have no names
# Codecs that only compress or rearrange bytes. Others could load code of a stranger.
_CODECS = frozenset(
    {
        "bytes", "transpose", "sharding_indexed", "crc32c", "blosc", "gzip", "zstd", "zlib", "bz2",
        "lz4", "lzma", "shuffle", "delta", "packbits", "fixedscaleoffset", "quantize", "bitround",
        "crc32", "adler32", "fletcher32", "jenkins_lookup3", "default", "regular",
    }
)  # fmt: skip


class Layout(NamedTuple):
    """The array of a picture, and how a window [h, w, C] is taken from it.

    Attributes
    ----------
    array : zarr.Array
    shape : (height, width, channels)
    axes : tuple of int
        Those of rows, columns and, if there are any, channels.
    notices : tuple of str
    is_channelled : bool
        The store says that the channels are no colours with alpha.
    """

    array: Any
    shape: tuple[int, int, int]
    axes: tuple[int, ...]
    notices: tuple[str, ...]
    is_channelled: bool

    @property
    def chunk(self) -> tuple[int, int]:
        """Rows and columns of a chunk."""
        rows, cols = (
            min(self.array.chunks[axis], self.array.shape[axis]) for axis in self.axes[:2]
        )
        return rows, cols

    def window(self, rows: slice, cols: slice) -> Any:
        """Read a window [h, w, C]."""
        wanted: list[Any] = [0] * self.array.ndim
        wanted[self.axes[0]], wanted[self.axes[1]] = rows, cols
        if len(self.axes) == 2:
            values = self.array[tuple(wanted)]
            return (values if self.axes[0] < self.axes[1] else values.T)[..., None]
        wanted[self.axes[2]] = slice(None)
        values = self.array[tuple(wanted)]
        kept = sorted(self.axes)
        return values.transpose([kept.index(axis) for axis in self.axes])


def library(name: str) -> Any:
    """Import zarr, which some pictures need.

    Raises
    ------
    InputError
        If it is not installed.
    """
    try:
        import zarr
    except ImportError as error:
        raise InputError(f"{name} is a Zarr store, which needs zarr: pip install {PACKAGES}") from (
            error
        )
    return zarr


def find(path: str, level: int = 0) -> Layout:
    """Open the picture of a store.

    Parameters
    ----------
    path : str
    level : int
        Of an OME-Zarr picture; 0 is the largest.

    Raises
    ------
    InputError
        If there is no array, or it is no picture.
    DamageError
        If what describes it cannot be read.
    """
    name = printable(path)
    zarr = library(name)
    try:
        opened = zarr.open(path, mode="r")
    except FileNotFoundError:
        raise InputError(f"{name} is no Zarr store, or not there; check the path") from None
    except MemoryError:
        raise
    except Exception as error:  # of many types, by what describes the store
        raise DamageError(f"what describes the Zarr store cannot be used: {error}") from error
    if isinstance(opened, zarr.Array):
        if level:
            raise no_part(name, "level", 1, level)
        return _of_array(opened, _dimensions(opened), name)
    return _of_group(opened, name, level)


def _of_group(group: Any, name: str, level: int) -> Layout:
    attributes = group.attrs.asdict()
    ome = attributes.get("ome", attributes)
    scales = ome.get("multiscales") if isinstance(ome, dict) else None
    if not scales:
        if level:
            raise no_part(name, "level", 1, level)
        arrays = sorted(key for key, _ in group.arrays())
        if len(arrays) == 1:
            array = group[arrays[0]]
            return _of_array(array, _dimensions(array), name)
        inside = ", ".join(map(printable, [*arrays, *(key for key, _ in group.groups())][:9]))
        raise InputError(
            f"{name} is a Zarr group of {inside or 'nothing'}; give the path of one array in it"
        )
    try:
        datasets, axes = scales[0]["datasets"], scales[0].get("axes", ())
        names = [_axis_name(axis) for axis in axes]
        if level >= len(datasets):
            raise no_part(name, "level", len(datasets), level)
        path = datasets[level]["path"]
        array = group[path]
        if not hasattr(array, "shape"):
            raise DamageError(
                f"its multiscales of OME-Zarr name {printable(path)}, which is a group and no array"
            )
        names = names or list("tczyx"[-array.ndim :])  # before version 0.3
    except (KeyError, TypeError, AttributeError, IndexError) as error:
        raise DamageError(f"its multiscales of OME-Zarr lack {error}") from error
    if len(names) != array.ndim:
        raise DamageError(
            f"its multiscales of OME-Zarr name {len(names)} axes, but {printable(path)} has the"
            f" shape {printable(list(array.shape))}"
        )
    layout = _of_array(array, names, name)
    notices = []
    if len(scales) > 1:
        notices.append(f"{name} has {len(scales)} pictures; the first is used")
    if level:
        notices.append(level_notice(name, level, len(datasets), layout.shape))
    return layout._replace(notices=(*notices, *layout.notices))


def _axis_name(axis: Any) -> str:
    """Return the name of an axis of OME-Zarr; that of channels may have any."""
    if isinstance(axis, str):
        return axis.lower()
    return "c" if axis.get("type") == "channel" else str(axis["name"]).lower()


def _dimensions(array: Any) -> list[str]:
    """Return the names of an array's axes, if it has some."""
    given = getattr(array.metadata, "dimension_names", None)
    given = given or array.attrs.asdict().get("_ARRAY_DIMENSIONS") or ()
    return [str(one).lower() for one in given]


def _of_array(array: Any, names: Sequence[str], name: str) -> Layout:
    """Return how an array is a picture: by the names of its axes, or as [H, W] or [H, W, C]."""
    _check_codecs(array, name)
    shape = array.shape
    known = len(names) == len(shape) and {"y", "x"} <= set(names)
    if not known and len(shape) not in (2, 3):
        raise InputError(
            f"{name} has the shape {printable(list(shape))}; give [H, W] or [H, W, C], or axes with"
            " the names y and x"
        )
    axes = [names.index("y"), names.index("x")] if known else [0, 1]
    channel = next((i for i, one in enumerate(names) if one in _CHANNELS), None)
    if known and channel is not None:
        axes.append(channel)
    elif not known and len(shape) == 3:
        _check_channels(shape, name)
        axes.append(2)
    left = [i for i in range(len(shape)) if i not in axes and shape[i] > 1]
    notices = [
        f"{name} has {shape[i]} along {printable(names[i])}; the first is used" for i in left
    ]
    if min(shape) < 1:
        raise InputError(f"{name} is empty: it has the shape {printable(list(shape))}")
    channels = shape[axes[2]] if len(axes) == 3 else 1
    is_channelled = known and channel is not None
    picture = shape[axes[0]], shape[axes[1]], channels
    return Layout(array, picture, tuple(axes), tuple(notices), is_channelled)


def _check_channels(shape: tuple[int, ...], name: str) -> None:
    """Check that the last of three axes without names can be that of colours.

    Raises
    ------
    InputError
        If it is too long: it may be depth, or a picture may have its channels first.
    """
    if shape[2] > _MOST_COLORS:
        raise InputError(
            f"{name} has the shape {printable(list(shape))} and no names of axes, so its last axis"
            f" may be no channels;\nsave it with dimension_names=('y', 'x', 'c'), or give [H, W]"
            f" or [H, W, C] of up to {_MOST_COLORS} channels"
        )


def _check_codecs(array: Any, name: str) -> None:
    described = array.metadata.to_dict()
    parts = [described.get(key) for key in ("codecs", "filters", "compressor", "compressors")]
    unknown = sorted({one for one in _codecs(parts) if one not in _CODECS})
    if unknown:
        raise InputError(
            f"{name} is coded by {printable(', '.join(unknown))}, which is not decoded here; save"
            " it with zstd, for example"
        )


def _codecs(described: Any) -> Iterator[str]:
    """Yield the names of codecs, also of those inside of others."""
    if isinstance(described, dict):
        codec = described.get("id", described.get("name"))
        if codec is not None:
            yield str(codec).removeprefix("numcodecs.")
        for value in described.values():
            yield from _codecs(value)
    elif isinstance(described, (list, tuple)):
        for one in described:
            yield from _codecs(one)
