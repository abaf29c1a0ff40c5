"""How DICOM pictures are read, by pydicom: the first frame, rescaled to what its values mean."""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from patchsim.errors import DamageError, InputError, printable
from patchsim.machine.quiet import without_warnings
from patchsim.pictures import arrays, coded_size, jpeg, least_bytes, rescaling, signatures
from patchsim.pictures.limits import Decoded, Limits, silence_logger, unapplied

PACKAGES = "pydicom imagecodecs"  # the extra `dicom`
_META = signatures.DICOM_PREAMBLE + 4  # where the file meta information begins

_SYNTAX = (2, 0x10)
_DEFLATED = "1.2.840.10008.1.2.1.99"
_RLE = "1.2.840.10008.1.2.5"
# Codecs of imagecodecs for the transfer syntaxes that pydicom does not decode by itself.
_CODECS = {
    "1.2.840.10008.1.2.4.50": "jpeg", "1.2.840.10008.1.2.4.51": "jpeg",
    "1.2.840.10008.1.2.4.57": "ljpeg", "1.2.840.10008.1.2.4.70": "ljpeg",
    "1.2.840.10008.1.2.4.80": "jpegls", "1.2.840.10008.1.2.4.81": "jpegls",
    "1.2.840.10008.1.2.4.90": "jpeg2k", "1.2.840.10008.1.2.4.91": "jpeg2k",
    "1.2.840.10008.1.2.4.201": "jpeg2k", "1.2.840.10008.1.2.4.202": "jpeg2k",
    "1.2.840.10008.1.2.4.203": "jpeg2k",
}  # fmt: skip
_PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"UC", b"UN", b"UR", b"UT")
_MOST_META = 1 << 16  # bytes of the group of file meta information
_PIXEL_DATA = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_PIXEL_TAGS = (b"\xe0\x7f\x10\0", b"\x7f\xe0\0\x10")  # PixelData, in both orders of bytes
_VALUE_BYTES = 40  # peak bytes a value: stored, unpacked, converted, rescaled


def read(stream: BinaryIO, limits: Limits) -> Decoded:
    """Read the first frame of a DICOM file.

    Grey values are ``slope * stored + intercept``, or those of the modality LUT (DICOM PS3.3,
    C.11.1); without them MONOCHROME1, in which the least value is white, is inverted. Palettes and
    YBR become RGB.

    Raises
    ------
    InputError
        If there is no picture, it is too large or of an unsupported kind, or packages are missing.
    Exception
        If the file is damaged.
    """
    try:
        import pydicom
    except ModuleNotFoundError:
        raise InputError(
            f"{limits.name} is a DICOM file; packages that read it are not installed:\n"
            f"pip install {PACKAGES}, or save its pixels as .npy"
        ) from None
    silence_logger("pydicom")
    size = stream.seek(0, os.SEEK_END)
    limits.check_memory(2 * size, is_all=False)
    syntax = _transfer_syntax(stream)
    if syntax == _DEFLATED:
        raise InputError(f"{limits.name} is a deflated DICOM; save it uncompressed (dcmconv +te)")
    with without_warnings():  # about values that the standard forbids
        stream.seek(0)
        dataset = pydicom.dcmread(stream)
        _check_whole(dataset, stream)
        about = _About.of(dataset, limits.name)
        limits.check_held(about.width, about.height, about.least_bytes(syntax))
        limits.check_pixels(about.width, about.height)
        limits.check_memory(2 * size + about.width * about.height * about.samples * _VALUE_BYTES)
        stored = _stored(dataset, syntax, about, limits)
        values = _with_meaning(dataset, stored, about)
    pixels = arrays.to_pixels(values, limits.name, copy=True)
    notices = about.notices(limits.name, values.dtype)
    decoded = Decoded(pixels, notices=notices, shift=arrays.shift_of(values.dtype), profile=None)
    profile = bytes(dataset.get("ICCProfile") or b"")
    if profile and values.dtype.kind == "u" and about.bits == 8 * values.dtype.itemsize:
        return decoded._replace(profile=profile)
    return decoded._replace(unapplied=unapplied(profile, about.bits))


def _check_whole(dataset: Any, stream: BinaryIO) -> None:
    """Check that compressed pixels do not end too early: pydicom leaves these out."""
    if any(key in dataset for key in _PIXEL_DATA):
        return
    stream.seek(0)
    content = stream.read()
    if any(tag in content for tag in _PIXEL_TAGS):
        raise DamageError("its pixels end too early")


