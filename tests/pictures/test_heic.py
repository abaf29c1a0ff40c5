"""HEIC by pi-heif: 8 and 10 bits, alpha, limits, damage."""

from __future__ import annotations

import base64
import sys

import numpy as np
import pytest

from patchsim import InputError
from patchsim.pictures.reader import open_picture

# Nothing that the tests install encodes HEVC. libheif's heif-enc wrote `given()` without loss, but
# for the rounding of colours, as RGB with alpha of 8 bits and as RGB of 10 bits.
WITH_ALPHA = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAv1tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAA"
    "AAAAAAAAAAAAAA5waXRtAAAAAAACAAAAGGlkYXQAAAAAACAAGAAAAAAAIAAYAAAAYGlsb2MBAAAAREAABAABAAAA"
    "AAAAAyEAAQAAAAAAAANsAAIAAQAAAAAAAAABAAAAAAAAAAgAAwAAAAAAAAaNAAEAAAAAAAACQgAEAAEAAAAAAAAA"
    "AQAAAAgAAAAIAAAAYmlpbmYAAAAAAAQAAAAVaW5mZQIAAAEAAQAAaHZjMQAAAAAVaW5mZQIAAAAAAgAAZ3JpZAAA"
    "AAAVaW5mZQIAAAEAAwAAaHZjMQAAAAAVaW5mZQIAAAAABAAAZ3JpZAAAAAGyaXBycAAAAYVpcGNvAAAAd2h2Y0MB"
    "BAgAAAAAAAAAAAD/8AD8//j4AAAPAyAAAQAXQAEMAf//BAgAAAMAnjgAAAMAAP+6AkAhAAEAKkIBAQQIAAADAJ44"
    "AAADAAD/kAQQILLdVdNc3AgIGBAAAAMAEAAAAwAQgCIAAQAIRAHBcDBgsSAAAAAUaXNwZQAAAAAAAABAAAAAQAAA"
    "ABRpc3BlAAAAAAAAACAAAAAYAAAAEHBpeGkAAAAAAwgICAAAAHFodmNDAQQIAAAAAAAAAAAA//AA/Pz4+AAADwMg"
    "AAEAF0ABDAH//wQIAAADAJ/4AAADAAD/ugJAIQABACZCAQEECAAAAwCf+AAAAwAA/8CCBBZbqrprmwIAAAMAAgAA"
    "AwACECIAAQAGRAHBcYsSAAAAFGlzcGUAAAAAAAAAQAAAAEAAAAAUaXNwZQAAAAAAAAAgAAAAGAAAAA5waXhpAAAA"
    "AAEIAAAAJ2F1eEMAAAAAdXJuOm1wZWc6aGV2YzoyMDE1OmF1eGlkOjEAAAAAJWlwbWEAAAAAAAAABAABAoECAAIC"
    "A4QAAwKFBgAEAweIiQAAADZpcmVmAAAAAAAAAA5kaW1nAAIAAQABAAAADmRpbWcABAABAAMAAAAOYXV4bAAEAAEA"
    "AgAABbZtZGF0AAADaCgBrwWyCqHBwXYvBcSz//j8OKUpSla1rWtalQ//+RO1///DIg0d1vtzc3Nzi0tLS0tLSzon"
    "/7HugB/s/2P1PmdnZ2dnb29vb29vb23gTMhhzB///9zRnko3vXmFHMM498ZUCuq0sksRnftEta1g5NZd1kAABQWk"
    "Oz5cWAWVRVFUVRaHoeh6Hoeh6HXH32fn//7i9u9k5EiRIkSxYsWLFixKGvT7///iSgz/fJpMTExMVubm5ubm5ubD"
    "BX/oGKhQxBB4XKkvUWOIK8cJzMieLpeqEve9PDGfwf/5CGAOataMAAADAzpJ16FWGM+bBXDQgF4LrXjGn1U8J/5J"
    "AHRm451f/97vom1KjR1xY7JkyZMmTD73ubgCstlZrUZebYblthloVVVVVVTq9k2f//dbLox3lJLFEUOAIAlQVBUF"
    "QVBUFQSAAACEyeaO/skBnHti0A0xjXyj2n5Aii4dUXBsf/9B+pvq4j15b+aT6FYqKFHSbsdqR//8AXuGSSR26XIG"
    "sl26D7AAFb+7k7bzr+8UlxSVZD/Z+l/+rC1VVat3d3P8TEv//mny6ZUkROU5TlOVGAYBgGAYBgF/oQABCf1Q9M3N"
    "XrMsSY41ZehzhZVhoQAB2jLRWmSVmziEWokgCJHza5gAFum3StJOOHD7o5Fh0RYcby1mQVKx6IACi4Zb4DqZ69qP"
    "H+MgLjHw3gwALpK0j7wqHz6xkgjlbo5Vn0/TcABtlWydfoE6dWWT2LJtiyPQzAAMHDjgPcMUyaDTUg57YOdgUuRA"
    "fIYAAxEEh8Cq0PHnPhCADCgArMnIAGebPMzCE8ePkzynpAp6Pcoi0AAEr3F687MgECWLAx6cUemj8ggA5CIg9Bem"
    "oUOGqnr6b6+grXk/vf9sNqv98EjErhw/eR06dOnc2aQmFsbt1LpqoCm31RAAXVtqqODa7G2N9trsm04o2yR//9wY"
    "75wpk3x6tf49wmOJ2n/+8WrC6hofWPp604aHE1QZ1p//2+NSRttsv14p/Wwv1Mg7//z2m0hJJH15X3VPf14amtW+"
    "ucABLK0AFrfyzosk71J9cNajHDpQYyX//AS3c136A8GC0Su6JJndv/+24Z0PNXQsV5HdMtnwGJTgf/+LkOo///zi"
    "CNHbwzh5XU//7RGMGkkkEIqTr4WEISbrDykgAAACPigBrgtkETEVET+4ln//7v/df2367575757575/5/5/5/5/5"
    "/5/5//w1jhAM/k+/Jj8fviV3xd8XfF3xd9LfS30t9LfS30t9LfQUAADkwkZLTF1RCWFLWZDnddhNMqpN9rPXF1ZH"
    "onEAAEFuWFwtaILA2626tLbrctdcYzy11xjXXPG0AARO1m2kNgankWUWTtRZRdnnjGV2eeMZ55XO7sorNjiUO//+"
    "4A23mhrKOD++pSD/zB4Oy/ssvsQAAkdiljMr1EQKgZ+9SUrrsR5NyKv+pb2uqHaAAcOGKptUxZpcS8cH+1tNNqx+"
    "1S1yrd40xRyCAAAi1pmM7S9XNNqVqUXWpWyJJAATIkkACSRLtAAKjScqOSeSJ2fSfSGJ9J/0URjL/RRGNFEvx7Fs"
    "s0ApH5//9olsy0sYLk5gGH85h0Tib0O88/QAAH/df5r/FfnfO/jt3vfffn3f89+Pe/9989AAAQ23OSryElsS4oEV"
    "wlLbbtGEZmuSqY7trk+eAACp0i2jBnbSYfufuZZ+5/k00IR+TTQhNNH0cACCXNM4oNIti/gfgap+B+i22UqaLbZS"
    "ttpmSwtoIAWS///fU72wbF5EQc0hYQdMTCYMSDDDOIAEmsHwXN+Sl4Hw3tDffRRWGGiQNPK/G1Ef+QAPG+xUEKRY"
    "xqDWKhuYyiiyX7aRKrRm8KIPnlQALHQBZ6mZFG97171hXvXyLLIQnIsshCyycYgALvNU5kuTTDw4A4AcDgDjBA97"
    "+MED3wQP4jR9R+A="
)
TEN_BITS = base64.b64decode(
    "AAAAHGZ0eXBoZWljAAAAAG1pZjFoZWljbWlhZgAAAa5tZXRhAAAAAAAAACFoZGxyAAAAAAAAAABwaWN0AAAAAAAA"
    "AAAAAAAAAAAAAA5waXRtAAAAAAACAAAAEGlkYXQAAAAAACAAGAAAADhpbG9jAQAAAERAAAIAAQAAAAAAAAHSAAEA"
    "AAAAAAACkAACAAEAAAAAAAAAAQAAAAAAAAAIAAAAOGlpbmYAAAAAAAIAAAAVaW5mZQIAAAEAAQAAaHZjMQAAAAAV"
    "aW5mZQIAAAAAAgAAZ3JpZAAAAADZaXBycAAAALdpcGNvAAAAd2h2Y0MBBAgAAAAAAAAAAAD/8AD8//r6AAAPAyAA"
    "AQAXQAEMAf//BAgAAAMAnDgAAAMAAP+6AkAhAAEAKkIBAQQIAAADAJw4AAADAAD/kAQQIJst1V01zcCAgYEAAAMA"
    "AQAAAwABCCIAAQAIRAHBcDBgsSAAAAAUaXNwZQAAAAAAAABAAAAAQAAAABRpc3BlAAAAAAAAACAAAAAYAAAAEHBp"
    "eGkAAAAAAwoKCgAAABppcG1hAAAAAAAAAAIAAQKBAgACAgOEAAAAGmlyZWYAAAAAAAAADmRpbWcAAgABAAEAAAKY"
    "bWRhdAAAAowoAa8FsgnzAsEQLwXEs//+l/R/N+Ly8vLy83Nzc3Nzc3MVD//5E7X///HOONs4q7CZPHTx08dPHTzT"
    "80/NPzT80/NPzT8iJ/+x7oAf+5f9x/23+y/qv6r+q/qv6t+rfq36t+rfq36t+rXgTMhhzB///9zR7bdqddaGVlDM"
    "KOYZ8xR5fvlR8e/CHwctiM7/oKz4x5cOGXk1l3WQAAFB2127aTLXyGlf5FfkV+RX5FfkqGSoZKhkqGSoZKhkqGRf"
    "ffZ+f//7zP3j/dn7i+zvs77O+zvtA7QO0DtA7QO0DtA7PIa9Pv///j8XHjkY8By7ye8nvJ7ye9R/Uf1H9R/Uf1H9"
    "R/TcwV/6Bjua3A2OpTc2FcqS9cpPZPjkPcWO/tv21i6X8rKTynDqE6HfCnSXnZ/1/dYu///0hno9WiXS9gBgBlt9"
    "bfXDlw5cOXDlw5cOXDluhPiFACv7dL9uP9s37UPsk+yTr4r4sDsDsDsDsDsDsDr5Zapf//+3wPbyfbb+1d7Knsqe"
    "rn6ufq8yrzKvMq8yrzKvMq8yrp+6p1sC6OGcAAYK0iQOiELew8QdzzxQ0xDoaXjpjZRDf/9jw23Rwpppp+bNmzZs"
    "2VCymf//1xC633q1QlUTAMwDMAzAMwYEGBBgQYEGBBgQYEBfbCmmN0+nQDe+kB8vsH322xbYUC4noARWwShssAA4"
    "aQAA1axnVyCM4X4PYYvB9PkRSepOcaAHhqV//9hZnN/++Pzoe6w2PsJ2fSacCE5LYGJUn//5gW/DleaTWwtt3L8+"
    "v4ur11mi5J87bTUuP//0LughHLqpMYxgQsYzc7RYQ3O0WE7UJSW//+TAyPWbGkz///l2AARjpi70Y6YvDp8C4hMs"
)


