"""Words that people type otherwise: capitals, names of other programs, axes in another order."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import patchsim
from patchsim import InputError, choices
from patchsim.errors import titled
from patchsim.options import Given


@pytest.fixture
def image(rng):
    return rng.integers(0, 256, (40, 50, 3), dtype=np.uint8)


def test_capitals(image, run, save):
    kernel = image[5:15, 5:15]
    report = patchsim.match(image, kernel, metric="ZNCC", color="Gray", engine="FFT", sort="Score")
    assert (report.metric, report.color, report.kernels[0].engine) == ("zncc", "gray", "fft")
    save("a.png", image)
    save("k.png", kernel)
    code, out, _ = run("match", "a.png", "k.png", "--metric", "ZNCC", "--format", "JSONL")
    assert code == 0
    assert out.startswith("{")
    f = torch.eye(4).repeat(6, 1, 1)
    values = [patchsim.matching_similarity_loss_per_img(f, f, reduction=r) for r in ("SUM", "sum")]
    assert values[0] == values[1]
    tensor = torch.from_numpy(image / 255.0).movedim(-1, 0)
    same = patchsim.similarity_map(tensor, tensor[:, 5:15, 5:15], metric="ZNCC")
    assert same[5, 5] == pytest.approx(1)


@pytest.mark.parametrize(("other", "own"), choices.OTHER_NAMES.items())
def test_names_of_other_programs(other, own, image, run):
    assert own in Given.__annotations__
    assert other not in Given.__annotations__
    with pytest.raises(TypeError, match=rf"argument '{other}'; did you mean '{own}'\?"):
        patchsim.match(image, image[:5, :5], **{other: 1})
    code, _, err = run("match", "a.png", "b.png", f"--{other.replace('_', '-')}", "1")
    assert code == 2
    assert f"did you mean --{own}?" in err


def test_planes_of_colours_are_named(image):
    planes = image.transpose(2, 0, 1)
    kernel = planes[:, 5:15, 6:18]
    says = r"has the shape \[3, (40, 50|10, 12)\], taken as \[H, W, C\].*\n.*transpose\(1, 2, 0\)"
    for one, other in ((planes, kernel), (planes, image[5:15, 6:18]), (image, kernel)):
        with pytest.raises(InputError, match=says):
            patchsim.match(one, other)
    report = patchsim.match(planes, planes[:, 5:15])  # channels agree by chance
    assert len(report.notices) == 2
    assert "[3, 40, 50], taken as [H, W, C] with 50 channels" in report.notices[0]


def test_an_odd_number_of_views(run, tmp_path, monkeypatch):
    features = torch.zeros(5, 3, 4)
    with pytest.raises(InputError, match="even, and 5 is odd"):
        patchsim.matching_similarity_loss_per_img(features, features)
    monkeypatch.chdir(tmp_path)
    np.save("f.npy", features.numpy())
    code, _, err = run("loss", "--f", "f.npy", "--p", "f.npy")
    assert code == 2
    assert "first dimension is even; 5 is odd" in err


def test_a_kind_is_named_once():
    assert titled("kernel", "kernel") == "kernel"
    assert titled("kernel", "kernel-2 (scale 2)") == "kernel-2 (scale 2)"
    assert titled("kernel", "kernel.png") == "kernel kernel.png"


def test_one_is_singular(image):
    plan = str(patchsim.match(image, image[5:15, 5:15], threads=1).plans[0])
    assert "1 thread," in plan
    assert "1 tile of" in plan
    assert "2 threads," in str(patchsim.match(image, image[5:15, 5:15], threads=2).plans[0])
