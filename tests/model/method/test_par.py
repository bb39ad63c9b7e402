"""PAR by a loop over pixels and neighbours, its weights, its gradients and what it refuses."""

import numpy as np
import pytest
import torch

from toco.model.errors import InvalidArray
from toco.model.method.par import DILATIONS, affinity, neighbours, par

OFFSETS = [(dy, dx) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)]


def naive_around(plane, y, x, dilations):
    """The neighbours of one pixel of (H, W), borders replicated."""
    height, width = plane.shape
    return np.array(
        [
            plane[min(max(y + d * dy, 0), height - 1), min(max(x + d * dx, 0), width - 1)]
            for d in dilations
            for dy, dx in OFFSETS
        ]
    )


def softmax(values):
    powers = np.exp(values - values.max())
    return powers / powers.sum()


def naive_weights(image, y, x, dilations):
    colour = np.zeros(8 * len(dilations))
    for channel in image:
        around = naive_around(channel, y, x, dilations)
        spread = around.std(ddof=1) + 1e-8
        colour += -((np.abs(around - channel[y, x]) / spread / 0.3) ** 2) / 3
    distance = np.array([d * np.hypot(dy, dx) for d in dilations for dy, dx in OFFSETS])
    position = -((distance / (distance.std(ddof=1) + 1e-8) / 0.3) ** 2)
    return softmax(colour) + 0.01 * softmax(position)


def naive_par(image, masks, iterations, dilations):
    """Image (3, H, W) and masks (c, H, W), refined one pixel after the other."""
    for _ in range(iterations):
        refined = np.zeros_like(masks)
        for c, plane in enumerate(masks):
            for y, x in np.ndindex(plane.shape):
                weights = naive_weights(image, y, x, dilations)
                refined[c, y, x] = weights @ naive_around(plane, y, x, dilations)
        masks = refined
    return masks


@pytest.mark.parametrize("dilations", [DILATIONS, (1, 3)])
def test_par_equals_a_loop_over_pixels(dilations, close):
    images = torch.rand(2, 3, 6, 7, dtype=torch.float64)
    masks = torch.rand(2, 2, 6, 7, dtype=torch.float64)
    found = par(images, masks, iterations=3, dilations=dilations)
    for b in range(2):
        close(found[b], naive_par(images[b].numpy(), masks[b].numpy(), 3, dilations))


def test_weights_of_a_pixel_sum_to_one_and_a_hundredth(device, dtype, close):
    images = torch.rand(2, 3, 8, 9, device=device, dtype=dtype)
    weights = affinity(images)
    assert weights.shape == (2, 48, 8, 9)
    assert (weights.dtype, weights.device) == (dtype, images.device)
    assert bool((weights >= 0).all())
    close(weights.sum(dim=1), torch.full((2, 8, 9), 1.01, dtype=dtype))


def test_neighbours_are_stacked_by_distance_then_row_then_column():
    plane = torch.arange(49.0).reshape(1, 1, 7, 7)
    around = neighbours(plane, (1, 2))[0, 0, :, 3, 3].tolist()
    assert around == [16, 17, 18, 23, 25, 30, 31, 32, 8, 10, 12, 22, 26, 36, 38, 40]
    assert neighbours(plane, (24,))[0, 0, :, 3, 3].tolist() == [0, 3, 6, 21, 27, 42, 45, 48]  # borders replicated


def test_a_flat_image_blurs_by_position_alone(close):
    """No colour tells neighbours apart, so all weigh the same but for the hundredth that prefers near ones."""
    images = torch.full((1, 3, 5, 5), 0.3)
    weights = affinity(images)[0, :, 2, 2]
    near, far = weights[:8], weights[40:]
    close(weights.sum(), 1.01)
    assert float(near.min()) > float(far.max())
    assert float(weights.max() - weights.min()) < 0.01


def test_masks_grow_by_the_hundredth_each_iteration(close):
    ones = torch.ones(1, 1, 6, 6)
    close(par(torch.rand(1, 3, 6, 6), ones), torch.full((1, 1, 6, 6), 1.01**10))


def test_no_iteration_only_resizes_with_aligned_corners(close):
    corners = torch.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
    found = par(torch.rand(1, 3, 3, 3), corners, iterations=0)
    close(found, torch.tensor([[[[0.0, 0.5, 1.0], [1.0, 1.5, 2.0], [2.0, 2.5, 3.0]]]]))


def test_refined_masks_keep_to_the_edge_of_the_image():
    images = torch.zeros(1, 3, 24, 24)
    images[..., 12:] = 1.0
    images += torch.rand(images.shape) * 0.02
    mask = torch.zeros(1, 1, 24, 24)
    mask[..., 6:18, 14:20] = 1.0  # a blob within the bright half
    refined = par(images, mask)
    assert float(refined[..., 12:].mean()) > 4 * float(refined[..., :12].mean())


def test_images_are_refined_one_by_one(close):
    images, masks = torch.rand(3, 3, 8, 8), torch.rand(3, 2, 4, 4)
    batched = par(images, masks)
    for position in range(3):
        close(batched[position], par(images[position][None], masks[position][None])[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_and_device_are_kept(device, dtype):
    images, masks = torch.rand(1, 3, 6, 7, dtype=dtype, device=device), torch.rand(1, 2, 3, 3, dtype=dtype).to(device)
    found = par(images, masks, iterations=1)
    assert (found.dtype, found.device, found.shape) == (dtype, images.device, (1, 2, 6, 7))
    assert masks.shape == (1, 2, 3, 3)


@pytest.mark.parametrize(
    ("images", "masks"), [((3, 8, 8), (1, 1, 8, 8)), ((1, 1, 8, 8), (1, 1, 8, 8)), ((2, 3, 8, 8), (1, 1, 8, 8)),
                          ((1, 3, 8, 8), (1, 8, 8))]
)  # fmt: skip
def test_shapes_that_do_not_belong_together_are_refused(images, masks):
    with pytest.raises(InvalidArray) as caught:
        par(torch.rand(images), torch.rand(masks))
    assert str(images) in caught.value.detail
    assert str(masks) in caught.value.detail


def test_gradients_are_those_of_the_function():
    images = torch.rand(1, 3, 3, 4, dtype=torch.float64, requires_grad=True)
    masks = torch.rand(1, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda i, m: par(i, m, iterations=2, dilations=(1, 2)), (images, masks))


def test_published_refinement_is_matched(expected, matches):
    matches(par(expected["image_uint8"].float() / 255.0, expected["par_in"]), expected["par_out"])
