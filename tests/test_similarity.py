"""The layer: values against the oracle and scipy, gradients, dtypes, memory."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import torch
from helpers.grids import thinned
from scipy.spatial.distance import cdist

import patchsim
from patchsim import InputError, match, similarity_map
from patchsim.engines import unfold_tensors

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def images(*shape, dtype=torch.float32, seed=0, device="cpu"):
    generator = torch.Generator().manual_seed(seed)
    values = torch.rand(shape, generator=generator, dtype=torch.float64)
    if dtype in (torch.uint8, torch.uint16):
        values = (values * (256 if dtype == torch.uint8 else 65536)).floor()
    return values.to(dtype).to(device)


def expected(image, kernel, stride, span=1.0):
    """The oracle's map for one image [C, H, W]."""
    pixels = image.double().permute(1, 2, 0).tolist()
    taps = kernel.double().permute(1, 2, 0).tolist()
    return np.array(oracle.sad_map(pixels, taps, stride, span))


def by_distance(image, kernel, stride):
    """The same from scipy's city-block distance between all patches: quick enough for a grid."""
    channels, height, width = kernel.shape
    patches = np.lib.stride_tricks.sliding_window_view(image.numpy(), kernel.shape)[0]
    patches = patches[:: stride[0], :: stride[1]]
    flat = patches.reshape(-1, kernel.numel()).astype(float)
    distance = cdist(flat, kernel.numpy().reshape(1, -1).astype(float), "cityblock")
    return 1 - distance.reshape(patches.shape[:2]) / (channels * height * width)


@thinned(3, stride=[1, 2, 3], height=[99, 100, 101], width=[99, 100, 101])
def test_grid_of_strides_and_sizes_agrees_with_the_oracle(stride, height, width):
    """The oracle's loops take long, so they score one kernel of each image and vouch for scipy."""
    image = images(1, height, width, seed=height)
    for kernel_height in (9, 10, 11):
        for kernel_width in (9, 10, 11):
            kernel = images(1, kernel_height, kernel_width, seed=kernel_width)
            wanted = by_distance(image, kernel, (stride, stride))
            if (kernel_height - 9, kernel_width - 9) == (height - 99, width - 99):
                true = expected(image, kernel, (stride, stride))
                np.testing.assert_allclose(wanted, true, rtol=0, atol=1e-12)
            found = similarity_map(image, kernel, stride).numpy()
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
            searched = match(image[0].numpy(), kernel[0].numpy(), stride=stride, map=True).map
            np.testing.assert_allclose(searched, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("stride_y", [1, 2, 3])
@pytest.mark.parametrize("stride_x", [1, 2, 3])
def test_strides_of_their_own_in_both_axes_agree_with_city_block_distance(
    stride_y, stride_x, device
):
    for height, width in ((99, 101), (100, 99), (101, 100)):
        for kernel_height in (9, 10, 11):
            for kernel_width in (9, 10, 11):
                image = images(1, height, width, seed=height)
                kernel = images(1, kernel_height, kernel_width, seed=1)
                stride = (stride_y, stride_x)
                found = similarity_map(image.to(device), kernel.to(device), stride).cpu()
                np.testing.assert_allclose(
                    found.numpy(), by_distance(image, kernel, stride), rtol=0, atol=1e-6
                )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.float32, torch.float64])
@pytest.mark.parametrize("stride", [1, 2, (3, 2)])
@pytest.mark.parametrize("channels", [1, 2, 3])
@pytest.mark.parametrize("kernel_size", [(1, 1), (2, 5), (7, 3), (15, 1), (15, 17)])
def test_values_agree_with_the_oracle(dtype, stride, channels, kernel_size, device):
    image = images(2, channels, 15, 17, dtype=dtype)
    kernel = images(channels, *kernel_size, dtype=dtype, seed=1)
    span = {torch.uint8: 255, torch.uint16: 65535}.get(dtype, 1.0)
    found = similarity_map(image.to(device), kernel.to(device), stride).cpu()
    pair = (stride, stride) if isinstance(stride, int) else stride
    for number in range(2):
        np.testing.assert_allclose(
            found[number].numpy(), expected(image[number], kernel, pair, span), rtol=0, atol=1e-6
        )


