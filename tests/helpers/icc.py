"""ICC profiles made from primaries and curves, byte by byte (ICC.1:2022, version 2.4 and para)."""

from __future__ import annotations

import struct

import numpy as np

D50 = (0.9642, 1.0, 0.8249)
D65 = (0.3127, 0.3290)
P3_PRIMARIES = [(0.680, 0.320), (0.265, 0.690), (0.150, 0.060)]
ADOBE_PRIMARIES = [(0.64, 0.33), (0.21, 0.71), (0.15, 0.06)]
SRGB_PRIMARIES = [(0.64, 0.33), (0.30, 0.60), (0.15, 0.06)]
_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)


def _fixed(value):
    return struct.pack(">i", round(value * 65536))


def _xyz(values):
    return b"XYZ \0\0\0\0" + b"".join(map(_fixed, values))


def _description(text):
    data = text.encode() + b"\0"
    return b"desc\0\0\0\0" + struct.pack(">I", len(data)) + data + b"\0" * 78


def gamma(exponent):
    return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(exponent * 256))


SRGB_CURVE = (
    b"para\0\0\0\0"
    + struct.pack(">HH", 3, 0)
    + b"".join(map(_fixed, (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)))
)


def _profile(space, tags):
    table, data = b"", b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        padded = content + b"\0" * (-len(content) % 4)
        table += struct.pack(">4sII", name, start + len(data), len(content))
        data += padded
    head = struct.pack(
        ">I4sI4s4s4s6H4s", start + len(data), b"", 0x02400000, b"mntr", space, b"XYZ ",
        2026, 1, 1, 0, 0, 0, b"acsp",
    )  # fmt: skip
    head = (head + b"\0" * 28 + b"".join(map(_fixed, D50))).ljust(128, b"\0")
    return head + struct.pack(">I", len(tags)) + table + data


def primaries_to_xyz(primaries, white=D65):
    """The matrix from linear RGB to XYZ (SMPTE RP 177)."""
    columns = np.array([[x / y, 1, (1 - x - y) / y] for x, y in primaries]).T
    scale = np.linalg.solve(columns, [white[0] / white[1], 1, (1 - sum(white)) / white[1]])
    return columns * scale


def rgb(name, primaries, curve):
    """An RGB profile of D65, adapted to D50 by Bradford's cones."""
    to_xyz = primaries_to_xyz(primaries)
    ratio = (_BRADFORD @ D50) / (_BRADFORD @ to_xyz.sum(1))
    columns = (np.linalg.inv(_BRADFORD) @ np.diag(ratio) @ _BRADFORD @ to_xyz).T
    tags = {b"desc": _description(name), b"cprt": b"text\0\0\0\0CC0\0", b"wtpt": _xyz(D50)}
    for letter, column in zip((b"r", b"g", b"b"), columns, strict=True):
        tags[letter + b"XYZ"] = _xyz(column)
        tags[letter + b"TRC"] = curve
    return _profile(b"RGB ", tags)


def grey(name, curve):
    tags = {b"desc": _description(name), b"cprt": b"text\0\0\0\0CC0\0", b"wtpt": _xyz(D50)}
    return _profile(b"GRAY", tags | {b"kTRC": curve})


def cmyk(name):
    """The head of a CMYK profile, without its table."""
    return _profile(b"CMYK", {b"desc": _description(name), b"wtpt": _xyz(D50)})


P3 = rgb("Display P3", P3_PRIMARIES, SRGB_CURVE)
ADOBE = rgb("Adobe RGB (1998)", ADOBE_PRIMARIES, gamma(2.19921875))
SRGB = rgb("sRGB by hand", SRGB_PRIMARIES, SRGB_CURVE)
GREY_18 = grey("Grey Gamma 1.8", gamma(1.8))


def linear(values):
    """The curve of sRGB, from 0 to 1 (IEC 61966-2-1)."""
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def encoded(values):
    values = np.clip(values, 0, 1)
    return np.where(values <= 0.0031308, values * 12.92, 1.055 * values ** (1 / 2.4) - 0.055)


def to_srgb(linear_values, primaries):
    """Linear RGB [..., 3] of primaries to sRGB from 0 to 1, both of D65."""
    matrix = np.linalg.inv(primaries_to_xyz(SRGB_PRIMARIES)) @ primaries_to_xyz(primaries)
    return encoded(linear_values @ matrix.T)
