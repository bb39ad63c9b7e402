"""Frozen tokens of a photo: what the fit learns from and what learnt words are recognised in."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from toco.model.learning.prior import decoder_objectness, joined, saliency_objectness
from toco.model.method.cams import normalise_cams
from toco.model.method.device import Device
from toco.model.method.network import ToCoNetwork, normalise_images
from toco.model.method.saliency_network import INPUT_SIDE, SaliencyNetwork
from toco.model.method.segmentation import gated_probabilities
from toco.model.photos.classes import Vocabulary
from toco.model.spec import IMAGENET_MEAN, IMAGENET_STD, ModelSpec

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PhotoTokens:
    """What an encoder sees in a photo, on a token grid of h x w.

    Attributes:
        tokens: (h * w, d) float16 on the CPU, of length 1 each.
        prior: (h * w,) float32, how object-like a place is.
        own: (h * w, C) float32, which of the encoder's own C classes an object here would be; sums to 1 over C.
        grid: (h, w).
    """

    tokens: Tensor
    prior: Tensor
    own: Tensor
    grid: tuple[int, int]


class TokenReader(Protocol):
    """Reads photos into tokens; see `ModelTokens` and `SaliencyTokens`."""

    device: Device
    side: int

    @property
    def vocabulary(self) -> Vocabulary | None:
        """The words that the encoder knows by itself; None if it knows none."""
        ...

    @property
    def digest(self) -> str:
        """Identifies encoder and input size: words learnt from one reader's tokens mean nothing to another's."""
        ...

    def read(self, photos: Sequence[Pixels]) -> list[PhotoTokens]:
        """Return the tokens of photos (H, W, 3) uint8 RGB, all of them through the encoder at once."""
        ...


class NetworkMaps(NamedTuple):
    """What a network itself sees of a photo's classes, on its token grid of h x w.

    Attributes:
        cams: (K, h, w) in 0..1.
        belief: (K, h, w), the decoder's probability of each class against the others and background.
        saliency: (h, w) in 0..1, scaled as a prior; None without a saliency network.
    """

    cams: Tensor
    belief: Tensor
    saliency: Tensor | None


class ModelTokens:
    """Tokens of a model's encoder, with the prior of its own decoder.

    Args:
        network: in evaluation mode, on the device.
        spec: of the network.
        device: where it is.
        side: of the square that photos are resized to; None takes that of the spec.
        saliency: a saliency network on the device, whose opinion is joined to the decoder's.
    """

    def __init__(
        self,
        network: ToCoNetwork,
        spec: ModelSpec,
        device: Device,
        *,
        side: int | None = None,
        saliency: SaliencyNetwork | None = None,
    ) -> None:
        self.network, self.spec, self.device = network, spec, device
        self.side = side or spec.input_size
        self.saliency = saliency

    @property
    def vocabulary(self) -> Vocabulary:
        """The model's classes."""
        return self.spec.vocabulary

    @property
    def digest(self) -> str:
        """Of the weights, with the input size."""
        return f"{self.spec.weights_sha256}-{self.side}"

    @torch.inference_mode()
    def read(self, photos: Sequence[Pixels]) -> list[PhotoTokens]:
        """Return the tokens of photos (H, W, 3) uint8 RGB."""
        with _autocast(self.device):
            images = torch.cat([squared(pixels, self.side) for pixels in photos]).to(self.device.device)
            patches = self.network.encoder(normalise_images(images, self.spec.mean, self.spec.std)).patches
            decoded = self.network.decoder(patches)
        return [
            self._of(pixels, found[None], logits)
            for pixels, found, logits in zip(photos, patches, decoded, strict=True)
        ]

    @torch.inference_mode()
    def maps(self, pixels: Pixels, channels: Sequence[int]) -> NetworkMaps:
        """Return what the network sees of K of its own classes in a photo (H, W, 3) uint8 RGB."""
        with _autocast(self.device):
            image = normalise_images(squared(pixels, self.side).to(self.device.device), self.spec.mean, self.spec.std)
            classified, decoded = self.network(image)
        cams = normalise_cams(classified.cam[:, list(channels)].float().clamp_min(0.0))[0].cpu()
        belief = gated_probabilities(decoded, channels)[0].cpu()
        saliency = None
        if self.saliency is not None:
            grid = (int(cams.shape[1]), int(cams.shape[2]))
            saliency = saliency_objectness(saliency_of(self.saliency, pixels, self.device), grid)
        return NetworkMaps(cams, belief, saliency)

    def _of(self, pixels: Pixels, patches: Tensor, logits: Tensor) -> PhotoTokens:
        grid = (int(patches.shape[2]), int(patches.shape[3]))
        prior = decoder_objectness(logits).cpu()
        if self.saliency is not None:
            prior = joined([prior, saliency_objectness(saliency_of(self.saliency, pixels, self.device), grid)])
        own = logits[1:].float().softmax(dim=0).flatten(1).T
        return PhotoTokens(_normalised(patches), prior.flatten(), own.cpu().contiguous(), grid)


class SaliencyTokens:
    """Tokens of a saliency network's own encoder, which knows no words at all.

    Args:
        network: in evaluation mode, on the device.
        device: where it is.
        digest: of its weights.
        side: of the square that photos are resized to.
    """

    def __init__(self, network: SaliencyNetwork, device: Device, *, digest: str, side: int = 448) -> None:
        self.network, self.device, self.side = network, device, side
        self._digest = digest

    @property
    def vocabulary(self) -> None:
        """None."""
        return None

    @property
    def digest(self) -> str:
        """Of the weights, with the input size."""
        return f"{self._digest}-{self.side}"

    @torch.inference_mode()
    def read(self, photos: Sequence[Pixels]) -> list[PhotoTokens]:
        """Return the tokens of photos (H, W, 3) uint8 RGB."""
        with _autocast(self.device):
            images = torch.cat([squared(pixels, self.side) for pixels in photos]).to(self.device.device)
            encoded = self.network.encoder(normalise_images(images, IMAGENET_MEAN, IMAGENET_STD)).patches
        return [self._of(pixels, found[None]) for pixels, found in zip(photos, encoded, strict=True)]

    def _of(self, pixels: Pixels, patches: Tensor) -> PhotoTokens:
        grid = (int(patches.shape[2]), int(patches.shape[3]))
        prior = saliency_objectness(saliency_of(self.network, pixels, self.device), grid)
        return PhotoTokens(_normalised(patches), prior.flatten(), torch.zeros(grid[0] * grid[1], 0), grid)


def squared(pixels: Pixels, side: int) -> Tensor:
    """Return a photo as (1, 3, side, side) uint8, aspect ratio not kept."""
    smaller = side < max(pixels.shape[:2])
    square = cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR)
    return torch.from_numpy(np.asarray(square, np.uint8)).permute(2, 0, 1)[None]


def saliency_of(network: SaliencyNetwork, pixels: Pixels, device: Device) -> Tensor:
    """Return the saliency (H, W) in 0..1 of a photo, at the size at which the network was trained; on the CPU."""
    with torch.inference_mode(), _autocast(device):
        image = normalise_images(squared(pixels, INPUT_SIDE).to(device.device), IMAGENET_MEAN, IMAGENET_STD)
        found: Tensor = network(image)
    return found[0, 0].float().cpu()


def _autocast(device: Device) -> torch.autocast:
    return torch.autocast(device.device.type, dtype=device.dtype, enabled=device.dtype is not None)


def _normalised(patches: Tensor) -> Tensor:
    return F.normalize(patches.float().flatten(2)[0].T, dim=1).half().cpu().contiguous()