CORRELATED = ["ssd", "ncc", "zncc"]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("metric", CORRELATED)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
@pytest.mark.parametrize("kernel_size", [(1, 2), (7, 3), (15, 17)])
def test_other_metrics_agree_with_the_oracle(metric, dtype, kernel_size, device):
    image = images(2, 3, 15, 17, dtype=dtype)
    image[:, :, :8, :9] = image[0, 0, 0, 0]  # flat
    kernel = images(3, *kernel_size, dtype=dtype, seed=1)
    span = 255 if dtype == torch.uint8 else 1.0
    found = similarity_map(image.to(device), kernel.to(device), (2, 1), metric=metric).cpu()
    for number in range(2):
        wanted = oracle.score_map(
            metric,
            image[number].double().permute(1, 2, 0).tolist(),
            kernel.double().permute(1, 2, 0).tolist(),
            (2, 1),
            span,
        )
        tolerance = 1e-12 if dtype == torch.float64 else 1e-7
        np.testing.assert_allclose(found[number].numpy(), wanted, rtol=0, atol=tolerance)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("metric", ["ncc", "zncc"])
@pytest.mark.parametrize("powers", [(-1000, -1000), (-300, 0), (0, 300), (900, 900)])
def test_powers_of_two_change_no_correlation(metric, powers, device):
    def scored(of_image, of_kernel):
        """The map of two images, of which one is scaled, and the gradients of both, scaled back."""
        pictures = images(2, 3, 15, 17, dtype=torch.float64)
        pictures, taps = pictures.numpy(), pictures[0, :, 2:9, 3:8].numpy().copy()
        pictures[1] = np.ldexp(pictures[1], of_image)
        taps = np.ldexp(taps, of_kernel)
        both = [torch.from_numpy(one).to(device).requires_grad_() for one in (pictures, taps)]
        found = similarity_map(*both, metric=metric)
        found.sum().backward()
        grads = [one.grad.cpu().numpy() for one in both]
        return found.detach(), np.ldexp(grads[0][1], of_image), np.ldexp(grads[1], of_kernel)

    found, usual = scored(*powers), scored(0, 0)
    assert torch.equal(found[0], usual[0])
    for ours, theirs in zip(found[1:], usual[1:], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=0)


@pytest.mark.parametrize("metric", ["ncc", "zncc"])
def test_zeros_have_no_sign(metric):
    image = images(1, 3, 30, 40)
    image[..., 20:] = 0
    found = similarity_map(image, images(3, 5, 7, seed=1) - 0.5, metric=metric)
    assert (found == 0).any()
    assert not torch.signbit(found[found == 0]).any()


@pytest.mark.parametrize("metric", CORRELATED)
def test_other_metrics_are_differentiable_in_both_arguments_twice(metric):
    image = images(1, 2, 4, 4, dtype=torch.float64).requires_grad_()
    kernel = images(2, 2, 3, dtype=torch.float64, seed=1).requires_grad_()

    def scores(image, kernel):
        return similarity_map(image, kernel, (2, 1), metric=metric)

    assert torch.autograd.gradcheck(scores, (image, kernel))
    assert torch.autograd.gradgradcheck(scores, (image, kernel))


@pytest.mark.parametrize("metric", ["ncc", "zncc"])
def test_what_has_no_contrast_scores_0_and_has_finite_gradients(metric):
    image = torch.zeros(1, 12, 12, requires_grad=True)
    kernel = images(1, 3, 3).requires_grad_()
    found = similarity_map(image, kernel, metric=metric)
    assert torch.equal(found, torch.zeros(10, 10))
    found.sum().backward()
    assert image.grad.isfinite().all()
    assert kernel.grad.isfinite().all()
    assert torch.equal(
        similarity_map(images(1, 9, 9), torch.zeros(1, 3, 3), metric=metric), torch.zeros(7, 7)
    )


def test_other_metrics_in_blocks_and_within_memory():
    image, kernel = images(1, 60, 1500), images(1, 5, 6, seed=1)
    found = similarity_map(image, kernel, metric="ssd", memory="200MB")
    patches = image[0].unfold(0, 5, 1).unfold(1, 6, 1)
    wanted = 1 - ((patches - kernel[0]) ** 2).mean((-2, -1))
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="memory '1MB' is too small"):
        similarity_map(image, kernel, metric="ssd", memory="1MB")


def test_black_on_black_is_exactly_one():
    found = similarity_map(torch.zeros(3, 20, 20), torch.zeros(3, 5, 5))
    assert torch.equal(found, torch.ones(16, 16))


def test_black_on_white_is_exactly_zero():
    image, kernel = torch.full((3, 9, 9), 255, dtype=torch.uint8), torch.zeros(3, 5, 5)
    assert torch.equal(similarity_map(image, kernel.to(torch.uint8)), torch.zeros(5, 5))


