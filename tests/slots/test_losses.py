"""The slot losses against loops over permutations, closed forms, gradients."""

from __future__ import annotations

import math
import subprocess
import sys

import numpy as np
import oracle
import pytest
import torch
from scipy.optimize import linear_sum_assignment

import patchsim
from patchsim import InputError, slots
from patchsim.slots import cosines

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def features(*shape, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)


SHAPES = [(2, 1, 3), (2, 4, 2), (6, 3, 5), (8, 5, 2), (4, 6, 7)]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", SHAPES)
def test_similarity_agrees_with_all_permutations(shape, device):
    f, p = features(*shape), features(*shape, seed=1)
    expected = oracle.similarity_losses(f.tolist(), p.tolist())
    f, p = f.to(device), p.to(device)
    found = slots.matching_similarity_loss_per_img(f, p, "none")
    assert found.device == f.device
    np.testing.assert_allclose(found.cpu(), expected, rtol=0, atol=1e-12)
    total = slots.matching_similarity_loss_per_img(f, p, "sum")
    mean = slots.matching_similarity_loss_per_img(f, p)
    assert total.item() == pytest.approx(sum(expected), abs=1e-12)
    assert mean.item() == pytest.approx(sum(expected) / len(expected), abs=1e-12)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("temperature", [1.0, 0.2])
@pytest.mark.parametrize("per_img", [False, True])
def test_contrastive_agrees_with_all_permutations(shape, temperature, per_img, device):
    given = features(*shape)
    loss = slots.matching_contrastive_loss_per_img if per_img else slots.matching_contrastive_loss
    expected = oracle.contrastive_losses(given.tolist(), temperature, per_img)
    given = given.to(device)
    found = loss(given, temperature, "none").cpu()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert loss(given, temperature).item() == pytest.approx(np.mean(expected), abs=1e-12)
    assert loss(given, temperature, "sum").item() == pytest.approx(np.sum(expected), abs=1e-11)


