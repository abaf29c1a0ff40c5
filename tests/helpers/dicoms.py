"""DICOM files, written by pydicom."""

from __future__ import annotations

import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate

EXPLICIT, BIG = "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2"


def write(path, frames, *, bits=None, syntax=EXPLICIT, color="MONOCHROME2", frame=None, **more):
    """A DICOM of a frame [H, W] or [H, W, 3], or of several in a list; `frame` is encoded data."""
    frames = frames if isinstance(frames, list) else [frames]
    first = frames[0]
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = meta.MediaStorageSOPClassUID, "1.2.3"
    data.Rows, data.Columns = first.shape[:2]
    data.SamplesPerPixel = first.shape[2] if first.ndim == 3 else 1
    data.PhotometricInterpretation = color
    if data.SamplesPerPixel > 1:
        data.PlanarConfiguration = 0
    data.BitsAllocated = 8 * first.dtype.itemsize
    data.BitsStored = bits or data.BitsAllocated
    data.HighBit = data.BitsStored - 1
    data.PixelRepresentation = int(first.dtype.kind == "i")
    if len(frames) > 1:
        data.NumberOfFrames = len(frames)
    for name, value in more.items():
        setattr(data, name, value)
    order = ">" if syntax == BIG else "<"
    content = b"".join(one.astype(one.dtype.newbyteorder(order)).tobytes() for one in frames)
    data.PixelData = encapsulate([frame]) if frame else content + b"\0" * (len(content) % 2)
    data["PixelData"].VR = "OB" if data.BitsAllocated == 8 else "OW"
    if frame:
        data["PixelData"].is_undefined_length = True
    pydicom.dcmwrite(path, data, enforce_file_format=True)
    return path