def given():
    """RGB, 8 bits [24, 32, 3]."""
    y, x = np.mgrid[:24, :32]
    red, green = np.where(x < 16, 200, 40), np.where(y < 12, 90, 220)
    return np.stack([red, green, np.where(x + y < 20, 10, 130)], -1)


def opened(tmp_path, content, **options):
    (tmp_path / "a.heic").write_bytes(content)
    return open_picture(tmp_path / "a.heic", name="image", **options)


def test_heic_of_8_and_10_bits(tmp_path):
    pytest.importorskip("pi_heif", reason="the extra heif is not installed")
    picture = opened(tmp_path, WITH_ALPHA)
    assert np.abs(picture.pixels.astype(int) - given()).max() <= 1
    expected = np.where(np.arange(32) >= 8, 255, 0)
    np.testing.assert_array_equal(picture.alpha, np.broadcast_to(expected, (24, 32)))
    assert picture.notices == ()
    picture = opened(tmp_path, TEN_BITS)
    assert picture.pixels.dtype == np.uint16
    assert np.abs(picture.pixels - given() * 1023 / 255).max() <= 2
    assert picture.notices == (
        f"{tmp_path / 'a.heic'} has values of 10 bits;"
        " --data-range 0:1023 compares them with others of such a range, --metric zncc with any",
    )


def test_limits_and_damage(tmp_path, rng):
    pytest.importorskip("pi_heif", reason="the extra heif is not installed")
    with pytest.raises(InputError, match="32x24 = 768 pixels, more than 767"):
        opened(tmp_path, WITH_ALPHA, max_pixels=767)
    with pytest.raises(InputError, match="to decode, but the memory is"):
        opened(tmp_path, WITH_ALPHA, memory=20_000)
    for share in (0.05, 0.5, 0.95):
        with pytest.raises(InputError, match="damaged"):
            opened(tmp_path, TEN_BITS[: int(len(TEN_BITS) * share)])
    for _ in range(60):
        content = bytearray(WITH_ALPHA)
        for place in rng.integers(0, len(content), 3):
            content[place] = rng.integers(256)
        try:
            opened(tmp_path, bytes(content), memory=10_000_000)
        except InputError:
            continue


def test_what_to_install_for_heic(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    with pytest.raises(
        InputError, match=r"is a HEIC picture.*\npip install pi-heif, or convert it"
    ):
        opened(tmp_path, WITH_ALPHA)
