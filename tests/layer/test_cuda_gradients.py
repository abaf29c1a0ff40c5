"""The fused gradients: their arithmetic in Triton's interpreter, and the code they compile to.

No card is needed. What a card computes is compared in tests/test_similarity.py where there is one.
"""

from __future__ import annotations

import sys
from functools import partial

import numpy as np
import pytest
import torch
from helpers import interpreter
from helpers.compiled import loops, spilled
from helpers.interpreter import interpreted

from patchsim.engines.cuda import config as cuda_config
from patchsim.engines.cuda import launch, planes
from patchsim.layer import cuda_gradient_blocks, cuda_gradients, cuda_parts

if sys.platform != "linux":
    pytest.importorskip("triton", reason="Triton is for Linux")

if sys.platform == "linux":
    import triton

    TRITON = tuple(map(int, triton.__version__.split(".")[:2]))
else:
    TRITON = (0, 0)
TOLERANCE = {"float32": 1e-5, "float64": 1e-13}  # of the largest gradient's magnitude


def by_loops(image, kernel, stride, grad):
    """Sums and their gradients, window by window in float64."""
    image, kernel = image.astype(float), kernel.astype(float)
    _, height, width = kernel.shape
    sums = np.zeros(grad.shape)
    image_grad, kernel_grad = np.zeros(image.shape), np.zeros(kernel.shape)
    for y in range(grad.shape[1]):
        for x in range(grad.shape[2]):
            rows = slice(y * stride[0], y * stride[0] + height)
            window = np.index_exp[:, :, rows, x * stride[1] : x * stride[1] + width]
            with np.errstate(invalid="ignore"):
                difference = image[window] - kernel
            sums[:, y, x] = np.abs(difference).sum((1, 2, 3))
            slope = np.sign(difference) * grad[:, y, x, None, None, None]
            image_grad[window] += slope
            kernel_grad -= slope.sum(0)
    return sums, image_grad, kernel_grad


