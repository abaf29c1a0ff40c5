"""The scene: the searched part of the image and the kernels, in one type, range and colours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from patchsim import metrics
from patchsim.errors import InputError
from patchsim.geometry.area import Area
from patchsim.metrics import Kernel, Visibility
from patchsim.options import Options
from patchsim.pictures import windowed
from patchsim.pictures.reader import Picture
from patchsim.scene import by_windows, edges, inversion, uncounted, unusable, value_range
from patchsim.scene import color as colors
from patchsim.scene.comparison import Comparisons
from patchsim.scene.inversion import Inverses
from patchsim.scene.unusable import SkippedKernel
from patchsim.types import Pixels


class Scene(NamedTuple):
    """The image and the kernels as they are compared.

    Attributes
    ----------
    names : list of str
        The image's name, then the kernels'.
    image : array [H, W, C]
        The pixels of the area. Those of a picture that is read by windows are a `Windowed`.
    kernels : list of Kernel
    trimmed : list of Kernel
        The kernels as they are searched for, without margins of weight 0 unless `Options.trim` is
        false. Positions, sizes, and which matches overlap, are those of `kernels`.
    flat_kernels : list of bool
        Whether each kernel has a single colour.
    area : Area
    zero : array [C]
        The value that 0 has become in each channel. An offset may have been subtracted from it, as
        from the image and the kernels.
    limits : float64 array [C, 2]
        The ends of the data range in each channel. An offset may have been subtracted, as from
        `zero`.
    span : float
        The width R of the data range.
    drawn : (pixels, R, low)
        The whole image as an overlay shows it, its data range and the lowest value of that.
    visible : Visibility, optional
        The visibility of the area, where it varies.
    empty_scores : list of float
        The score of each kernel in an area of its mean colour.
    numbers : list of int
        The number of each kernel among those that were opened; others are not searched for.
    unusable : tuple of SkippedKernel
        Those.
    has_inverted : bool
        The second half of the kernels are the inverted copies of the first half, in its order.
    inverses : Inverses
        Where these are kept.
    """

    names: list[str]
    image: Pixels
    kernels: list[Kernel]
    trimmed: list[Kernel]
    flat_kernels: list[bool]
    area: Area
    zero: NDArray[Any]
    limits: NDArray[np.float64]
    span: float
    drawn: tuple[Pixels, float, float]
    visible: Visibility | None
    empty_scores: list[float]
    numbers: list[int]
    unusable: tuple[SkippedKernel, ...] = ()
    has_inverted: bool = False
    inverses: Inverses = field(default_factory=Inverses)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of the whole kernels."""
        return [kernel.size for kernel in self.kernels]

    @property
    def given(self) -> int:
        """The number of kernels, without their inverted copies."""
        return len(self.kernels) // (2 if self.has_inverted else 1)

    @property
    def labels(self) -> list[str]:
        """The names, which tell inverted copies from the kernels."""
        behind = self.given + 1
        return [*self.names[:behind], *(f"{name} inverted" for name in self.names[behind:])]

    def seen(self, sizes: Sequence[tuple[int, int]]) -> list[Visibility | None]:
        """Return the visibility of the pixels under windows of each size (`Area.padded_views`)."""
        visible = self.visible
        if visible is None:
            return [None] * len(sizes)
        # Zeros around an image that is transparent in part are as invisible as these parts.
        area = self.area._replace(padding="zero") if self.area.is_border_hidden else self.area
        from patchsim.pictures import plane  # where something is hidden

        levels, zero = plane.with_channel(visible.levels), np.zeros(1, np.uint8)
        around = by_windows.padded(levels, area, sizes, zero)
        return [Visibility(plane.without_channel(one), visible.full_level) for one in around]

    @classmethod
    def of(
        cls,
        image: Picture,
        comparisons: Comparisons,
        options: Options,
        *,
        overlay: bool,
        image_mask: Picture | None = None,
    ) -> Scene:
        """Bring the image and the kernels to one type, range and colour space.

        Channels that do not count are left out.

        Parameters
        ----------
        image : Picture
            Its pixels are freed once they are converted, if the caller does not hold them.
        comparisons : Comparisons
            The kernels, and how they are compared.
        options : Options
        overlay : bool
            The whole image will be drawn.
        image_mask : Picture, optional
            How much each pixel of the image counts.

        Raises
        ------
        InputError
            If they do not fit each other, the region, the data range, the metric, the weights of
            channels or the memory, or if nothing of the image is visible.
        """
        area = Area.in_image(image.name, image.pixels.shape[:2], options.region, options.padding)
        image, visible = uncounted.in_image(image, image_mask, area, options)
        uncut, shift = image, image.shift
        pixels = by_windows.crop(image.pixels, area, options.memory)
        visible = by_windows.in_memory(visible, pixels)
        pixels = by_windows.without_hidden(pixels, visible)
        image = Picture(image.name, pixels, shift=shift, is_half=image.is_half)
        ends = by_windows.extent(image, is_needed=comparisons.is_free_of_range)
        data_range = comparisons.data_range(image, ends)
        drawn = None
        if overlay and (data_range != options.data_range or _is_different(area, visible, options)):
            drawn = _drawn(uncut, options, is_free=comparisons.is_free_of_range)
        del uncut
        pixels = by_windows.checked(image, data_range, options.metric, ends)
        area.check_values(data_range)
        if options.color == edges.NAME:
            edges.check(pixels, image.name, options)
            visible = edges.visibility(visible, options.padding)
        if options.invert:
            inversion.check(options, is_range_known=data_range == options.data_range)
        compared = comparisons.of(image, ends, data_range, options.memory)
        conversion = compared.conversion
        names = [image.name, *compared.names]
        del image
        pixels = windowed.each(pixels, partial(conversion.in_range, shift=shift))
        pixels = windowed.each(pixels, conversion.in_colors)
        displayed, zero, offset = pixels, compared.zero, compared.offset(pixels)
        if offset is not None:
            pixels, zero = windowed.each(pixels, partial(np.add, -offset)), zero - offset
        drawn = drawn or (displayed if overlay else pixels, conversion.span, conversion.low)
        kernels, faults = compared.kernels(offset)
        given = [kernel.name for kernel in comparisons.pictures]
        scene = cls(
            names=names,
            image=pixels,
            kernels=kernels,
            trimmed=[kernel.trimmed() for kernel in kernels] if options.trim else kernels,
            flat_kernels=compared.are_flat,
            area=area,
            zero=zero,
            limits=conversion.limits(pixels.shape[2], offset),
            span=conversion.span,
            drawn=drawn,
            visible=visible,
            empty_scores=compared.empty_scores,
            numbers=compared.numbers,
            unusable=unusable.of(compared.faults, range(len(given)), given),
            # Kernels less an offset are those of this image alone.
            inverses=compared.inverses if offset is None else Inverses(),
        )
        return scene.without(faults, strict=options.strict)

    def padded(self, sizes: Sequence[tuple[int, int]]) -> list[Pixels]:
        """Return the pixels that windows of each size cover, as `Area.padded_views`."""
        return by_windows.padded(self.image, self.area, sizes, self.zero)

    def with_inverted(self, options: Options) -> Scene:
        """Return the scene with an inverted copy of each kernel behind all kernels.

        Raises
        ------
        InputError
            If no kernel can be inverted, or, with `strict`, if one cannot.
        """
        made: dict[int, Kernel] = {}
        faults: dict[int, InputError] = {}
        for number, (kernel, name) in enumerate(zip(self.kernels, self.names[1:], strict=True)):
            try:
                invert = partial(inversion.inverted, kernel, self.limits, options.metric, name)
                made[number] = self.inverses.get(kernel, invert)
            except InputError as error:
                faults[number] = error
        kept, copies = self.without(faults, strict=options.strict), list(made.values())
        empty = [metrics.empty_score(kernel, options.metric, self.span) for kernel in copies]
        return kept._replace(
            names=[*kept.names, *kept.names[1:]],
            kernels=kept.kernels + copies,
            trimmed=kept.trimmed
            + ([copy.trimmed() for copy in copies] if options.trim else copies),
            flat_kernels=kept.flat_kernels * 2,
            empty_scores=kept.empty_scores + empty,
            numbers=kept.numbers * 2,
            has_inverted=True,
        )

    def without(self, faults: Mapping[int, InputError], *, strict: bool) -> Scene:
        """Return the scene without the kernels that have faults.

        Raises
        ------
        InputError
            If no kernel is left, or with `strict` if there is a fault.
        """
        if not faults:
            return self
        kept = unusable.remaining(len(self.kernels), faults, strict=strict)
        return self._replace(
            names=[self.names[0], *(self.names[1 + place] for place in kept)],
            kernels=[self.kernels[place] for place in kept],
            trimmed=[self.trimmed[place] for place in kept],
            flat_kernels=[self.flat_kernels[place] for place in kept],
            empty_scores=[self.empty_scores[place] for place in kept],
            numbers=[self.numbers[place] for place in kept],
            unusable=self.unusable + unusable.of(faults, self.numbers, self.names[1:]),
        )


def _drawn(image: Picture, options: Options, *, is_free: bool) -> tuple[Pixels, float, float]:
    """Return the whole image for an overlay, its data range and the lowest value of that.

    If it needs no data range to be compared, values beyond the default one are drawn in their own.
    """
    drawn_range = options.data_range
    if is_free and value_range.implied([image], [value_range.extent(image)]) is not None:
        drawn_range = value_range.drawn(image)
    if windowed.of(image.pixels) is None:
        value_range.check_values(image, drawn_range, options.metric)
    drawn = value_range.common([image], drawn_range)
    convert = partial(drawn.convert, shift=image.shift)
    return windowed.each(image.pixels, convert), drawn.span, drawn.low


def _is_different(area: Area, visible: Visibility | None, options: Options) -> bool:
    """Whether what is compared are other pixels than those that an overlay shows."""
    converted = options.color != colors.DEFAULT or options.channel_weights is not None
    return area.region is not None or visible is not None or converted
