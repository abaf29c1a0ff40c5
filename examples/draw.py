"""Draws the pictures of this folder: a desktop, and icons to find in it."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

HERE = Path(__file__).parent
SIZE = 36


def folder() -> Image.Image:
    icon = Image.new("RGB", (SIZE, SIZE), (236, 238, 242))
    draw = ImageDraw.Draw(icon)
    draw.rounded_rectangle((3, 8, 17, 16), 3, fill=(214, 152, 46))
    draw.rounded_rectangle((3, 11, 32, 30), 3, fill=(247, 192, 84), outline=(160, 108, 20))
    draw.line((6, 15, 29, 15), fill=(255, 226, 160), width=2)
    return icon


def letter() -> Image.Image:
    icon = Image.new("RGB", (SIZE, SIZE), (236, 238, 242))
    draw = ImageDraw.Draw(icon)
    draw.rounded_rectangle((3, 9, 32, 28), 2, fill=(250, 252, 255), outline=(44, 92, 170), width=2)
    draw.line((4, 10, 18, 20, 31, 10), fill=(44, 92, 170), width=2)
    return icon


def star() -> Image.Image:
    icon = Image.new("RGB", (SIZE, SIZE), (236, 238, 242))
    angles = np.arange(10) * np.pi / 5
    radii = np.where(np.arange(10) % 2, 6.5, 15.0)
    points = [(18 + r * np.sin(a), 19 - r * np.cos(a)) for r, a in zip(radii, angles, strict=True)]
    ImageDraw.Draw(icon).polygon(points, fill=(190, 40, 60), outline=(90, 10, 20))
    return icon


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


if __name__ == "__main__":
    desktop().save(HERE / "desktop.png")
    folder().save(HERE / "folder.png")
    letter().save(HERE / "letter.png")
    star().save(HERE / "star.png")  # not on the desktop