@pytest.mark.parametrize(
    ("given", "returned"),
    [
        (torch.uint8, torch.float32),
        (torch.uint16, torch.float32),
        (torch.float16, torch.float32),
        (torch.bfloat16, torch.float32),
        (torch.float32, torch.float32),
        (torch.float64, torch.float64),
    ],
)
def test_dtype_of_the_result(given, returned):
    assert (
        similarity_map(images(1, 9, 9, dtype=given), images(1, 3, 3, dtype=given)).dtype == returned
    )


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_wider(dtype):
    image, kernel = images(3, 40, 40, dtype=dtype), images(3, 31, 33, dtype=dtype, seed=1)
    found = similarity_map(image, kernel)
    np.testing.assert_allclose(found.numpy(), expected(image, kernel, (1, 1)), rtol=0, atol=1e-6)


def test_stride_larger_than_the_map_gives_one_row_and_column():
    image, kernel = images(1, 12, 14), images(1, 5, 6, seed=1)
    whole = similarity_map(image, kernel)
    for stride, part in (((100, 1), whole[:1]), ((1, 100), whole[:, :1])):
        torch.testing.assert_close(similarity_map(image, kernel, stride), part, rtol=0, atol=1e-7)


def test_each_image_of_a_batch_has_its_own_map():
    batch, kernel = images(5, 3, 14, 11), images(3, 4, 3, seed=1)
    found = similarity_map(batch, kernel, 2)
    for one, scores in zip(batch, found, strict=True):
        torch.testing.assert_close(scores, similarity_map(one, kernel, 2), rtol=0, atol=1e-7)


def test_an_empty_batch_has_no_maps():
    assert similarity_map(torch.zeros(0, 1, 9, 9), torch.zeros(1, 3, 4)).shape == (0, 7, 6)


@pytest.mark.parametrize("scratch", [1, 300, 3000, 30_000, 1 << 30])
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float64])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
def test_any_block_size_gives_the_same_sums(scratch, dtype, stride):
    image, kernel = images(3, 2, 19, 23, dtype=dtype), images(2, 6, 7, dtype=dtype, seed=1)
    whole = unfold_tensors.difference_sums(image, kernel, stride, 1 << 30)
    torch.testing.assert_close(
        unfold_tensors.difference_sums(image, kernel, stride, scratch), whole, rtol=1e-14, atol=0
    )


