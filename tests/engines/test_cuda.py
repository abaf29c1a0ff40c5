"""The fused kernel: its arithmetic in Triton's interpreter, and the code that it compiles to.

No card is needed. What a card computes is compared where there is one.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import oracle
import pytest
from helpers import ENVIRONMENT, interpreter
from helpers.compiled import loops, spilled
from helpers.interpreter import interpreted

from patchsim import InputError, match, metrics
from patchsim.engines import Problem, cuda, unfold
from patchsim.engines.cuda import config as cuda_config
from patchsim.engines.cuda import launch
from patchsim.machine import devices

if sys.platform == "linux":
    import triton
else:
    triton = pytest.importorskip("triton", reason="Triton is for Linux")

SPAN = {"uint8": 255, "uint16": 65535, "float32": 1, "float64": 1}


def values(rng, dtype, *shape):
    if dtype.startswith("float"):
        return rng.random(shape).astype(dtype)
    return rng.integers(0, SPAN[dtype] + 1, shape).astype(dtype)


def problem_of(image, kernel, stride=(1, 1), metric="sad", weights=None, **fields):
    given = {}
    if weights is not None:
        given = {
            "weight_sum": int(weights.sum()),
            "max_weight": int(weights.max()),
            "has_channel_weights": weights.ndim == 3,
        }
    span = SPAN[image.dtype.name]
    return Problem(
        image.shape, kernel.shape, image.dtype.name, stride, metric, span, "cpu", 1,
        **given, **fields,
    )  # fmt: skip


def case(image, kernel, stride=(1, 1), metric="sad", weights=None, *, rows=8, group=4):
    problem = problem_of(image, kernel, stride, metric, weights)
    return rows, group, kernel, problem, weights, image


def assert_agree(cases):
    """With what ranks windows: integers exactly, floats as near as is stated."""
    found = interpreted("interpreted.py", cases)
    assert len(found) == len(cases)
    for (_, _, kernel, problem, weights, image), (scores, error) in zip(cases, found, strict=True):
        exact = metrics.exact(image, kernel, problem.metric, problem.data_range, weights)
        step_y, step_x = problem.stride
        rows, cols = problem.map_shape
        expected = [[exact(y * step_y, x * step_x) for x in range(cols)] for y in range(rows)]
        assert (np.abs(scores - expected) <= error).all(), problem
        assert np.max(error) <= (0 if problem.dtype.startswith("uint") else 3e-6), problem


@pytest.mark.parametrize("dtype", SPAN)
def test_the_interpreter_agrees_with_the_oracle(dtype, rng):
    # Programs of more rows than the map has are slow here, and no other code.
    cases, expected = [], []
    for channels, stride, rows in [(1, (1, 1), 8), (2, (2, 3), 4), (3, (1, 2), 8), (4, (4, 1), 2)]:
        image, kernel = values(rng, dtype, 11, 13, channels), values(rng, dtype, 5, 6, channels)
        cases.append(case(image, kernel, stride, rows=rows))
        expected.append(oracle.sad_map(image.tolist(), kernel.tolist(), stride, SPAN[dtype]))
    for (scores, error), true in zip(interpreted("interpreted.py", cases), expected, strict=True):
        assert (np.abs(scores - np.array(true)) <= error).all()
        assert np.max(error) <= (0 if dtype.startswith("uint") else 3e-6)


@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
def test_squares(dtype, rng):
    cases = []
    for channels, stride, rows in [(1, (1, 1), 8), (3, (2, 3), 4)]:
        image, kernel = values(rng, dtype, 14, 15, channels), values(rng, dtype, 7, 6, channels)
        cases.append(case(image, kernel, stride, "ssd", rows=rows))
    assert_agree(cases)


@pytest.mark.parametrize(
    ("size", "pixels"),
    [((1, 1), (14, 40)), ((1, 5), (14, 40)), ((6, 1), (14, 40)), ((14, 3), (14, 40)),
     ((9, 33), (11, 40)), ((9, 36), (9, 36))],
)  # fmt: skip
def test_kernels_of_every_form(size, pixels, rng):
    # Fewer rows than a program has and more, whole words and what is left of them, one window.
    cases = []
    for dtype in ("uint8", "float32"):
        image, kernel = values(rng, dtype, *pixels, 1), values(rng, dtype, *size, 1)
        cases += [case(image, kernel, rows=rows, group=8) for rows in (1, 4, 8)]
    assert_agree(cases)


@pytest.mark.parametrize("metric", ["sad", "ssd"])
def test_masks_and_shades(metric, rng):
    cases = []
    for dtype in ("uint8", "float32", "uint16")[: 2 if metric == "ssd" else 3]:
        image, kernel = values(rng, dtype, 12, 21, 2), values(rng, dtype, 5, 7, 2)
        mask = rng.integers(0, 2, (5, 7)).astype(np.uint8)
        own = rng.integers(0, 2, (5, 7, 2)).astype(np.uint8)
        shades = rng.integers(0, 256, (5, 7)).astype(np.uint8)
        shades[2, 3] = 255
        given = [mask, own] if dtype == "uint16" else [mask, own, shades]
        cases += [case(image, kernel, (1, 2), metric, weights) for weights in given]
    assert_agree(cases)


def test_the_largest_sums_do_not_overflow():
    # Of squares of 255 with shades of 255 no 260 fit 32 bits, of differences of 65535 no 257 a
    # float32. A program adds a group of words, here all of a row.
    cases = []
    for dtype, metric, shade in [
        ("uint8", "sad", 0), ("uint8", "ssd", 0), ("uint8", "sad", 255), ("uint8", "ssd", 255),
        ("uint16", "sad", 0), ("uint16", "sad", 1),
    ]:  # fmt: skip
        height, width, group = (24, 16, 4) if dtype == "uint8" else (33, 8, 8)
        image = np.full((height, width + 1, 1), SPAN[dtype], dtype)
        image[:, -1] -= 1
        kernel = np.zeros((height, width, 1), dtype)
        weights = np.full((height, width), shade, np.uint8) if shade else None
        cases.append(case(image, kernel, metric=metric, weights=weights, rows=4, group=group))
    assert_agree(cases)


def test_how_much_32_bits_hold():
    for squared in (False, True):
        for max_weight in (0, 1, 2, 255):
            most = cuda_config.Kind("uint32", squared, max_weight).most
            word = 4 * max(max_weight, 1) * 255 ** (2 if squared else 1)
            assert most >= 1
            assert most * 8 * word < 2**32
    # And a float32 differences of 16 bits.
    assert cuda_config.Kind("float32", False, 1).most * 8 * 65535 <= 2**24


def test_floats_past_float32(rng):
    image = ((rng.random((9, 12, 1)) - 0.5) * 6e38).astype(np.float32)
    kernel = ((rng.random((4, 5, 1)) - 0.5) * 6e38).astype(np.float32)
    cases = [case(image, kernel), case(image * 1e-12, kernel * 1e-12, metric="ssd")]
    spans = [6e38, 1e27]
    assert_agree(
        [
            (*c[:3], c[3]._replace(data_range=span), *c[4:])
            for c, span in zip(cases, spans, strict=True)
        ]
    )


def test_several_images_and_kernels_in_one_launch(tmp_path):
    code = (
        "import torch\n"
        "from patchsim.engines import unfold_tensors\n"
        "from patchsim.engines.cuda import config, launch, planes\n"
        "torch.manual_seed(0)\n"
        "images = torch.randint(256, (2, 2, 8, 20), dtype=torch.uint8)\n"
        "kernels = torch.randint(256, (3, 2, 4, 7), dtype=torch.uint8)\n"
        "taps = planes.taps(kernels, (1, 1), squared=False)\n"
        "given = config.Config(8, 32, 1, 1)\n"
        "for splits in (1, 2):\n"
        "    launch._Launch._splits = lambda self: splits\n"
        "    found = launch.difference_sums(images, taps, given)\n"
        "    assert found.shape == (2, 3, 5, 14)\n"
        "    for k in range(3):\n"
        "        true = unfold_tensors.difference_sums(images, kernels[k], (1, 1), 1 << 20)\n"
        "        assert torch.equal(found[:, k], true)\n"
    )
    interpreter.run(code, tmp_path)


def test_whole_searches_find_what_the_cpu_finds(tmp_path):
    done = subprocess.run(
        [sys.executable, Path(__file__).parents[1] / "interpreted_match.py"],
        env=ENVIRONMENT, cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    # Two of three kernels are of a size; where not all is visible each is compared alone.
    assert done.stdout.split() == ["2", "2", "1"]


def test_what_it_cannot_do_is_refused(monkeypatch):
    image = np.zeros((9, 9, 1), np.uint8)
    problem = problem_of(image, image[:3, :3])._replace(device="cuda:0")
    assert cuda.refuse(problem) is None
    assert cuda.refuse(problem._replace(metric="ssd")) is None
    for change, why in [
        ({"device": "cpu"}, "it runs on NVIDIA cards"), ({"metric": "ncc"}, "not ncc"),
        ({"device": "mps:0"}, "it runs on NVIDIA cards"),
        ({"dtype": "float32", "exact": True}, "rounded"),
        ({"dtype": "uint16", "metric": "ssd"}, "32 bits"),
        ({"dtype": "uint16", "max_weight": 2, "weight_sum": 9}, "32 bits"),
        ({"opaque_level": 1, "metric": "ssd"}, "visible"),
    ]:  # fmt: skip
        assert why in cuda.refuse(problem._replace(**change))
    monkeypatch.setenv("CC", "")
    monkeypatch.setattr(launch.shutil, "which", lambda _name: None)
    assert "neither gcc nor clang" in cuda.refuse(problem)
    monkeypatch.setenv("CC", "/opt/cc")
    assert cuda.refuse(problem) is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    assert "pip install triton" in cuda.refuse(problem)
    with pytest.raises(InputError, match="cuda on cpu: it runs on NVIDIA cards"):
        match(image, image[:3, :3], engine="cuda")


def test_what_is_compiled_is_not_compiled_again(monkeypatch):
    problem = Problem((2160, 3840, 3), (128, 128, 3), "uint8", (1, 1), "sad", 255, "cuda:0", 2)
    monkeypatch.setattr(devices, "start_up", lambda _name: 0.0)
    monkeypatch.setattr(launch, "compiled", set())
    first = cuda.start_up(problem)
    assert 0 < first < unfold.seconds(problem)
    # Others are compiled, and timed, where that is little of the search.
    long = problem._replace(image=(300_000, 300_000, 3))
    assert cuda.start_up(long) == len(cuda_config.Kind("uint32", False, 0).configs(128)) * first
    launch.compiled.add(cuda_config.Kind("uint32", False, 0))
    assert cuda.start_up(problem) == cuda.start_up(long) == 0
    assert cuda.start_up(problem._replace(dtype="float32")) == first


def test_rows_are_repeated_as_often_as_the_kernel_reads_them():
    from patchsim.engines.cuda import triton_kernel

    assert triton_kernel.REPEATS.value == cuda_config.REPEATS


def test_a_choice_is_made_once():
    asked = []
    configs = [cuda_config.Config(8, 512, 8, 2), cuda_config.Config(4, 512, 8, 2)]
    for _ in range(2):
        cost = {configs[0]: 2.0, configs[1]: 1.0}
        chosen = launch._fastest(configs, "here", lambda c: asked.append(c) or cost[c])  # noqa: B023
        assert chosen == configs[1]
    assert asked == configs


def test_blocks_are_no_wider_than_narrow_maps_need():
    wide = cuda_config.Config(8, 512, 8, 4)
    assert wide.fitted(5000) == wide
    for cols in (1, 33, 64, 257):
        fitted = wide.fitted(cols)
        assert cols <= fitted.cols < max(2 * cols, 33)
        assert fitted.cols % (fitted.warps * 32) == 0


# What ptxas makes of it -------------------------------------------------------------------------


def compiled(kind, config, architecture):
    """The kernel for a card that need not be here."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from patchsim.engines.cuda import triton_kernel

    word = {"uint32": "u32", "float32": "fp32", "float64": "fp64"}[kind.word]
    names = triton_kernel.sums.arg_names
    constants = {
        "R": config.rows, "COLS": config.cols, "GROUP": config.group, "MOST": kind.most,
        "SQUARED": kind.squared, "SHADES": kind.has_shades, "PTX": True,
    }  # fmt: skip
    signature = dict.fromkeys(names, "i32")
    signature |= dict.fromkeys(("image_step", "row_step", "kernel_step"), "i64")
    signature |= {
        "planes": f"*{word}", "taps": f"*{word}", "weights": f"*{word}", "table": "*i64",
        "out": "*i64" if word == "u32" else "*fp64",
    }  # fmt: skip
    if not kind.max_weight:
        constants["weights"] = None
    signature |= dict.fromkeys(constants, "constexpr")
    # As at a launch: what torch allocates is aligned.
    aligned = [n for n in names if signature[n][0] == "*"]
    attributes = {(names.index(n),): [["tt.divisibility", 16]] for n in aligned}
    return triton.compile(
        ASTSource(triton_kernel.sums, signature, constants, attributes),
        target=GPUTarget("cuda", architecture, 32),
        options=cuda_config.options(config),
    )


