"""Kernels found scaled, turned and mirrored, planted by another library's resampling."""

from __future__ import annotations

import json

import numpy as np
import pytest
from helpers.scenes import planted, turned_by
from PIL import Image

import patchsim
from patchsim.errors import InputError
from patchsim.metrics import Kernel
from patchsim.poses.warp import Frame, Pose, PoseRenderer


def test_a_mirrored_kernel_is_found_and_said_to_be(astronaut, coffee):
    kernel = astronaut[90:154, 200:270]
    scene = planted(coffee, kernel[:, ::-1], 0.9, 40, (200, 120))
    best = patchsim.match(scene, kernel, scales=0.9, angles="0:359:10", flips="h,v", top=1).best
    assert best.flip == "h"
    assert turned_by(best.angle, 40) < 1.5
    # Left to right and 40 degrees is upside down and 220.
    upside = patchsim.match(scene, kernel, scales=0.9, angles=[220], flips="v", top=1).best
    assert upside.flip == "v"
    assert upside.score == pytest.approx(best.score, abs=0.01)


def test_a_turned_icon_with_alpha_is_found_on_another_ground(astronaut, coffee):
    rows, cols = np.indices((60, 60)) - 29.5
    alpha = np.hypot(rows, cols) < 28
    part = astronaut[90:150, 200:260]
    icon = Image.fromarray(np.dstack([part, alpha.astype(np.uint8) * 255]))
    scene = planted(coffee, part, 1.2, 70, (450, 100), alpha)
    best = patchsim.match(scene, icon, scales="0.8:1.4:0.1", angles="0:360:12", top=1).best
    assert np.hypot(best.center[0] - 450, best.center[1] - 100) < 1.5
    assert abs(best.scale / 1.2 - 1) < 0.03
    assert turned_by(best.angle, 70) < 2
    assert best.score > 0.97


def test_several_poses_of_one_kernel_are_found_at_once(astronaut, coffee):
    kernel = astronaut[90:154, 200:270]
    scene = planted(coffee, kernel, 0.8, 30, (120, 100))
    scene = planted(scene, kernel, 1.3, 200, (430, 260))
    report = patchsim.match(scene, kernel, scales="0.6:1.5:0.1", angles="0:360:15", threshold=0.95)
    found = sorted((round(m.scale, 1), round(m.angle, -1)) for m in report.matches)
    assert found == [(0.8, 30), (1.3, 200)]


def test_scores_are_those_of_the_posed_kernel(astronaut, coffee):
    kernel = astronaut[90:154, 200:270]
    scene = planted(coffee, kernel, 1.1, 50, (300, 200))
    report = patchsim.match(scene, kernel, scales="0.8:1.3:0.1", angles="0:180:10", top=3)
    for match in report.matches:
        shown = PoseRenderer(Kernel(kernel))(Pose(match.scale, match.angle, match.flip))
        box = np.s_[match.y : match.y + match.height, match.x : match.x + match.width]
        weights = 1 if shown.weights is None else shown.weights[..., None].astype(float)
        apart = np.abs(scene[box].astype(float) - shown.pixels) * weights
        total = apart.sum() / (255 * np.broadcast_to(weights, apart.shape).sum())
        assert match.score == pytest.approx(1 - total, abs=1e-12)


def test_coarse_to_fine_finds_what_all_windows_of_all_poses_have(astronaut, coffee):
    kernel = astronaut[100:140, 210:250]
    scene = planted(coffee[:200, :300], kernel, 0.9, 45, (150, 100))
    options = {"scales": [0.8, 0.9, 1.0], "angles": list(range(0, 360, 15)), "top": 1}
    coarse = patchsim.match(scene, kernel, **options).best
    exact = patchsim.match(scene, kernel, exhaustive=True, **options).best
    assert coarse == exact


def test_positions_keep_to_the_stride_and_the_region(astronaut, coffee):
    kernel = astronaut[90:154, 200:270]
    scene = planted(coffee, kernel, 1.0, 90, (300, 200))
    report = patchsim.match(
        scene, kernel, angles="0:350:10", stride=(2, 3), region=(200, 100, 200, 200), top=3
    )
    for match in report.matches:
        assert (match.x - 200) % 3 == 0
        assert (match.y - 100) % 2 == 0
        assert match.x >= 200
        assert match.x + match.width <= 400
    assert turned_by(report.best.angle, 90) < 4  # the place may be off by half a step


def test_with_padding_a_turned_kernel_hangs_over_the_border(astronaut, coffee):
    kernel = astronaut[90:154, 200:270]
    scene = planted(coffee, kernel, 1.0, 30, (590, 200))
    best = patchsim.match(scene, kernel, angles="0:350:10", padding="edge", top=1).best
    assert best.x + best.width > 600
    assert np.hypot(best.center[0] - 590, best.center[1] - 200) < 8


