"""Zip archives from untrusted sources: .pt and .npz files, before their members are read."""

from __future__ import annotations

import os
import struct
import zlib
from typing import BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile, ZipInfo

from patchsim.errors import DamageError, printable

# Bytes of an archive's directory: about 30,000 members.
_LARGEST_DIRECTORY = 2_000_000
_BLOCK = 1 << 20  # bytes of a member that are read at a time

# The records at the end of an archive, from the format's description by PKWARE (APPNOTE.TXT).
_END = struct.Struct("<4s4HIIH")
_LONG_END = struct.Struct("<4sQ2H2I4Q")
_LOCATOR = struct.Struct("<4sIQI")
_LOCAL = struct.Struct("<4s5H3I2H")


def members(archive: ZipFile) -> dict[str, ZipInfo]:
    """List the members of an archive by name.

    Raises
    ------
    DamageError
        If members overlap, share a name, lie outside the file, are encrypted, or are packed in a
        way that neither torch nor NumPy uses.
    """
    listed = sorted(archive.infolist(), key=lambda member: member.header_offset)
    starts = [member.header_offset for member in listed]
    if starts and starts[0] != 0:
        raise DamageError("its first member does not begin where the file begins")
    for member, end in zip(listed, [*starts[1:], archive.start_dir], strict=True):
        if member.header_offset + _LOCAL.size + member.compress_size > end:
            raise DamageError("its members overlap")
        if member.flag_bits & 1 or member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
            raise DamageError("a member is packed in a way that is not read")
    by_name = {member.filename: member for member in listed}
    if len(by_name) < len(listed):
        raise DamageError("two of its members have one name")
    return by_name


def opened(file: BinaryIO) -> ZipFile:
    """Open an archive whose directory lies where its end says, is small, and ends the file.

    Readers disagree on other archives: some show one directory to one and another to the next.

    Raises
    ------
    DamageError
        If the archive is not such a one.
    """
    size = file.seek(0, os.SEEK_END)
    file.seek(max(0, size - _LONG_END.size - _LOCATOR.size - _END.size))
    tail = file.read()
    if len(tail) < _END.size or not tail[-_END.size :].startswith(b"PK\x05\x06"):
        raise DamageError("it does not end like a zip archive")
    _, disk, first_disk, _, _, length, start, _ = _END.unpack(tail[-_END.size :])
    end = size - _END.size
    locator = tail[-_END.size - _LOCATOR.size : -_END.size]
    if locator.startswith(b"PK\x06\x07"):
        end = size - len(tail)
        long_end = tail[: _LONG_END.size]
        if _LOCATOR.unpack(locator)[2] != end or not long_end.startswith(b"PK\x06\x06"):
            raise DamageError("its directory does not lie where its end says")
        *_, length, start = _LONG_END.unpack(long_end)
    if disk or first_disk or start + length != end:
        raise DamageError("its directory does not lie where its end says")
    if length > _LARGEST_DIRECTORY:
        raise DamageError(f"a directory of {length:,} bytes; save fewer arrays in one file")
    return ZipFile(file)


def start_of(member: ZipInfo, file: BinaryIO) -> int:
    """Return where the values of a member lie, which must be stored as they are.

    Raises
    ------
    DamageError
        If they are compressed, or do not lie there.
    """
    file.seek(member.header_offset)
    header = file.read(_LOCAL.size)
    if len(header) < _LOCAL.size or not header.startswith(b"PK\x03\x04"):
        raise DamageError("a member is not where its directory says")
    *_, name_length, extra_length = _LOCAL.unpack(header)
    if member.compress_type != ZIP_STORED or member.compress_size != member.file_size:
        raise DamageError("it is compressed inside, which torch.save never does")
    return int(member.header_offset + _LOCAL.size + name_length + extra_length)


def check_sum(member: ZipInfo, file: BinaryIO) -> None:
    """Compare a member that is stored as it is with its checksum, if the archive has one.

    torch writes 0 after `torch.serialization.set_crc32_options(False)`.

    Raises
    ------
    DamageError
        If they differ.
    """
    if not member.CRC:
        return
    file.seek(start_of(member, file))
    left, checksum = member.file_size, 0
    while left > 0 and (content := file.read(min(left, _BLOCK))):
        checksum = zlib.crc32(content, checksum)
        left -= len(content)
    if checksum != member.CRC:
        raise DamageError(f"the checksum of {printable(member.filename)} does not match")