def main_loop(code, kind, config, folder, work):
    """Of the loop with the most of some instruction for an instruction: all, a difference, and it.

    The border of a block, whose rows not all windows have, does the same work and more beside it.
    """
    found = [loop for loop in loops(code, folder) if work in loop]
    most = max(loop.count(work) for loop in found)
    loop = min((loop for loop in found if loop.count(work) == most), key=len)
    words = config.rows * config.cols * config.group // (32 * config.warps)
    differences = words * (4 if kind.word == "uint32" else 1)
    return len(loop) / differences, loop.count(work) / differences, loop


def assert_tight(loop, config):
    """16 bytes of the kernel at once, nothing through shared memory, nothing spilled."""
    assert loop.count("LDG.E.128") == config.rows * config.group / 4
    assert not [name for name in loop if name.startswith(("LDS", "STS", "BAR", "LDL", "STL"))]


@pytest.mark.parametrize(
    ("architecture", "adding", "most"), [(80, "FADD", 2.3), (90, "FADD", 2.3), (100, "FADD2", 1.3)]
)
def test_floats_take_two_instructions_a_difference(architecture, adding, most, tmp_path):
    # Subtract; add the absolute value. From sm_100 on one instruction serves two floats.
    kind = cuda_config.Kind("float32", False, 0)
    config = kind.configs(128)[0]
    code = compiled(kind, config, architecture)
    assert spilled(code, architecture, tmp_path) == [0, 0]
    every, additions, loop = main_loop(code, kind, config, tmp_path, adding)
    assert additions == (2 if adding == "FADD" else 1)
    assert every < most
    assert_tight(loop, config)


@pytest.mark.parametrize("architecture", [80, 90, 100])
def test_bytes_take_one_instruction_for_four_differences(architecture, tmp_path):
    kind = cuda_config.Kind("uint32", False, 0)
    config = kind.configs(128)[0]
    code = compiled(kind, config, architecture)
    # On sm_80 some words are, outside of the loops.
    assert max(spilled(code, architecture, tmp_path)) <= (16 if architecture == 80 else 0)
    every, comparing, loop = main_loop(code, kind, config, tmp_path, "VABSDIFF4.U8.ACC")
    assert comparing == 1 / 4
    assert every < 0.32
    assert_tight(loop, config)


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("max_weight", [0, 1, 255])
@pytest.mark.parametrize("word", ["uint32", "float32"])
def test_no_registers_are_spilled(word, max_weight, squared, tmp_path):
    kind = cuda_config.Kind(word, squared, max_weight)
    code = compiled(kind, kind.configs(128)[0], 90)
    assert spilled(code, 90, tmp_path) == [0, 0]
