"""Levels of pyramids, and pages of a TIFF that are read by windows."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import zarr

import patchsim
from patchsim import InputError

LARGE = {"max_pixels": 2000, "memory": "40MB"}


@pytest.fixture
def levels(rng):
    """Pictures that are no copies of each other, so that it shows which one was searched."""
    sides = (180, 260), (90, 130), (45, 65)
    return [rng.integers(0, 256, (*side, 3), dtype=np.uint8) for side in sides]


def cog(path, levels):
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for number, level in enumerate(levels):
            kind = int(number > 0)
            file.write(level, tile=(32, 32), photometric="rgb", subfiletype=kind, metadata=None)


def sub_ifds(path, levels):
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        for number, level in enumerate(levels):
            more = {"subfiletype": 1} if number else {"subifds": 2, "metadata": {"axes": "YXS"}}
            file.write(level, tile=(32, 32), photometric="rgb", **more)


def ome_zarr(path, levels):
    group = zarr.open_group(str(path), mode="w")
    for number, level in enumerate(levels):
        group.create_array(str(number), data=level, chunks=(32, 32, 3))
    scales = {
        "axes": [{"name": name} for name in "yxc"],
        "datasets": [{"path": str(number)} for number in range(len(levels))],
    }
    group.attrs["ome"] = {"version": "0.5", "multiscales": [scales]}


KINDS = [(cog, "image.tif"), (sub_ifds, "image.ome.tif"), (ome_zarr, "image.zarr")]


@pytest.mark.parametrize(("save", "name"), KINDS)
@pytest.mark.parametrize("options", [{}, LARGE])
def test_a_level_is_searched(levels, tmp_path, save, name, options):
    path = tmp_path / name
    save(path, levels)
    for number, level in enumerate(levels):
        kernel = level[7:27, 11:41].copy()
        report = patchsim.match(path, kernel, level=number, margin=True, **options)
        expected = patchsim.match(level, kernel, margin=True)
        height, width = level.shape[:2]
        assert (report.width, report.height) == (width, height)
        assert [(one.x, one.y, one.score, one.margin) for one in report] == [
            (one.x, one.y, one.score, one.margin) for one in expected
        ]
        is_large = width * height > options.get("max_pixels", 1 << 40)
        assert all((plan.problem.reading is not None) == is_large for plan in report.plans)
        text = f"{path}: level {number} of 0 to 2 is searched, of {width}x{height} pixels"
        assert any(text in one for one in report.notices) == bool(number)


@pytest.mark.parametrize(("save", "name"), KINDS)
def test_levels_that_lack(levels, tmp_path, save, name):
    path = tmp_path / name
    save(path, levels)
    with pytest.raises(InputError, match="has levels from 0 to 2; there is no level 3"):
        patchsim.match(path, levels[0][:9, :9].copy(), level=3)


def test_pictures_without_levels(levels, tmp_path):
    kernel = levels[0][7:27, 11:41].copy()
    np.save(tmp_path / "image.npy", levels[0])
    tifffile.imwrite(tmp_path / "image.tif", levels[0], photometric="rgb", tile=(32, 32))
    for source in (levels[0], tmp_path / "image.npy", tmp_path / "image.tif"):
        assert patchsim.match(source, kernel, level=0).best.x == 11
        with pytest.raises(InputError, match="has one level, of number 0; there is no level 1"):
            patchsim.match(source, kernel, level=1)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"level": -1}, "level -1 is no level; give a whole number from 0"),
        ({"level": "big"}, "level 'big' is no level"),
        ({"level": 1, "frame": 0}, "level 1 is of the first picture of a file, and the frame 0 is"),
    ],
)
def test_values_that_are_no_level(levels, options, says):
    with pytest.raises(InputError, match=says):
        patchsim.match(levels[0], levels[0][:9, :9], **options)


def test_pages_are_read_by_windows(levels, tmp_path):
    path = tmp_path / "pages.tif"
    with tifffile.TiffWriter(path) as file:
        for number, level in enumerate([levels[0], levels[1], levels[2]]):
            kind = int(number == 1)  # a small copy, which has no number
            file.write(level, tile=(32, 32), photometric="rgb", subfiletype=kind, metadata=None)
    for frame, level in ((0, levels[0]), (1, levels[2])):
        kernel = level[7:27, 11:41].copy()
        report = patchsim.match(path, kernel, frame=frame, **LARGE)
        assert report.plans[0].problem.reading
        assert (report.best.x, report.best.y, report.best.frame) == (11, 7, frame)
        assert report.notices == ()
    with pytest.raises(InputError, match="there is no frame 2"):
        patchsim.match(path, levels[2][:9, :9].copy(), frame=2, **LARGE)


def test_the_command_takes_a_level(levels, tmp_path, run):
    cog(tmp_path / "image.tif", levels)
    np.save(tmp_path / "kernel.npy", levels[1][7:27, 11:41])
    code, out, err = run("match", "image.tif", "kernel.npy", "--level", "1", "--no-heatmap")
    assert code == 0, err
    assert out.splitlines()[1].split("\t")[:2] == ["11", "7"]
    assert "image.tif: level 1 of 0 to 2 is searched, of 130x90 pixels, to which x and y" in err
