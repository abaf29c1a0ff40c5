"""Chunks of PNG files."""

from __future__ import annotations

import struct
import zlib


def chunk(name, data=b"", crc=None):
    """The bytes of a chunk: its length, name, data and checksum."""
    checked = zlib.crc32(name + data) if crc is None else crc
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checked)
