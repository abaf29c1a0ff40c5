"""What several test modules do in the same way."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

from PIL import Image

# Warnings are errors in the commands that tests start, too.
ENVIRONMENT = {**os.environ, "PYTHONWARNINGS": "error"}


def load(path):
    """A decoded picture whose file is closed."""
    with Image.open(path) as picture:
        picture.load()
        return picture


def png(values, *chunks):
    """A PNG of uint16 values [H, W, C], which Pillow cannot write, with more (name, data)."""
    height, width, channels = values.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels]
    header = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = [(b"IHDR", header), *chunks, (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    )


def said(err):
    """The messages that a command wrote to stderr, where each line says whose it is."""
    lines = err.splitlines()
    assert all(line.startswith("patchsim: ") for line in lines), err
    return "\n".join(line.removeprefix("patchsim: ") for line in lines)


def patchsim(*words, **options):
    """Start the installed command: a Popen with text pipes."""
    command = str(Path(sys.executable).with_name("patchsim"))
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    options = {"text": True, "env": ENVIRONMENT, **streams, **options}
    return subprocess.Popen([command, *map(str, words)], **options)


def map_size(path):
    """The size of the map in a heatmap, (width, height), as the PNG's text says."""
    return tuple(map(int, load(path).text["map_size"].split("x")))
