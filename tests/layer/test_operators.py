"""The operators of torch: their checks, the compiler, transforms, what happens only once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch
from helpers import ENVIRONMENT

from patchsim import InputError, similarity_map
from patchsim.layer import operators

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
# opcheck and the compiler import modules of torch that warn.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def values(*shape, dtype=torch.float32, device="cpu", seed=0):
    found = torch.rand(shape, generator=torch.Generator().manual_seed(seed))
    return (found if dtype.is_floating_point else found * 255).to(dtype).to(device)


@pytest.mark.parametrize("device", DEVICES)
# Strides decide shapes alone, types decide types alone: not every pair of them.
@pytest.mark.parametrize(("dtype", "stride"), [
    (torch.uint8, (1, 1)), (torch.uint16, (3, 2)), (torch.float16, (3, 2)),
    (torch.bfloat16, (1, 1)), (torch.float32, (1, 1)), (torch.float32, (3, 2)),
    (torch.float64, (3, 2)),
])  # fmt: skip
def test_opcheck_of_sums(dtype, stride, device):
    image = values(2, 2, 9, 8, dtype=dtype, device=device)
    kernel = values(2, 3, 4, dtype=dtype, device=device, seed=1)
    needs = [False, True] if dtype.is_floating_point else [False]
    for need in needs:
        given = image.clone().requires_grad_(need), kernel.clone().requires_grad_(need)
        torch.library.opcheck(operators.difference_sums, (*given, *stride, 1 << 20))
    if needs[1:]:
        given = image, kernel.clone().requires_grad_()
        torch.library.opcheck(operators.difference_sums, (*given, *stride, 1 << 20))


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
@pytest.mark.parametrize("wanted", [(True, True), (True, False), (False, True)])
def test_opcheck_of_gradients(dtype, wanted, device):
    image = values(2, 2, 9, 8, dtype=dtype, device=device)
    kernel = values(2, 3, 4, dtype=dtype, device=device, seed=1)
    grad = values(2, 4, 5, dtype=torch.float64, device=device, seed=2)
    arguments = grad, image, kernel, 2, 1, 1 << 20, *wanted
    torch.library.opcheck(operators.difference_gradients, arguments)
    # Of channels that are last in memory, as pictures have them.
    turned = [torch.stack(tuple(each), -1).movedim(-1, 0) for each in (image, kernel)]
    torch.library.opcheck(operators.difference_gradients, (grad, *turned, *arguments[3:]))
    found = operators.difference_gradients(*arguments)
    for each, like, want in zip(found, (image, kernel), wanted, strict=True):
        assert each.dtype == dtype
        assert each.shape == (like.shape if want else (0,))


def trained(layer, image, kernel, weights, **options):
    """Scores and gradients."""
    image, kernel = image.clone().requires_grad_(), kernel.clone().requires_grad_()
    scores = layer(image, kernel, **options)
    return scores, *torch.autograd.grad((scores * weights).sum(), (image, kernel))


def assert_as_eager(compiled, sizes, device, **options):
    for height, width in sizes:
        image = values(2, 2, height, width, device=device)
        kernel = values(2, 3, 4, device=device, seed=1)
        weights = values(*similarity_map(image, kernel, **options).shape, device=device, seed=2)
        found = trained(compiled, image, kernel, weights, **options)
        assert_equal(found, trained(similarity_map, image, kernel, weights, **options))


def assert_equal(found, expected):
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dynamic", [False, True, None])
def test_compiled_without_breaks(dynamic, device):
    torch._dynamo.reset()
    compiled = torch.compile(similarity_map, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    sizes = [(9, 11), (12, 9), (17, 16)]
    assert_as_eager(compiled, sizes, device)
    assert_as_eager(compiled, sizes[:1], device, stride=(2, 1), memory="10MB", data_range=(0, 2))
    turned = values(9, 11, 2, device=device), values(3, 4, 2, device=device, seed=1)

    def of_pictures(image, kernel):
        return similarity_map(image.permute(2, 0, 1), kernel.permute(2, 0, 1))

    weights = values(7, 8, device=device, seed=2)
    options = {"fullgraph": True, "backend": "aot_eager", "dynamic": dynamic}
    found = trained(torch.compile(of_pictures, **options), *turned, weights)
    assert_equal(found, trained(of_pictures, *turned, weights))
    scores = compiled(*(values(*shape, dtype=torch.uint8) for shape in [(1, 9, 9), (1, 3, 3)]))
    assert scores.dtype == torch.float32


@pytest.mark.skipif(shutil.which("c++") is None, reason="inductor needs a C++ compiler")
def test_compiled_by_inductor(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    torch._dynamo.reset()

    def blurred(image, kernel):
        return similarity_map(image * 0.5 + 0.1, kernel.abs(), 2).square()

    image, kernel = values(1, 2, 11, 9), values(2, 3, 4, seed=1)
    weights = values(1, 5, 3, seed=2)
    found = trained(torch.compile(blurred, fullgraph=True), image, kernel, weights)
    assert_equal(found, trained(blurred, image, kernel, weights))


def test_fused_memory_is_compiled_too(monkeypatch):
    # As on a card, whose kernels are not run: what they return is known without them.
    monkeypatch.setattr(operators, "is_fused", lambda *_: True)
    torch._dynamo.reset()
    seen = []

    def backend(graph, _inputs):
        seen.extend(
            node.args for node in graph.graph.nodes if "difference_sums" in str(node.target)
        )
        return lambda *_: [torch.zeros(1, 7, 6)]

    image, kernel = values(1, 2, 9, 9), values(2, 3, 4, seed=1)
    torch.compile(similarity_map, fullgraph=True, backend=backend)(image, kernel, memory="1MB")
    assert 0 < seen[0][4] < 1_000_000


@pytest.mark.parametrize("device", DEVICES)
def test_transforms(device):
    image, kernels = values(1, 9, 9, device=device), values(3, 1, 3, 3, device=device, seed=1)

    def loss(kernel, image):
        return similarity_map(image, kernel).square().sum()

    each = [torch.func.grad(loss)(kernel, image) for kernel in kernels]
    found = torch.vmap(torch.func.grad(loss), (0, None))(kernels, image)
    torch.testing.assert_close(found, torch.stack(each))
    rows = torch.func.jacrev(similarity_map, 1)(image, kernels[0])
    torch.testing.assert_close(rows.sum((0, 1)), torch.func.grad(total, 1)(image, kernels[0]))


def test_under_autocast_types_may_differ():
    image, kernel = values(1, 9, 9, dtype=torch.bfloat16), values(1, 3, 3, seed=1).requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = similarity_map(image, kernel)
    torch.testing.assert_close(found, similarity_map(image.float(), kernel), rtol=0, atol=0)
    found.sum().backward()
    assert kernel.grad.dtype == torch.float32
    with pytest.raises(InputError, match="bring both to one dtype"):
        similarity_map(image, kernel)


def test_a_saved_program_is_loaded_by_another_process(tmp_path):
    class Layer(torch.nn.Module):
        def forward(self, image):
            return similarity_map(image, torch.ones(1, 3, 3))

    torch.export.save(torch.export.export(Layer(), (torch.zeros(1, 9, 9),)), tmp_path / "layer.pt2")
    code = (
        "import torch, patchsim.similarity\n"
        "layer = torch.export.load('layer.pt2').module()\n"
        "print(layer(torch.zeros(1, 9, 9)).sum().item())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        capture_output=True, text=True, cwd=tmp_path, check=True,
    )  # fmt: skip
    assert done.stdout == "0.0\n"


def test_which_kernels_are_fused(monkeypatch):
    monkeypatch.setattr(operators, "_HAS_TRITON", True)
    card = SimpleNamespace(device=torch.device("cuda"))
    assert operators.is_fused(card, torch.ones(3, 9, 9), (4, 4))
    assert operators.is_fused(card, torch.ones(3, 2, 2), (9, 9))
    assert not operators.is_fused(card, torch.ones(3, 9, 9), (5, 5))
    assert not operators.is_fused(torch.ones(1), torch.ones(3, 9, 9), (1, 1))


def total(image, kernel):
    return similarity_map(image, kernel).sum()


def test_what_has_no_derivative_says_so():
    image, kernel = values(1, 9, 9), values(1, 3, 3, seed=1).requires_grad_()
    first = torch.autograd.grad(total(image, kernel), kernel, create_graph=True)[0]
    with pytest.raises(NotImplementedError, match="differentiable once"):
        first.square().sum().backward()
    sums = operators.difference_sums(image[None], kernel, 1, 1, 1 << 20)
    first = torch.autograd.grad(sums.sum(), kernel, create_graph=True)[0]
    with pytest.raises(NotImplementedError, match="differentiable once"):
        first.square().sum().backward()
    with pytest.raises(NotImplementedError, match="jvp"):
        torch.func.jvp(lambda k: total(image, k), (kernel.detach(),), (kernel.detach(),))


def test_registered_once_and_only_where_it_is_used(tmp_path):
    code = (
        "import importlib, sys, patchsim\n"
        "assert 'torch' not in sys.modules\n"
        "import torch, patchsim.similarity\n"
        "assert torch.ops.patchsim.difference_sums is not None\n"
        "layer = torch.compile(patchsim.similarity_map, fullgraph=True, backend='eager')\n"
        "first = layer(torch.rand(1, 5, 5), torch.rand(1, 3, 3))\n"
        "from patchsim.layer import operators\n"
        "importlib.import_module('patchsim.layer.operators')\n"
        "assert torch.ops.patchsim.difference_sums is not None\n"
    )
    subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],
        env=ENVIRONMENT, check=True, cwd=tmp_path,
    )  # fmt: skip