def test_kernels_of_a_detail_that_averages_away_begin_at_full_size():
    # In halved pictures a checkerboard is grey.
    board = (np.indices((32, 32)).sum(0) % 2 * 255).astype(np.uint8)[..., None]
    scene = np.full((100, 120, 1), 128, np.uint8)
    scene[40:72, 50:82] = board
    report = patchsim.match(scene, board, angles=list(range(0, 180, 15)), top=1)
    assert (report.best.x, report.best.y, report.best.score) == (50, 40, 1.0)


def test_poses_too_large_are_left_out_and_none_that_fits_is_an_error(rng):
    scene, kernel = rng.integers(0, 256, (2, 30, 30, 1), np.uint8)
    found = patchsim.match(scene, kernel, scales=[0.5, 1, 2], top=1).best
    assert found.scale <= 1
    with pytest.raises(InputError, match=r"takes 60x60 even at scale 2"):
        patchsim.match(scene, kernel, scales=[2, 3])
    with pytest.raises(InputError, match=r"takes 60x60 even at scale 2"):
        patchsim.match(scene, kernel, scales=list(np.linspace(2, 3, 20)))


def test_an_engine_without_maps_cannot_look_coarse_to_fine(rng):
    scene, kernel = rng.integers(0, 256, (60, 60), np.uint8), rng.integers(0, 256, (9, 9), np.uint8)
    with pytest.raises(InputError, match="exhaustive"):
        patchsim.match(scene, kernel, angles="0:350:10", engine="pruned")


def test_corners_lie_around_what_was_planted(astronaut, coffee):
    kernel = astronaut[90:154, 200:270]
    scene = planted(coffee, kernel, 1.2, 25, (300, 200))
    report = patchsim.match(scene, kernel, scales="1:1.4:0.1", angles="0:60:5", top=1)
    wanted = np.array(Frame.of((64, 70), Pose(1.2, 25)).corners)
    wanted += np.array([300, 200]) - wanted.mean(0)
    np.testing.assert_allclose(report.best.corners, wanted, atol=2)
    inner = report.row_col_rectangles()[0][:, ::-1] + 0.5  # half a pixel within the corners
    apart = np.hypot(*(inner - report.best.corners).T)
    np.testing.assert_allclose(apart, np.sqrt(0.5), atol=1e-5)


def test_the_command_prints_poses_and_draws_no_map(run, save, astronaut, tmp_path):
    save("scene.png", np.rot90(astronaut))
    save("part.png", astronaut[90:154, 200:270])
    code, out, err = run("match", "scene.png", "part.png", "--angles", "0,90,180,270", "--top", "1")
    header, line = out.splitlines()
    assert code == 0
    assert header.split("\t")[-4:] == ["scale", "angle", "flip", "corners"]
    fields = dict(zip(header.split("\t"), line.split("\t"), strict=True))
    assert (fields["scale"], fields["angle"], fields["flip"]) == ("1.0", "90.0", "none")
    x, y = int(fields["x"]), int(fields["y"])
    assert (x, y, fields["score"]) == (90, 512 - 270, "1.0")
    assert fields["corners"].split()[0] == f"{x}.0,{y + 70}.0"
    assert not list(tmp_path.glob("*.heatmap.png"))
    assert err == ""
    code, out, _ = run(
        "match", "scene.png", "part.png", "--angles", "90", "--top", "1", "--format", "json",
        "--overlay", "found.png",
    )  # fmt: skip
    match = json.loads(out)["matches"][0]
    assert match["corners"] == [[90, 312], [90, 242], [154, 242], [154, 312]]
    assert (tmp_path / "found.png").exists()


def test_thousands_of_poses_are_told_of_before(run, save, rng):
    save("scene.png", rng.integers(0, 256, (60, 60), np.uint8))
    save("part.png", rng.integers(0, 256, (12, 12), np.uint8))
    code, _, err = run(
        "match", "scene.png", "part.png", "--angles", "0:359:1", "--scales", "0.8:1.2:0.1", "--top",
        "1",
    )  # fmt: skip
    assert code == 0
    assert "1,800 poses are searched, which takes about" in err
    code, out, err = run("match", "scene.png", "part.png", "--angles", "0:359:0.01")
    assert (code, out) == (2, "")
    assert "--max-poses" in err


def test_a_round_icon_is_not_found_upside_down(astronaut, coffee):
    alpha = np.hypot(*(np.indices((48, 48)) - 23.5)) < 23
    icon = Image.fromarray(np.dstack([astronaut[100:148, 205:253], alpha.astype(np.uint8) * 255]))
    for angle in (20, 110, 200, 290):
        scene = planted(coffee[:200, :300], astronaut[100:148, 205:253], 1, angle, (150, 90), alpha)
        best = patchsim.match(scene, icon, angles="0:360:10", top=1).best
        assert turned_by(best.angle, angle) < 2
