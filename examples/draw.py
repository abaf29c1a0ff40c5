"""Draws the pictures of this folder: a desktop, and icons to find in it."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

HERE = Path(__file__).parent
SIZE = 36


def folder(scale: int = 1) -> Image.Image:
    icon, draw = blank(scale)
    draw.rounded_rectangle(times(scale, 3, 8, 17, 16), 3 * scale, fill=(214, 152, 46))
    draw.rounded_rectangle(
        times(scale, 3, 11, 32, 30), 3 * scale, fill=(247, 192, 84), outline=(160, 108, 20),
        width=scale,
    )  # fmt: skip
    draw.line(times(scale, 6, 15, 29, 15), fill=(255, 226, 160), width=2 * scale)
    return icon


def letter(scale: int = 1) -> Image.Image:
    icon, draw = blank(scale)
    blue = (44, 92, 170)
    draw.rounded_rectangle(
        times(scale, 3, 9, 32, 28), 2 * scale, fill=(250, 252, 255), outline=blue, width=2 * scale
    )
    draw.line(times(scale, 4, 10, 18, 20, 31, 10), fill=blue, width=2 * scale)
    return icon


def star(scale: int = 1, turn: float = 0) -> Image.Image:
    """Turned counter-clockwise, in degrees."""
    icon, draw = blank(scale)
    angles = np.arange(10) * np.pi / 5 - np.deg2rad(turn)
    radii = np.where(np.arange(10) % 2, 6.5, 15.0) * scale
    points = [
        (18 * scale + r * np.sin(a), 19 * scale - r * np.cos(a))
        for r, a in zip(radii, angles, strict=True)
    ]
    draw.polygon(points, fill=(190, 40, 60), outline=(90, 10, 20), width=scale)
    return icon


def blank(scale: int) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    icon = Image.new("RGB", (SIZE * scale, SIZE * scale), (236, 238, 242))
    return icon, ImageDraw.Draw(icon)


def times(scale: int, *lengths: int) -> tuple[int, ...]:
    """Of a screen with so many pixels along the side of one."""
    return tuple(scale * length for length in lengths)


def desktop() -> Image.Image:
    width, height = 800, 480
    y, x = np.mgrid[:height, :width]
    sky = np.stack([40 + 60 * y / height, 90 + 70 * y / height, 150 + 60 * x / width], axis=-1)
    picture = Image.fromarray(sky.astype(np.uint8))
    draw = ImageDraw.Draw(picture)
    draw.rounded_rectangle((60, 50, 520, 400), 8, fill=(236, 238, 242), outline=(70, 70, 80))
    draw.rectangle((60, 60, 520, 82), fill=(74, 84, 104))
    draw.rounded_rectangle((560, 120, 760, 420), 8, fill=(236, 238, 242), outline=(70, 70, 80))
    for row, kinds in enumerate(("ffle", "lflf", "elfl")):
        for column, kind in enumerate(kinds):
            place = (90 + 104 * column, 110 + 92 * row)
            if kind != "e":
                picture.paste(folder() if kind == "f" else letter(), place)
            draw.text((place[0] + 4, place[1] + 44), f"item {row}{column}", fill=(60, 60, 70))
    picture.paste(letter(), (600, 150))
    picture.paste(folder(), (693, 311))
    return picture


def retina() -> Image.Image:
    """A window on a screen with four pixels for one; the star has been turned."""
    y, x = np.mgrid[:360, :520]
    sky = np.stack([60 + 40 * y / 360, 110 + 50 * y / 360, 160 + 50 * x / 520], axis=-1)
    picture = Image.fromarray(sky.astype(np.uint8))
    ImageDraw.Draw(picture).rounded_rectangle((30, 40, 490, 320), 16, fill=(236, 238, 242))
    for icon, place in (
        (folder(2), (60, 70)), (letter(2), (210, 70)), (folder(2), (360, 70)),
        (letter(2), (61, 213)), (star(2, turn=30), (300, 200)),
    ):  # fmt: skip
        picture.paste(icon, place)
    return picture


if __name__ == "__main__":
    desktop().save(HERE / "desktop.png")
    retina().save(HERE / "retina.png")
    folder().save(HERE / "folder.png")
    letter().save(HERE / "letter.png")
    star().save(HERE / "star.png")  # not on the desktop