def case(rng, shape, size, stride=(1, 1), dtype="float32", scratch=1 << 30, multiprocessors=0):
    """Random, with values that pixels and kernel share."""
    image, kernel = rng.random(shape).astype(dtype), rng.random((shape[1], *size)).astype(dtype)
    image[:, :, ::3, ::2] = kernel[0, 0, 0]
    rows, cols = [(a - b) // s + 1 for a, b, s in zip(shape[2:], size, stride, strict=True)]
    grad = rng.standard_normal((shape[0], rows, cols)).astype(dtype)
    return image, kernel, stride, grad, scratch, multiprocessors


def of_layer(cases):
    """Of each sums, gradients, and shares of the scratch that they took."""
    return interpreted("interpreted_layer.py", cases)


def assert_agree(cases):
    """Return what was found."""
    all_found = of_layer(cases)
    for (image, kernel, stride, grad, *_), found in zip(cases, all_found, strict=True):
        for values, expected in zip(found, by_loops(image, kernel, stride, grad), strict=False):
            tolerance = TOLERANCE[image.dtype.name] * max(1.0, np.abs(expected).max())
            np.testing.assert_allclose(values, expected, rtol=0, atol=tolerance)
        assert max(found[3:]) <= 1, "more memory than was promised"
    return all_found


def test_the_interpreter_agrees_with_loops(rng):
    cases = []
    for dtype in ("float32", "float64"):
        cases += [
            case(rng, (2, 1, 5, 7), (2, 3), (1, 1), dtype),
            case(rng, (1, 2, 7, 9), (3, 3), (2, 2), dtype),
            case(rng, (2, 1, 9, 7), (5, 2), (3, 2), dtype),
            case(rng, (1, 1, 5, 7), (2, 1), (3, 4), dtype),
        ]
    assert_agree(cases)


def test_kernels_of_every_form(rng):
    # One value, the whole image, more columns than a group has, one row, one column, many rows;
    # and rows of windows that are lines of their own.
    cases = [
        case(rng, (1, 1, 3, 33), (1, 1)),
        case(rng, (1, 1, 5, 9), (5, 9)),
        case(rng, (1, 1, 9, 18), (8, 16)),
        case(rng, (1, 1, 3, 11), (1, 9)),
        case(rng, (1, 1, 7, 3), (6, 1)),
        case(rng, (1, 1, 53, 3), (52, 2)),
        case(rng, (1, 1, 3, 141), (2, 20)),
    ]
    blocks = {cuda_gradient_blocks.kernel_block("float32", *each[1].shape[1:]) for each in cases}
    assert len(blocks) == len(cuda_gradient_blocks.KERNEL_INSTRUCTIONS)
    assert cuda_gradient_blocks.image_config("float32", 52, 2, 3).rows == 8
    assert_agree(cases)


def test_gradients_of_sums_in_any_layout(rng):
    # Nothing is appended to these, so that nothing else would bring them in order.
    cases = [case(rng, (1, 1, 8, 32), (1, 1)), case(rng, (1, 1, 3, 129), (1, 2))]
    assert_agree([(*each[:3], np.asfortranarray(each[3]), *each[4:]) for each in cases])


def test_programs_that_share_the_work(rng):
    given = case(rng, (1, 1, 5, 40), (2, 10))
    cases = [(*given[:-1], count) for count in (1, 8, 8)]
    # The same for the same card.
    _, once, again = assert_agree(cases)
    for one, other in zip(once, again, strict=True):
        np.testing.assert_array_equal(one, other)


def test_how_many_share_the_work_depends_on_shapes_card_and_memory(monkeypatch):
    monkeypatch.setattr(launch, "multiprocessors", lambda _device: 132)
    few = "float32", (1, 2, 10), (1, 1), 1, 40, 60
    many = "float32", (3, 128, 128), (1, 1), 1, 2000, 3000
    for kind in (cuda_gradient_blocks.ImageShapes, cuda_gradient_blocks.KernelShapes):
        shapes = kind.of(*few)
        assert 1 < cuda_gradients._splits(shapes, 2, 1 << 30, None) <= shapes.max_splits
        assert cuda_gradients._splits(shapes, 2, shapes.working_bytes, None) == 1
    assert cuda_gradients._splits(cuda_gradient_blocks.ImageShapes.of(*many), 2, 1 << 30, None) == 1


def test_parts_for_little_memory(rng):
    given = case(rng, (2, 1, 13, 43), (2, 3), scratch=None)
    strided = case(rng, (1, 1, 20, 43), (3, 4), (2, 1), "float64", scratch=None)
    for image, kernel, stride, grad, *_ in (given, strided):
        task = cuda_parts._Task.of(torch.from_numpy(image), torch.from_numpy(kernel), stride)
        needed = partial(task.gradient_bytes, wanted=(True, True))
        covered = np.zeros(grad.shape, int)
        parts = list(task.parts(needed(task.smallest_part), needed))
        assert len(parts) >= 2
        for part in parts:
            covered[part.index] += 1
            assert needed(part.cells) <= needed(task.smallest_part)
        assert (covered == 1).all()
    assert_agree([given, strided])


def test_a_kink_has_no_gradient(rng):
    image, kernel, stride, grad, *rest = case(rng, (1, 2, 5, 20), (3, 9))
    image[:], kernel[:] = 0.1, 0.1
    kernel[0, 1, 3] = 0.2
    _, image_grad, kernel_grad, *_ = of_layer([(image, kernel, stride, grad, *rest)])[0]
    _, expected_image, expected_kernel = by_loops(image, kernel, stride, grad)
    # What is 0 is exactly 0.
    np.testing.assert_array_equal(image_grad[:, 1], 0)
    np.testing.assert_array_equal(kernel_grad == 0, expected_kernel == 0)
    np.testing.assert_allclose(image_grad, expected_image, rtol=0, atol=1e-5)


def test_what_is_not_finite(rng):
    cases = []
    for index, value in [(0, np.nan), (0, np.inf), (1, np.nan)]:
        given = [each.copy() if isinstance(each, np.ndarray) else each for each in clean(rng)]
        given[index][..., 1, 2] = value
        cases.append(given)
    found = of_layer(cases)
    expected = [by_loops(*given[:4]) for given in cases]
    for values, wanted in zip(found, expected, strict=True):
        # What is not finite never seems so; windows beside it are as ever.
        for one, other in zip(values, wanted, strict=False):
            assert not np.isfinite(one[~np.isfinite(other)]).any()
        np.testing.assert_array_equal(np.isfinite(values[0]), np.isfinite(wanted[0]))
    for values, wanted in zip(found[:2], expected[:2], strict=True):
        np.testing.assert_allclose(values[1], wanted[1], rtol=0, atol=1e-5)
    np.testing.assert_allclose(found[1][2], expected[1][2], rtol=0, atol=1e-4)


def clean(rng):
    return case(rng, (1, 1, 9, 12), (2, 3))


def test_gradcheck_through_the_operator(tmp_path):
    code = (
        "import torch\n"
        "from patchsim import similarity_map\n"
        "from patchsim.layer import operators\n"
        "operators.is_fused = lambda *_: True\n"
        "torch.use_deterministic_algorithms(True)\n"
        "torch.manual_seed(0)\n"
        "image = torch.rand(1, 4, 6, dtype=torch.float64, requires_grad=True)\n"
        "kernel = torch.rand(1, 3, 2, dtype=torch.float64, requires_grad=True)\n"
        "def scores(image, kernel):\n"
        "    return similarity_map(image, kernel, (1, 2), memory='100kB')\n"
        "assert torch.autograd.gradcheck(scores, (image, kernel), fast_mode=True)\n"
        "for dtype in (torch.float16, torch.uint8, torch.uint16):\n"
        "    pixels, taps = ((each.detach() * 99).to(dtype) for each in (image, kernel))\n"
        "    sums = operators.difference_sums(pixels[None], taps, 1, 1, 1 << 30)\n"
        "    windows = pixels.double().unfold(1, 3, 1).unfold(2, 2, 1)\n"
        "    true = (windows - taps.double()[:, None, None]).abs().sum((0, 3, 4))\n"
        "    assert torch.equal(sums[0].double(), true), dtype\n"
        "    assert sums.is_floating_point() == dtype.is_floating_point\n"
    )
    interpreter.run(code, tmp_path)


def test_nothing_is_timed_where_results_must_repeat(monkeypatch):
    kernel = torch.rand(1, 1, 9, 9)
    taps = planes.taps(kernel, (1, 1), squared=False)
    monkeypatch.setattr(launch, "_fastest", lambda *_: pytest.fail("it is timed"))
    torch.use_deterministic_algorithms(True)
    try:
        first = launch.chosen(torch.rand(1, 1, 40, 40), taps)
    finally:
        torch.use_deterministic_algorithms(False)
    assert first == launch.candidates(torch.rand(1, 1, 40, 40), taps)[0]


# What ptxas makes of them ------------------------------------------------------------------------


def image_kernel(word, height):
    """Name, constants and configuration for kernels so high."""
    config = cuda_gradient_blocks.image_config(word, height, 99, 9999)
    constants = {"R": config.rows, "COLS": config.cols, "GROUP": config.group}
    return "image_gradients", constants, config, config.cols // (32 * config.warps)


def kernel_kernel(word, height, width):
    block = cuda_gradient_blocks.kernel_block(word, height, width)
    constants = {"R": block.rows, "V": block.cols, "LANES": block.lanes, "GROUP": block.group}
    return "kernel_gradients", constants, block.config, block.cols


def compiled(name, constants, config, word, architecture):
    """The kernel for a card that need not be here."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from patchsim.layer import cuda_gradient_kernel

    kernel = getattr(cuda_gradient_kernel, name)
    names, wide = kernel.arg_names, {"float32": "*fp32", "float64": "*fp64"}[word]
    constants = constants | {"MOST": cuda_gradient_blocks.LONGEST_SUM, "PTX": True}
    signature = dict.fromkeys(names, "i32")
    signature |= dict.fromkeys([each for each in names if each.endswith("_step")], "i64")
    signature |= {"table": "*i64", "out": "*fp64"}
    signature |= dict.fromkeys({"planes", "taps", "grads", "largest"} & set(names), wide)
    signature |= dict.fromkeys(constants, "constexpr")
    aligned = [each for each in names if signature[each][0] == "*"]
    attributes = {(names.index(each),): [["tt.divisibility", 16]] for each in aligned}
    return triton.compile(
        ASTSource(kernel, signature, constants, attributes),
        target=GPUTarget("cuda", architecture, 32),
        options=cuda_config.options(config),
    )


# Kernels of these heights and sizes have the blocks that there are.
IMAGES = dict(zip((128, 16, 1), cuda_gradient_blocks.IMAGE_INSTRUCTIONS.values(), strict=True))
KERNELS = dict(
    zip(
        [(128, 128), (1, 8), (1, 1)], cuda_gradient_blocks.KERNEL_INSTRUCTIONS.values(), strict=True
    )
)


@pytest.mark.parametrize(
    ("architecture", "image_most", "kernel_most"),
    # On sm_80 Triton before 3.9 takes 977 instructions for 256 differences, which is above 3.8.
    [(80, 3.82 if TRITON < (3, 9) else 3.8, 3.9), (90, 3.8, 3.9), (100, 3.2, 3.5)],
)
def test_three_instructions_add_a_difference(architecture, image_most, kernel_most, tmp_path):
    # Subtract; the sign, and 1, and half of it; add the product.
    for given, most in [
        (image_kernel("float32", 128), image_most),
        (kernel_kernel("float32", 128, 128), kernel_most),
    ]:
        name, constants, config, columns = given
        code = compiled(name, constants, config, "float32", architecture)
        assert spilled(code, architecture, tmp_path) == [0, 0]
        differences = config.rows * columns * config.group
        inner = [each for each in loops(code, tmp_path) if each.count("FFMA.SAT") == differences]
        loop = min(inner, key=len)  # the other one is of a block's border
        assert len(loop) / differences < most
        assert loop.count("FADD") <= differences * 1.3
        assert not [each for each in loop if each.startswith(("LDS", "STS", "BAR", "LDL", "STL"))]


@pytest.mark.parametrize("word", ["float32", "float64"])
def test_no_registers_are_spilled(word, tmp_path):
    given = [(image_kernel(word, height), most) for height, most in IMAGES.items()]
    given += [(kernel_kernel(word, *size), most) for size, most in KERNELS.items()]
    for (name, constants, config, _), expected in given:
        code = compiled(name, constants, config, word, 90)
        assert spilled(code, 90, tmp_path) == [0, 0], (name, config)
        if word == "float32":
            # The costs by which blocks are chosen.
            signs = [(each.count("FFMA.SAT"), -len(each)) for each in loops(code, tmp_path)]
            count, length = max(signs)
            assert -length / count == pytest.approx(expected, abs=0.15), (name, config)
