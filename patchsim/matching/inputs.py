"""The pictures that a matcher keeps: kernels and masks, opened once, within its memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from patchsim.errors import InputError, printable, titled
from patchsim.machine.memory import format_size
from patchsim.options import Options
from patchsim.pictures import opening, reader, windowed
from patchsim.pictures.limits import MemoryNeed, TooLargeError
from patchsim.pictures.reader import Picture
from patchsim.scene import masks, transparent_color, uncounted, unusable
from patchsim.scene.unusable import SkippedKernel
from patchsim.types import Weights

if TYPE_CHECKING:
    from patchsim.pictures.reader import Source

_SHARE_OF_MASK = 4  # the part of the memory in which the mask of a large image is read
_DESCRIBED = 3  # kernels
_LARGE = 4  # times the area of the last kernel, and a share of one in so many of the image's


def as_list(kernel: Source | Sequence[Source]) -> list[Source]:
    """Return one kernel or several as a list with at least one."""
    if isinstance(kernel, list | tuple):
        kernels: list[Source] = list(kernel)
    else:
        kernels = [cast("Source", kernel)]
    if not kernels:
        raise InputError("there is no kernel; give at least one")
    return kernels


class Kernels(NamedTuple):
    """The kernels of a search, their mask and that of the image.

    Attributes
    ----------
    pictures : list of Picture
    mask : Picture or None
    weights : list of uint8 arrays [h, w], or None
        How much each pixel of a kernel counts; None where all count the same.
    streams : int
        How many of these pictures came from standard input.
    numbers : list of int
        The number of each picture among the kernels that were given.
    unusable : tuple of SkippedKernel
        Kernels that could not be opened.
    image_mask : Picture or None
    """

    pictures: list[Picture]
    mask: Picture | None
    weights: list[Weights | None]
    streams: int
    numbers: list[int]
    unusable: tuple[SkippedKernel, ...]
    image_mask: Picture | None = None

    @classmethod
    def opened(
        cls,
        sources: Sequence[Source],
        mask: Source | None,
        options: Options,
        image_mask: Source | None = None,
    ) -> Kernels:
        """Open kernels and masks.

        Raises
        ------
        InputError
            If a mask cannot be read, or no kernel can be read and has the mask's size, or with
            `strict` not every kernel.
        """
        streams = count_streams([*sources, *(one for one in (mask, image_mask) if one is not None)])
        several = len(sources) > 1
        names = [f"kernel-{i}" if several else "kernel" for i in range(1, len(sources) + 1)]
        left = options.memory
        shades = None if mask is None else open_one(mask, "mask", options, left)
        left -= 0 if shades is None else shades.nbytes
        counted = None if image_mask is None else _open_image_mask(image_mask, options, left)
        left -= 0 if counted is None else counted.nbytes
        opened: dict[int, tuple[Picture, Weights | None]] = {}
        faults: dict[int, InputError] = {}
        for number, (name, source) in enumerate(zip(names, sources, strict=True)):
            try:
                picture = open_one(source, name, options, left)
                weights = masks.kernel_weights(picture, shades, ignore_alpha=options.ignore_alpha)
                picture, weights = transparent_color.left_out(picture, weights, options)
                picture, weights = uncounted.in_kernel(picture, weights, options)
            except InputError as error:
                faults[number] = error
                if options.strict:
                    break
                continue
            opened[number] = picture, weights
            left -= picture.nbytes  # what is already decoded stays
        unusable.remaining(len(sources), faults, strict=options.strict)
        labels = [
            name if isinstance(source, np.ndarray) else str(source)
            for name, source in zip(names, sources, strict=True)
        ]
        return cls(
            [picture for picture, _ in opened.values()],
            shades,
            [weights for _, weights in opened.values()],
            streams,
            list(opened),
            unusable.of(faults, range(len(sources)), labels),
            counted,
        )

    def skipped(self, others: Sequence[SkippedKernel]) -> tuple[SkippedKernel, ...]:
        """Return all kernels that are left out: not opened, or, in `others`, not used further on.

        The numbers of `others` are those of the opened kernels.
        """
        given = [replace(one, number=self.numbers[one.number]) for one in others]
        return tuple(sorted([*self.unusable, *given], key=lambda one: one.number))

    def left_out(self, others: Sequence[SkippedKernel]) -> list[str]:
        """Return a notice for each kernel that is left out."""
        return [f"left out: {one.reason}" for one in self.skipped(others)]

    @property
    def digests(self) -> dict[str, str]:
        """The SHA-256 of each kernel with its weights, and of the image's mask, by their names.

        What is left out keeps its number, so that the others keep theirs.
        """
        import hashlib  # it takes 3 ms to load

        digests = {}
        for number, picture, weights in zip(self.numbers, self.pictures, self.weights, strict=True):
            digest = hashlib.sha256(picture.profile or b"")
            for values in (picture.pixels, picture.alpha, weights):
                if values is not None:
                    digest.update(f"{values.dtype.str} {values.shape} {picture.stored}".encode())
                    digest.update(np.ascontiguousarray(values).data)
            digests[f"kernel {number + 1}"] = digest.hexdigest()
        if self.image_mask is not None:
            digest = hashlib.sha256()
            for band in windowed.bands(self.image_mask.pixels):
                digest.update(np.ascontiguousarray(band).data)
            digests["image mask"] = digest.hexdigest()
        return digests

    @property
    def nbytes(self) -> int:
        """Bytes of all pixels and their opacity."""
        return sum(picture.nbytes for picture in [*self.pictures, *self.masks])

    @property
    def masks(self) -> list[Picture]:
        """The mask of the kernels and that of the image, those that there are."""
        return [mask for mask in (self.mask, self.image_mask) if mask is not None]

    @property
    def description(self) -> str:
        """The names and sizes of the first kernels, and whether there is a mask."""
        named = [
            f"{printable(picture.name)} {picture.pixels.shape[1]}x{picture.pixels.shape[0]}"
            for picture in self.pictures[:_DESCRIBED]
        ]
        more = len(self.pictures) - len(named)
        text = ", ".join(named) + (f" and {more} more" if more else "")
        return text if self.mask is None else f"{text} with a mask"

    def notices(self, image: Picture, size: tuple[int, int], options: Options) -> tuple[str, ...]:
        """Return what the user should know about the image and these pictures, each thing once.

        `size` is the image's (height, width).
        """
        read = [image, *self.pictures]
        notices = [text for picture in read for text in picture.notices]
        notices += [
            f"{titled('mask', mask.name)} has transparent pixels; only its grey counts"
            for mask in self.masks
            if mask.alpha is not None
        ]
        notices += [
            f"{printable(picture.name)} has transparent pixels; alpha is ignored"
            for picture in read
            if options.ignore_alpha and picture.alpha is not None
        ]
        if self._has_pictures_to_search(size):
            first, last = printable(image.name), printable(self.pictures[-1].name)
            notices.append(
                f"{first} is the image, and the other {len(self.numbers) + len(self.unusable)} are"
                f" kernels, most of them larger than {last};\nto search many pictures for {last},"
                f" run patchsim scan PICTURES... --kernel {last}"
            )
        return tuple(dict.fromkeys(notices))

    def _has_pictures_to_search(self, image: tuple[int, int]) -> bool:
        """Return whether the kernels look like pictures to search, and the last like the kernel.

        Those to search are about as large as the image, (height, width), the first of them.
        """
        areas = [picture.pixels.shape[0] * picture.pixels.shape[1] for picture in self.pictures]
        min_area = max(_LARGE * areas[-1], image[0] * image[1] / _LARGE)
        large = [area for area in areas[:-1] if area >= min_area]
        return len(large) * 2 > len(areas[:-1])


def count_streams(sources: Sequence[Source | Picture], others: int = 0) -> int:
    """Count the sources that are standard input, with `others` before them.

    Raises
    ------
    InputError
        If there are two: it can be read once.
    """
    streams = others + sum(
        not isinstance(source, Picture) and reader.is_stdin(source) for source in sources
    )
    if streams > 1:
        raise InputError(
            f"standard input '-' is asked for {streams} pictures, but it can hold one;"
            " give paths for the others"
        )
    return streams


def whole_need(
    error: MemoryNeed, image: Source, others: Sequence[Source | None], max_pixels: int
) -> InputError:
    """Return the error of a kernel or mask that does not fit into memory, with the need of all.

    An image that can be read by windows needs little, which is known when it is opened.
    """
    from patchsim.pictures import large  # as below, where something does not fit

    by_windows = large.is_windowed(image)
    sources = others if by_windows else [image, *others]
    needed = sum(reader.needed_bytes(one, max_pixels) for one in sources if one is not None)
    if needed <= error.needed:
        return error
    allowed = f"{'at least ' if by_windows else ''}{format_size(needed)}"
    return InputError(
        f"{error.finding};\nallow {allowed} with --memory (memory=) for"
        f" all {'kernels and masks' if by_windows else 'pictures'}"
    )


def _open_image_mask(source: Source, options: Options, memory: int) -> Picture:
    """Open the mask of an image; one that is too large to be read whole is read by windows."""
    try:
        return open_one(source, "image mask", options, memory)
    except TooLargeError:
        from patchsim.pictures import large

        share = memory // _SHARE_OF_MASK
        opened = large.open_by_windows(source, memory=share, alpha=False, ignore_alpha=True)
        if opened is None:
            raise
        return opened


def open_one(source: Source, name: str, options: Options, memory: int) -> Picture:
    """Open a picture within these bytes; `name` is its name if it is no file."""
    return opening.open_source(
        source,
        name=name,
        max_pixels=options.max_pixels,
        memory=max(0, memory),
        total=options.memory,
        alpha=options.alpha,
    )
