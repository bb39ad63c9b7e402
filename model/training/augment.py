"""Training augmentation: rescale, mirror, crop with padding, and the colour changes of the contrast views.

References:
    ToCo, section 4.1; the views follow DINO (Caron et al., ICCV 2021).
"""

from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as TF

from toco.model.training.config import AugmentationConfig

Pixels = npt.NDArray[np.uint8]


class Crop(NamedTuple):
    """A square crop and the rows y0, y1, x0, x1 (ends exclusive) of it that are not padding."""

    pixels: Pixels
    box: tuple[int, int, int, int]


def random_crop(image: Pixels, config: AugmentationConfig, rng: np.random.Generator) -> Crop:
    """Rescale, mirror and crop a photo; what it does not fill is zero.

    Args:
        image: (H, W, n) uint8; RGB, and possibly maps that belong to it.
        config: crop side and rescale range.
        rng: source of chance.

    Returns:
        (crop, crop, n) uint8 and its valid box.
    """
    size = config.crop
    scale = rng.uniform(*config.rescale)
    height = max(1, round(image.shape[0] * scale))
    width = max(1, round(image.shape[1] * scale))
    mode = cv2.INTER_AREA if scale < 1.0 else cv2.INTER_LINEAR
    scaled = resize_maps(image, (width, height), mode)
    if rng.random() < 0.5:
        scaled = scaled[:, ::-1]
    # The crop lies within the photo where the photo is larger, and the photo within the crop where it is smaller.
    top = int(rng.integers(0, abs(height - size) + 1))
    left = int(rng.integers(0, abs(width - size) + 1))
    source_y, target_y = (top, 0) if height > size else (0, top)
    source_x, target_x = (left, 0) if width > size else (0, left)
    rows, columns = min(height, size), min(width, size)
    pixels = np.zeros((size, size, image.shape[2]), np.uint8)
    pixels[target_y : target_y + rows, target_x : target_x + columns] = scaled[
        source_y : source_y + rows, source_x : source_x + columns
    ]
    return Crop(pixels, (target_y, target_y + rows, target_x, target_x + columns))


def resize_maps(maps: Pixels, size: tuple[int, int], interpolation: int) -> Pixels:
    """Resize (H, W, n) uint8 to (w, h); any n, where cv2 takes four channels at most."""
    parts = [
        cv2.resize(np.ascontiguousarray(maps[..., start : start + 4]), size, interpolation=interpolation)
        for start in range(0, maps.shape[2], 4)
    ]
    return np.dstack(parts).astype(np.uint8, copy=False)


def random_resized_crop(image: Pixels, config: AugmentationConfig, rng: np.random.Generator) -> Pixels:
    """Cut a random rectangle of `view_scale` of the area and resize it to the crop size: the second global view."""
    height, width = image.shape[:2]
    area = rng.uniform(*config.view_scale) * height * width
    ratio = float(np.exp(rng.uniform(np.log(3 / 4), np.log(4 / 3))))
    cut_w = min(width, max(1, round((area * ratio) ** 0.5)))
    cut_h = min(height, max(1, round((area / ratio) ** 0.5)))
    top = int(rng.integers(0, height - cut_h + 1))
    left = int(rng.integers(0, width - cut_w + 1))
    view = cv2.resize(image[top : top + cut_h, left : left + cut_w], (config.crop,) * 2, interpolation=cv2.INTER_CUBIC)
    return np.ascontiguousarray(view[:, ::-1] if rng.random() < 0.5 else view, dtype=np.uint8)


def colour_jitter(image: Tensor, config: AugmentationConfig, rng: np.random.Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue at random, or make the image grey.

    Args:
        image: (3, H, W) uint8.
        config: strengths and probabilities.
        rng: source of chance.
    """
    if rng.random() < config.jitter_probability:
        brightness, contrast, saturation, hue = config.jitter
        for change in rng.permutation(4):
            if change == 0:
                image = TF.adjust_brightness(image, rng.uniform(1 - brightness, 1 + brightness))
            elif change == 1:
                image = TF.adjust_contrast(image, rng.uniform(1 - contrast, 1 + contrast))
            elif change == 2:
                image = TF.adjust_saturation(image, rng.uniform(1 - saturation, 1 + saturation))
            elif hue > 0:
                image = TF.adjust_hue(image, rng.uniform(-hue, hue))
    if rng.random() < config.grey_probability:
        image = TF.rgb_to_grayscale(image, num_output_channels=3)
    return image


def blur(image: Tensor, rng: np.random.Generator, *, probability: float) -> Tensor:
    """Blur (3, H, W) with a Gaussian of 0.1 to 2 pixels, with some probability."""
    if rng.random() < probability:
        sigma = rng.uniform(0.1, 2.0)
        pixels = cv2.GaussianBlur(np.ascontiguousarray(image.permute(1, 2, 0).numpy()), (0, 0), sigma)
        image = torch.from_numpy(pixels).permute(2, 0, 1)
    return image


def view(image: Tensor, config: AugmentationConfig, rng: np.random.Generator, *, second: bool) -> Tensor:
    """Return a contrast view of (3, H, W) uint8: jitter and blur, the second one blurred less and solarised."""
    image = blur(colour_jitter(image, config, rng), rng, probability=0.1 if second else 1.0)
    if second and rng.random() < config.solarize_probability:
        image = TF.solarize(image, 128)
    return image
