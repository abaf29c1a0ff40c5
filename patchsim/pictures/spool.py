"""Windows of a PNG or JPEG: its rows are decoded once, from top to bottom, into a temporary file.

libvips decodes them in bounded memory. `fail_on` makes it tell of a file that is cut short, which
otherwise ends in rows of zeros.
"""

from __future__ import annotations

import math
import shutil
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from patchsim.errors import DamageError, InputError, MachineError, printable
from patchsim.machine import storage
from patchsim.machine.memory import format_size
from patchsim.machine.threads import start
from patchsim.pictures import orientation, pillow_reader, plane, png
from patchsim.pictures.limits import Limits, scaled_to_8_bits
from patchsim.pictures.reader import Picture
from patchsim.pictures.source import Identity, only_whole
from patchsim.pictures.windowed import Windowed
from patchsim.types import Pixels

PACKAGES = "'pyvips[binary]'"  # the extra `big`

_OLDEST = 8, 16  # the version of libvips from which on it hands over rows as they are decoded
_PAUSE = 0.1  # seconds until a wait looks for signals
_CHANNELS = {0: 1, 2: 3, 6: 4}  # by the colour type of a PNG: grey, RGB, RGB with alpha
_MODES = {"L": 1, "RGB": 3}


class SpooledSource:
    """Pixels [H, W, C] that lie in a temporary file without a name; a `PixelSource`.

    The system frees the file with the source, or with the process, however that ends.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        identity: Identity,
        *,
        is_in_memory: bool = False,
    ) -> None:
        self.shape, self.dtype, self.identity = shape, dtype, identity
        self.cache = None
        self.held_bytes = math.prod(shape) * dtype.itemsize if is_in_memory else 0
        self.chunk = 1, shape[1]
        where = ", which lies in memory" if is_in_memory else ""
        self.description = f"by windows from a temporary file of its decoded rows{where}"
        self._row_bytes = shape[1] * shape[2] * dtype.itemsize
        self._written = 0
        self._lock = threading.Lock()
        self._file: Any = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed below
        weakref.finalize(self, self._file.close)

    @property
    def pixel_bytes(self) -> int:
        """Bytes of a pixel of a window while it is read: whole rows, and the window."""
        return 3 * self.shape[2] * int(self.dtype.itemsize)

    @property
    def rows(self) -> int:
        """How many whole rows are written."""
        return self._written // self._row_bytes

    def write(self, content: bytes | memoryview) -> None:
        """Append decoded pixels."""
        rest = memoryview(content)
        while rest:
            count = self._file.write(rest)
            self._written += count
            rest = rest[count:]

    def read(self, rows: slice, cols: slice) -> Pixels:
        """Return the pixels of a window; as for `PixelSource`."""
        height, width = rows.stop - rows.start, cols.stop - cols.start
        _, full_width, channels = self.shape
        if 2 * width < full_width:
            window = np.empty((height, width, channels), self.dtype)
            for number, row in enumerate(window):
                self._fill(row, rows.start + number, cols.start)
            return window
        band = np.empty((height, full_width, channels), self.dtype)
        self._fill(band, rows.start, 0)
        return np.ascontiguousarray(band[:, cols])

    def _fill(self, values: Pixels, row: int, col: int) -> None:
        content = values.reshape(-1).view(np.uint8)
        with self._lock:
            self._file.seek(row * self._row_bytes + col * self.shape[2] * self.dtype.itemsize)
            while len(content):
                count = self._file.readinto(content)
                if not count:
                    raise MachineError("a temporary file of decoded rows became shorter")
                content = content[count:]


def is_available() -> bool:
    """Return whether libvips is installed, and new enough."""
    try:
        import pyvips
    except (ImportError, OSError):
        return False
    return bool(pyvips.at_least_libvips(*_OLDEST))


def open_rows(stream: BinaryIO, label: str, *, memory: int, ignore_alpha: bool) -> Picture | None:
    """Decode a PNG or JPEG into a temporary file, to be read by windows.

    Returns
    -------
    Picture or None
        None if libvips is not installed.

    Raises
    ------
    InputError
        If it is of a kind that is only decoded whole, or the disk has no room.
    DamageError
        If it is damaged or cut short.
    """
    if not is_available():
        return None
    import pyvips

    identity = Identity.of(label, stream)
    channels, profile = _check_kind(stream, printable(label))
    source = _spooled(pyvips, identity, channels, memory)
    pixels = Windowed.from_source(source)
    opacity = None
    if channels == 4:
        largest = 255 if source.dtype == np.uint8 else 65535
        if not ignore_alpha and pixels.extremes[0, 0, 3] < largest:
            opacity = plane.of_channel(
                pixels, lambda window: scaled_to_8_bits(window[..., 3], largest)
            )
        pixels = pixels.converted(lambda window: window[..., :3])
    return Picture(label, pixels.as_pixels(), Path(label), alpha=opacity, profile=profile)


def _check_kind(stream: BinaryIO, name: str) -> tuple[int, bytes]:
    """Check that rows can be decoded one after another; return the channels and the profile."""
    limits = Limits(name, 0, None)
    stream.seek(0)
    if stream.read(len(png.SIGNATURE)) == png.SIGNATURE:
        about = png.about(stream, limits)
        turned, profile, is_woven = about.orientation, about.profile, about.is_interlaced
        is_usual = about.bits >= 8 and not about.has_transparent_value
        channels = _CHANNELS.get(about.color, 0) if is_usual else 0
    else:
        image, _ = pillow_reader.open_image(stream, limits)
        with image:
            turned, profile = orientation.of_image(image), image.info.get("icc_profile") or b""
            is_woven = "progressive" in image.info or "progression" in image.info
            channels = _MODES.get(image.mode, 0)
    if is_woven:
        raise only_whole(
            name,
            "is interlaced or progressive, so that its rows come all at once; save it as a tiled"
            " TIFF",
        )
    if not channels:
        raise only_whole(name, "has other colours than grey or RGB of 8 or 16 bits")
    if turned != 1:
        raise only_whole(name, f"is stored turned or mirrored (orientation {turned})")
    return channels, profile


def _spooled(vips: Any, identity: Identity, channels: int, memory: int) -> SpooledSource:
    """Decode all rows into a temporary file."""
    name, source = printable(identity.path), None
    try:
        image = vips.Image.new_from_file(identity.path, access="sequential", fail_on="truncated")
        dtype = np.dtype({"uchar": np.uint8, "ushort": np.uint16}.get(image.format, np.void))
        if image.bands != channels or dtype == np.void:
            raise only_whole(name, "has other colours than grey or RGB of 8 or 16 bits")
        shape = image.height, image.width, channels
        is_in_memory = storage.is_memory(tempfile.gettempdir())
        size = math.prod(shape) * dtype.itemsize
        _check_room(name, size, memory if is_in_memory else None)
        source = SpooledSource(shape, dtype, identity, is_in_memory=is_in_memory)
        _Decoding(vips, image, source).finish()
    except vips.Error as error:
        reason, top = str(error).strip().splitlines()[-1].strip(), source.rows if source else 0
        raise DamageError(f"its rows from y={top} on cannot be decoded: {reason}") from error
    except OSError as error:
        raise MachineError(
            f"the decoded rows of {name} cannot be written to {tempfile.gettempdir()}:"
            f" {error.strerror}"
        ) from error
    identity.open().close()  # the file is still what it was
    return source


class _Decoding(threading.Thread):
    """Decodes a picture in one sweep, which a signal can end, as another thread waits for it.

    Cutting band after band out of it would keep each band's pipeline in the cache of libvips.
    """

    def __init__(self, vips: Any, image: Any, source: SpooledSource) -> None:
        super().__init__(name="patchsim_decoding", daemon=True)
        self._image, self._source = image, source
        self._target = vips.TargetCustom()
        self._target.on_write(self._written)
        self._is_left = False
        self._has_ended = False
        self._running = threading.Lock()  # until it has ended
        self._running.acquire()
        self._error: Exception | None = None

    def finish(self) -> None:
        """Decode to the end, and raise the error of libvips or of the file, if there is one."""
        try:
            start(self)
        except BaseException:  # it may have begun, or not
            self._is_left = True
            raise
        try:
            self._wait()
        finally:
            self._is_left = True
            self._wait()
            self.join()  # not alone: after a wait that a signal ended, another may not wait at all
            # The target has this thread, which would keep the temporary file until a collection.
            del self._target, self._image
        if self._error is not None:
            raise self._error

    def _wait(self) -> None:
        while not self._has_ended:  # on some systems no signal ends a longer wait
            self._running.acquire(timeout=_PAUSE)

    def run(self) -> None:
        try:
            self._image.rawsave_target(self._target)
        except Exception as error:  # of any type: `finish` raises it
            self._error = self._error or error
        finally:
            self._has_ended = True
            self._running.release()

    def _written(self, content: memoryview) -> int:
        """Take pixels; return how many bytes were written, or -1 to end the decoding."""
        if self._is_left:
            return -1
        try:
            self._source.write(content)
        except Exception as error:  # of any type: `finish` raises it, and libvips cannot
            self._error = error
            return -1
        return len(content)


def _check_room(name: str, needed: int, memory: int | None) -> None:
    """Check the room for decoded rows, of which a folder in memory has no more than `memory`."""
    folder = tempfile.gettempdir()
    if memory is not None and needed > memory // 2:
        raise InputError(
            f"{name} is too large to be read whole, and its decoded rows take"
            f" {format_size(needed)}, but {folder} lies in memory, of which the search may take"
            f" {format_size(memory)};\nset TMPDIR to a folder on a disk, or allow more with"
            " --max-pixels and --memory"
        )
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{name} is too large to be read whole, and its decoded rows take"
            f" {format_size(needed)}, but {folder} has {format_size(free)};\nset TMPDIR to another"
            " folder, or allow more with --max-pixels and --memory"
        )