@dataclass(frozen=True)
class _About:
    """The frames of a data set, as it describes them."""

    width: int
    height: int
    samples: int
    bits: int
    is_signed: bool
    color: str
    frames: int
    slope: float
    intercept: float

    @classmethod
    def of(cls, dataset: Any, name: str) -> _About:
        if not any(key in dataset for key in _PIXEL_DATA):
            uid = dataset.get("SOPClassUID")
            known = getattr(uid, "name", uid)  # the number itself if it is unknown
            kind = f" ({known})" if known != uid else ""
            raise InputError(
                f"{name} is a DICOM file without a picture{kind}; give one with pixels"
            )
        return cls(
            width=int(dataset.Columns),
            height=int(dataset.Rows),
            samples=int(dataset.get("SamplesPerPixel", 1)),
            bits=int(dataset.get("BitsStored", dataset.get("BitsAllocated", 32))),
            is_signed=int(dataset.get("PixelRepresentation", 0)) == 1,
            color=str(dataset.get("PhotometricInterpretation", "MONOCHROME2")),
            frames=int(dataset.get("NumberOfFrames") or 1),
            slope=float(dataset.get("RescaleSlope") or 1),
            intercept=float(dataset.get("RescaleIntercept") or 0),
        )

    @property
    def is_rescaled(self) -> bool:
        return (self.slope, self.intercept) != (1, 0)

    @property
    def limits(self) -> tuple[int, int]:
        """The lowest and highest value that is stored."""
        half = 1 << (self.bits - 1)
        return (-half, half - 1) if self.is_signed else (0, 2 * half - 1)

    def least_bytes(self, syntax: str) -> int:
        """Return how many bytes a file with the first frame has at least, or 0 if compressed."""
        if syntax not in (*_PLAIN, _RLE):
            return 0
        samples = 1 if self.color.startswith("YBR") else self.samples  # perhaps subsampled
        min_bytes = self.width * self.height * samples * self.bits // 8
        return min_bytes // least_bytes.PACKBITS if syntax == _RLE else min_bytes

    def notices(self, name: str, dtype: np.dtype[Any]) -> tuple[str, ...]:
        notices: tuple[str, ...] = ()
        if self.frames > 1:
            notices += (f"{name} has {self.frames} frames; the first is used",)
        is_deep = dtype.kind == "u" and dtype.itemsize == 2
        if is_deep and self.bits < 16 and not self.is_rescaled:
            notices += (arrays.depth_notice(name, self.bits),)
        return notices


def _transfer_syntax(stream: BinaryIO) -> str:
    """Return the transfer syntax in the file meta information (DICOM PS3.10, 7.1)."""
    stream.seek(_META)
    head = stream.read(_MOST_META)
    place = 0
    while place + 8 <= len(head):
        group, element, kind, length = struct.unpack_from("<HH2sH", head, place)
        if group != _SYNTAX[0]:
            break
        place += 8
        if kind in _LONG:
            length = int.from_bytes(head[place : place + 4], "little")
            place += 4
        if (group, element) == _SYNTAX:
            return head[place : place + length].decode("ascii", "replace").rstrip("\0 ")
        place += length
    raise DamageError("it does not say how it is encoded")


def _stored(dataset: Any, syntax: str, about: _About, limits: Limits) -> NDArray[Any]:
    """Decode the first frame: [H, W] or [H, W, 3]."""
    if syntax in (*_PLAIN, _RLE):
        from pydicom import pixels

        return np.asarray(pixels.pixel_array(dataset, index=0))
    if syntax not in _CODECS:
        raise InputError(
            f"{limits.name} is a DICOM of the transfer syntax {printable(syntax[:64])}, which"
            " cannot be read;\nsave it uncompressed (dcmconv or gdcmconv --raw)"
        )
    try:
        import imagecodecs
    except ModuleNotFoundError:
        raise InputError(
            f"{limits.name} is a compressed DICOM; a package that reads it is not installed:\n"
            f"pip install {PACKAGES}"
        ) from None
    silence_logger("imagecodecs")
    from pydicom.encaps import generate_frames

    frame = next(generate_frames(dataset.PixelData, number_of_frames=about.frames), b"")
    _check_coded_size(_CODECS[syntax], frame, about)
    values = np.asarray(getattr(imagecodecs, f"{_CODECS[syntax]}_decode")(frame))
    wanted = (about.height, about.width, *([about.samples] if about.samples > 1 else []))
    if values.shape != wanted:
        raise DamageError(f"its frame decodes to {list(values.shape)}")
    if _CODECS[syntax] == "jpeg" and values.dtype == np.uint8:
        corner = values[-1, -1].reshape(-1)
        if jpeg.may_be_filled(corner) and jpeg.is_truncated(frame, about.height * about.width):
            raise DamageError("the data of its frame end early")
    if values.dtype.kind == "u" and about.is_signed:
        # The upper bits of signed values of fewer bits are not theirs.
        spare = 8 * values.dtype.itemsize - about.bits
        values = (values << spare).view(values.dtype.str.replace("u", "i")) >> spare
    return values


def _check_coded_size(codec: str, frame: bytes, about: _About) -> None:
    """Check that a frame which states its own size has that of the picture."""
    height, width = (
        coded_size.of_jpeg2000(frame) if codec == "jpeg2k" else coded_size.of_jpeg(frame)
    )
    if (height, width) != (about.height, about.width):
        raise DamageError(
            f"a frame of {about.width}x{about.height} says that it is {width}x{height}"
        )


def _with_meaning(dataset: Any, stored: NDArray[Any], about: _About) -> NDArray[Any]:
    """Apply the palette, the modality LUT, the rescale slope and intercept, or the inversion."""
    from pydicom import pixels

    if about.color == "PALETTE COLOR":
        colors: NDArray[Any] = pixels.apply_color_lut(stored, dataset)
        return colors
    if about.samples > 1:
        return stored
    if "ModalityLUTSequence" in dataset:
        looked_up: NDArray[Any] = pixels.apply_modality_lut(stored, dataset)
        return looked_up
    if about.is_rescaled:
        return rescaling.rescaled(stored, about.slope, about.intercept, about.limits)
    if about.bits == 1:
        stored = stored.astype(np.bool_)
        return ~stored if about.color == "MONOCHROME1" else stored
    if about.color == "MONOCHROME1" and stored.dtype.kind == "u":
        inverted: NDArray[Any] = stored.dtype.type((1 << about.bits) - 1) - stored
        return inverted
    return stored