@pytest.mark.parametrize("shapes", [((2, 2, 5, 4), (2, 3, 4, 4)), ((1, 1, 1, 2), (1, 1, 3, 2))])
def test_small_to_large_agrees_with_loops(shapes):
    large, small = features(*shapes[0]), features(*shapes[1], seed=1)
    expected, share = oracle.small_to_large(large.tolist(), small.tolist())
    found, found_share = slots.matching_similarity_loss_small_to_large(large, small, "none")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    assert found_share.item() == pytest.approx(share)
    mean, _ = slots.matching_similarity_loss_small_to_large(large, small)
    total, _ = slots.matching_similarity_loss_small_to_large(large, small, "sum")
    assert mean.item() == pytest.approx(np.nanmean(expected))
    assert total.item() == pytest.approx(np.nansum(expected))


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss has other units elsewhere")
def test_memory_of_the_contrastive_loss_grows_with_the_slots_not_their_pairs():
    code = """
import resource, torch
from patchsim import matching_contrastive_loss
def high():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
matching_contrastive_loss(torch.randn(8, 8, 4, requires_grad=True)).backward()
slots = torch.randn(2048, 8, 4, requires_grad=True)
before = high()
matching_contrastive_loss(slots).backward()
print(high() - before)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    pairs = (2048 * 8) ** 2 * 4
    assert int(done.stdout) < pairs / 32


def test_each_pair_of_crops_has_reciprocal_slots():
    generator = torch.Generator().manual_seed(3)
    for kinds in (1, 2, 3):  # few kinds of slots, so that most cosines are equal
        large = torch.randint(kinds, (40, 2, 5, 2), generator=generator).float()
        small = torch.randint(kinds, (40, 3, 4, 2), generator=generator).float()
        unreduced, share = slots.matching_similarity_loss_small_to_large(large, small, "none")
        assert unreduced.isfinite().all()
        assert share >= 1 / 4
        for reduction in ("mean", "sum"):
            loss, _ = slots.matching_similarity_loss_small_to_large(large, small, reduction)
            assert loss == getattr(unreduced, reduction)()


def test_same_views_and_projection_give_zero_and_opposite_ones_one():
    f = features(3, 5, 7).repeat(2, 1, 1)
    assert slots.matching_similarity_loss_per_img(f, f).item() == pytest.approx(0, abs=1e-12)
    assert slots.matching_similarity_loss_per_img(f, -f).item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("images", "count"), [(1, 1), (1, 4), (5, 3), (3, 64)])
@pytest.mark.parametrize("temperature", [1.0, 0.1])
def test_references_of_the_contrastive_losses(images, count, temperature):
    one = torch.ones(2 * images, count, 8, dtype=torch.float64)
    eye = torch.eye(images * count, dtype=torch.float64)
    apart = eye.reshape(images, count, -1).repeat(2, 1, 1)
    for loss, negatives in (
        (slots.matching_contrastive_loss, 2 * images * count - 2),
        (slots.matching_contrastive_loss_per_img, 2 * count - 2),
    ):
        assert loss(one, temperature).item() == pytest.approx(math.log(negatives + 1), abs=1e-9)
        assert slots.collapsed(negatives) == pytest.approx(math.log(negatives + 1))
        wanted = math.log(math.exp(1 / temperature) + negatives) - 1 / temperature
        assert loss(apart, temperature).item() == pytest.approx(wanted, abs=1e-9)
        assert slots.orthogonal(negatives, temperature) == pytest.approx(wanted, abs=1e-9)


def test_orthogonal_does_not_overflow():
    assert slots.orthogonal(10, 1e-3) == 0.0


def test_permuting_the_slots_of_a_view_permutes_the_losses():
    f, p = features(4, 5, 6), features(4, 5, 6, seed=1)
    order = torch.tensor([3, 0, 4, 1, 2])
    moved_f, moved_p = f.clone(), p.clone()
    moved_f[2:], moved_p[2:] = f[2:, order], p[2:, order]
    plain = slots.matching_similarity_loss_per_img(f, p, "none").view(4, 5)
    moved = slots.matching_similarity_loss_per_img(moved_f, moved_p, "none").view(4, 5)
    torch.testing.assert_close(moved[:2], plain[:2])
    torch.testing.assert_close(moved[2:], plain[2:, order])


def test_gradients_reach_p_and_not_f():
    f = features(4, 3, 5).requires_grad_()
    p = features(4, 3, 5, seed=1).requires_grad_()
    slots.matching_similarity_loss_per_img(f, p).backward()
    assert f.grad is None
    assert p.grad.abs().sum() > 0
    assert torch.autograd.gradcheck(
        lambda x: slots.matching_similarity_loss_per_img(f.detach(), x, "none"), (p,)
    )


@pytest.mark.parametrize("per_img", [False, True])
@pytest.mark.parametrize("block", [1, 30, 1 << 22])
def test_gradients_of_the_contrastive_losses(per_img, block, monkeypatch):
    monkeypatch.setattr(cosines, "_BLOCK", block)
    given = features(4, 3, 5).requires_grad_()
    loss = slots.matching_contrastive_loss_per_img if per_img else slots.matching_contrastive_loss
    assert torch.autograd.gradcheck(lambda x: loss(x, 0.5, "none"), (given,))


@pytest.mark.parametrize("per_img", [False, True])
def test_second_derivatives_of_the_contrastive_losses(per_img):
    given = features(4, 3, 5).requires_grad_()
    loss = slots.matching_contrastive_loss_per_img if per_img else slots.matching_contrastive_loss
    assert torch.autograd.gradgradcheck(lambda x: loss(x, 0.5), (given,))


def test_mixed_precision_of_crops_is_promoted():
    large, small = features(1, 1, 3, 4), features(1, 2, 3, 4, dtype=torch.float32)
    assert slots.matching_similarity_loss_small_to_large(large, small)[0].dtype == torch.float64


def test_gradients_of_small_to_large():
    large = features(2, 2, 4, 5).requires_grad_()
    small = features(2, 3, 3, 5, seed=1).requires_grad_()
    loss = slots.matching_similarity_loss_small_to_large
    assert torch.autograd.gradcheck(lambda x: loss(large.detach(), x)[0], (small,))
    loss(large, small)[0].backward()
    assert large.grad is None


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_the_length_of_a_vector_does_not_matter(scale):
    f, p = (features(4, 3, 5, seed=s, dtype=torch.float32) for s in (0, 1))
    expected = slots.matching_similarity_loss_per_img(f, p, "none")
    found = slots.matching_similarity_loss_per_img(f * scale, p * scale, "none")
    torch.testing.assert_close(found, expected)


def test_zero_vectors_have_cosine_zero_and_no_gradient():
    f, p = features(2, 3, 4), features(2, 3, 4, seed=1)
    f[0, 1], p[1, 2] = 0, 0
    p.requires_grad_()
    losses = slots.matching_similarity_loss_per_img(f, p, "none")
    assert losses[5].item() == 0.5
    losses.sum().backward()
    assert not p.grad[1, 2].any()
    assert p.grad.isfinite().all()
    assert p.grad[0].abs().sum() > 0


def test_ties_are_deterministic():
    f = torch.ones(6, 8, 4)
    first = slots.match_slots(f)
    assert first.tolist() == [list(range(8))] * 3
    assert torch.equal(slots.match_slots(f.repeat(3, 1, 1))[4], first[0])


@pytest.mark.parametrize("count", [1, 7, 64])
def test_matches_are_scipys_on_each_image(count):
    f = features(6, count, 16)
    found = slots.match_slots(f)
    unit = torch.nn.functional.normalize(f, dim=-1)
    for i in range(3):
        table = unit[i] @ unit[i + 3].T
        _, columns = linear_sum_assignment(table.numpy(), maximize=True)
        best = table[range(count), columns].sum()
        assert table[range(count), found[i]].sum().item() == pytest.approx(best.item(), abs=1e-9)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_dtype_of_the_result(dtype):
    f, p = features(4, 3, 5, dtype=dtype), features(4, 3, 5, seed=1, dtype=dtype)
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    assert slots.matching_similarity_loss_per_img(f, p).dtype == expected
    assert slots.matching_contrastive_loss(f).dtype == expected
    assert slots.matching_contrastive_loss_per_img(f).dtype == expected
    wide = slots.matching_similarity_loss_per_img(f.to(expected), p.to(expected))
    assert slots.matching_similarity_loss_per_img(f, p).item() == wide.item()


def test_autocast_does_not_round():
    f, p = (features(8, 6, 16, seed=s, dtype=torch.float32) for s in (0, 1))
    plain = [slots.matching_similarity_loss_per_img(f, p), slots.matching_contrastive_loss(f)]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = [slots.matching_similarity_loss_per_img(f, p), slots.matching_contrastive_loss(f)]
    assert [c.item() for c in cast] == [x.item() for x in plain]
    p.requires_grad_()
    wanted = torch.autograd.grad(slots.matching_contrastive_loss(p), p)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = torch.autograd.grad(slots.matching_contrastive_loss(p), p)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-7)


def test_non_contiguous_features():
    f, p = features(5, 3, 4).permute(2, 1, 0), features(4, 3, 10, seed=1)[..., ::2]
    expected = oracle.similarity_losses(f.tolist(), p.tolist())
    found = slots.matching_similarity_loss_per_img(f, p, "none")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


def test_stack_views_puts_first_views_first():
    pairs = torch.arange(2 * 2 * 3 * 1).reshape(2, 2, 3, 1)
    stacked = patchsim.stack_views(pairs)
    assert stacked.shape == (4, 3, 1)
    assert torch.equal(stacked[0], pairs[0, 0])
    assert torch.equal(stacked[1], pairs[1, 0])
    assert torch.equal(stacked[2], pairs[0, 1])
    with pytest.raises(InputError, match=r"\[4, 3, 1\] are not \[B, 2, S, C\]"):
        patchsim.stack_views(stacked)


X = torch.ones(2, 3, 4)


def with_nan(tensor):
    changed = tensor.clone()
    changed[-1, -1, -1] = math.nan
    return changed


BAD = [
    (slots.matching_similarity_loss_per_img, (X[:1], X[:1]), r"f is \[1, 3, 4\]; .* even"),
    (
        slots.matching_similarity_loss_per_img,
        (X, X[:, :2]),
        r"f is \[2, 3, 4\] on .* p \[2, 2, 4\]",
    ),
    (slots.matching_similarity_loss_per_img, (X[0], X[0]), r"f is \[3, 4\]; give \[2B, S, C\]"),
    (slots.matching_similarity_loss_per_img, (X[:, :0], X[:, :0]), "nothing in it"),
    (slots.matching_similarity_loss_per_img, (X.int(), X), "int32; give dense features"),
    (slots.matching_similarity_loss_per_img, (X.to_sparse(), X), "sparse_coo; give dense"),
    (slots.matching_similarity_loss_per_img, (X.numpy(), X), "f is a ndarray"),
    (slots.matching_similarity_loss_per_img, (X, [1.0]), "p is a list"),
    (slots.matching_similarity_loss_per_img, (X, with_nan(X)), r"p is nan at \[1, 2, 3\]"),
    (slots.matching_contrastive_loss, (with_nan(X),), r"slots is nan at \[1, 2, 3\]"),
    (slots.matching_contrastive_loss, (X, torch.tensor(0.5)), "temperature tensor"),
    (slots.matching_contrastive_loss, (X, "1"), "temperature '1'"),
    (slots.orthogonal, (3, 0.0), "temperature 0.0"),
    (slots.collapsed, (-2,), "negatives -2"),
    (slots.matching_similarity_loss_small_to_large, (X[None], with_nan(X)[None]), "p_small is nan"),
    (slots.matching_similarity_loss_per_img, (X, X, "avg"), "reduction 'avg' is unknown"),
    (slots.matching_similarity_loss_per_img, (X * math.nan, X), r"f is nan at \[0, 0, 0\]"),
    (slots.matching_similarity_loss_per_img, (X * math.inf, X), "f is inf at"),
    (slots.matching_contrastive_loss, (X, 0.0), "temperature 0.0"),
    (slots.matching_contrastive_loss, (X, math.nan), "temperature nan"),
    (slots.matching_contrastive_loss_per_img, (X[:1],), "even"),
    (slots.match_slots, (X[0],), "give"),
    (slots.matching_similarity_loss_small_to_large, (X, X), "f_large is .* crops, slots"),
    (
        slots.matching_similarity_loss_small_to_large,
        (X[None], X[None, :, :, :2]),
        "the same B .first., C .last. and device",
    ),
    (slots.matching_similarity_loss_small_to_large, (X[None, :0], X[None]), "nothing in it"),
]


@pytest.mark.parametrize(("function", "arguments", "says"), BAD)
def test_bad_arguments_are_named(function, arguments, says):
    with pytest.raises(InputError, match=says):
        function(*arguments)


def test_public_names():
    for name in (
        "matching_similarity_loss_per_img",
        "matching_contrastive_loss",
        "matching_contrastive_loss_per_img",
        "matching_similarity_loss_small_to_large",
        "match_slots",
        "collapsed",
        "orthogonal",
    ):
        assert getattr(patchsim, name) is getattr(slots, name)