@pytest.mark.parametrize(("dtype", "peak"), [(torch.uint8, 255), (torch.uint16, 65535)])
@pytest.mark.parametrize("width", [65_500, 130])
def test_largest_integer_sums_do_not_round(dtype, peak, width):
    # 65,500 taps of 255 end just below 2**24, where float32 stops counting; of 65,535 far above.
    image = torch.full((3, 7, width + 2), peak, dtype=torch.int32).to(dtype)
    kernel = torch.zeros(3, 7, width, dtype=dtype)
    sums = unfold_tensors.difference_sums(image[None], kernel, (1, 1), 1 << 22)
    assert sums.flatten().tolist() == [3 * 7 * width * peak] * 3


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("stride", [1, 2, (3, 1)])
@pytest.mark.parametrize("limited", [False, True])
def test_gradients_of_both_arguments_pass_gradcheck(stride, limited, device):
    image = images(2, 2, 11, 12, dtype=torch.float64, device=device).requires_grad_()
    kernel = images(2, 4, 3, dtype=torch.float64, seed=1, device=device).requires_grad_()
    memory = {"cpu": "30kB", "cuda": "300kB"}[device] if limited else None
    assert torch.autograd.gradcheck(
        lambda a, b: similarity_map(a, b, stride, memory=memory), (image, kernel)
    )


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("limited", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gradients_agree_with_autograd_through_the_plain_unfold(device, limited, dtype):
    image = images(2, 3, 30, 28, dtype=dtype, device=device).requires_grad_()
    kernel = images(3, 9, 7, dtype=dtype, device=device, seed=1).requires_grad_()
    memory = {"cpu": "400kB", "cuda": "1MB"}[device] if limited else None
    plain = (image.unfold(2, 9, 2).unfold(3, 7, 3) - kernel[:, None, None]).abs().mean((1, 4, 5))
    weights = images(2, 11, 8, dtype=dtype, device=device, seed=2)
    wanted = torch.autograd.grad(((1 - plain) * weights).sum(), (image, kernel))
    scores = similarity_map(image, kernel, (2, 3), memory=memory)
    found = torch.autograd.grad((scores * weights).sum(), (image, kernel))
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_gradient_is_zero_where_pixels_are_equal(device, dtype):
    image = torch.full((1, 6, 6), 0.1, dtype=dtype, device=device, requires_grad=True)
    kernel = torch.full((1, 3, 3), 0.1, dtype=dtype, device=device, requires_grad=True)
    similarity_map(image, kernel).sum().backward()
    assert not image.grad.any()
    assert not kernel.grad.any()


def test_functional_gradients():
    image, kernel = images(1, 9, 9), images(1, 3, 3, seed=1)
    found = torch.func.grad(lambda k: similarity_map(image, k).sum())(kernel)
    kernel.requires_grad_()
    similarity_map(image, kernel).sum().backward()
    torch.testing.assert_close(found, kernel.grad)


@pytest.mark.parametrize("device", DEVICES)
def test_the_same_call_gives_the_same_bits_where_asked(device):
    image = images(2, 3, 60, 50, device=device).requires_grad_()
    kernel = images(3, 17, 9, device=device, seed=1).requires_grad_()
    torch.use_deterministic_algorithms(True)
    try:
        found = []
        for _ in range(2):
            scores = similarity_map(image, kernel)
            found.append((scores, *torch.autograd.grad(scores.square().sum(), (image, kernel))))
    finally:
        torch.use_deterministic_algorithms(False)
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("device", DEVICES)
def test_only_the_wanted_gradient_is_made(device):
    image = images(1, 8, 8, device=device)
    kernel = images(1, 3, 3, device=device, seed=1).requires_grad_()
    similarity_map(image, kernel).sum().backward()
    assert image.grad is None
    assert kernel.grad.abs().sum() > 0


def test_non_contiguous_tensors():
    image, kernel = images(14, 15, 3).permute(2, 0, 1), images(3, 9, 4, seed=1)[:, ::2].flip(2)
    np.testing.assert_allclose(
        similarity_map(image, kernel).numpy(), expected(image, kernel, (1, 1)), rtol=0, atol=1e-6
    )


def test_data_range_scales_the_difference():
    image, kernel = images(1, 9, 9) * 4095, images(1, 3, 3, seed=1) * 4095
    found = similarity_map(image, kernel, data_range=(0, 4095))
    np.testing.assert_allclose(
        found.numpy(), expected(image, kernel, (1, 1), 4095), rtol=0, atol=1e-6
    )
    assert torch.equal(found, similarity_map(image, kernel, data_range=4095))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"kernel": torch.zeros(1, 9, 3)}, r"kernel \[9, 3\] is larger than image \[8, 8\]"),
        ({"kernel": torch.zeros(2, 3, 3)}, "1 channels, kernel 2"),
        ({"kernel": torch.zeros(3, 3)}, r"kernel \[3, 3\] do not fit"),
        ({"kernel": torch.zeros(1, 0, 3)}, "empty"),
        (
            {"kernel": torch.zeros(1, 3, 3, dtype=torch.float64)},
            "float32 on cpu, kernel",
        ),
        ({"image": torch.zeros(8, 8)}, "do not fit"),
        ({"stride": 0}, "stride 0 is not possible"),
        ({"stride": (1, -1)}, r"stride \(1, -1\)"),
        ({"stride": 1.5}, "stride 1.5"),
        ({"stride": True}, "stride True"),
        ({"metric": "sadd"}, "metric 'sadd' is unknown; there is sad"),
        ({"data_range": (1, 1)}, "data range 1:1"),
        ({"data_range": float("nan")}, "data range"),
        ({"image": np.zeros((1, 8, 8))}, "image is a ndarray; give a torch.Tensor"),
        ({"data_range": "wide"}, "not two numbers"),
        ({"memory": "1kB"}, r"at the least"),
        ({"memory": "much"}, "not a size"),
    ],
)
def test_bad_arguments_are_named(change, says):
    arguments = {"image": torch.zeros(1, 8, 8), "kernel": torch.zeros(1, 3, 3)} | change
    with pytest.raises(InputError, match=says):
        similarity_map(arguments.pop("image"), arguments.pop("kernel"), **arguments)


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.complex64])
def test_dtypes_without_a_range_are_refused(dtype):
    with pytest.raises(InputError, match="is not supported"):
        similarity_map(torch.zeros(1, 8, 8, dtype=dtype), torch.zeros(1, 3, 3, dtype=dtype))


def test_the_public_name_is_the_layer():
    assert patchsim.similarity_map is similarity_map
