"""Pictures that were sent to a terminal, decoded as their protocols say."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
from PIL import Image

_SIXEL = re.compile(r'"[\d;]+|#(\d+)(?:;2;(\d+);(\d+);(\d+))?|(?:!(\d+))?([?-~])|([$-])')


def of_kitty(text):
    """The PNG that is sent in parts, https://sw.kovidgoyal.net/kitty/graphics-protocol/."""
    parts = re.findall("\x1b_G([^;]*);([^\x1b]*)\x1b\\\\", text)
    data = "".join(part for keys, part in parts if "f=100" in keys.split(","))
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB"))


def of_sixels(text):
    """The picture in columns of six pixels, as the manual of the VT340 describes them."""
    (body,) = re.findall("\x1bP[\\d;]*q([^\x1b]*)\x1b\\\\", text)
    width, height = (int(one) for one in re.match(r'"\d+;\d+;(\d+);(\d+)', body).groups())
    picture = np.zeros((height + 5, width, 3), np.uint8)
    palette, color, x, y = {}, None, 0, 0
    for one in _SIXEL.finditer(body):
        number, red, green, blue, count, bits, move = one.groups()
        if number is not None:
            color = int(number)
            if red is not None:
                shares = np.array([red, green, blue], float) / 100
                palette[color] = np.round(shares * 255).astype(np.uint8)
        elif bits is not None:
            columns = slice(x, x + int(count or 1))
            for bit in range(6):
                if (ord(bits) - 63) >> bit & 1:
                    picture[y + bit, columns] = palette[color]
            x = columns.stop
        elif move is not None:
            x, y = 0, y + 6 * (move == "-")
    return picture[:height]
