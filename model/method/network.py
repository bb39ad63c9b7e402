"""The ToCo network: encoder, classifier, auxiliary classifier and decoder.

References:
    ToCo, sections 3.1 and 4.1. Decoder: LargeFOV (Chen et al., DeepLab, TPAMI 2018).
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toco.model.method.backbone import Encoder, Tokens
from toco.model.spec import ModelSpec


class Classified(NamedTuple):
    """What the two classifiers say, for b images, C classes and a token grid of h x w.

    Attributes:
        logits: (b, C) image logits.
        aux_logits: (b, C) image logits of the auxiliary classifier.
        cam: (b, C, h, w) raw CAMs, before ReLU.
        aux_cam: (b, C, h, w) raw auxiliary CAMs.
        class_token: (b, d).
        patches: (b, d, h, w) final patch tokens.
        aux_patches: (b, d, h, w) auxiliary patch tokens.
    """

    logits: Tensor
    aux_logits: Tensor
    cam: Tensor
    aux_cam: Tensor
    class_token: Tensor
    patches: Tensor
    aux_patches: Tensor


class LargeFOV(nn.Module):
    """Decoder of three convolutions with a wide field of view: (b, d, h, w) tokens to (b, outputs, h, w) logits."""

    HIDDEN = 512
    DILATION = 5

    def __init__(self, width: int, outputs: int) -> None:
        super().__init__()
        dilation = self.DILATION
        self.conv6 = nn.Conv2d(width, self.HIDDEN, 3, padding=dilation, dilation=dilation, bias=False)
        self.conv7 = nn.Conv2d(self.HIDDEN, self.HIDDEN, 3, padding=dilation, dilation=dilation, bias=False)
        self.conv8 = nn.Conv2d(self.HIDDEN, outputs, 1, bias=False)

    def forward(self, patches: Tensor) -> Tensor:
        """Return (b, outputs, h, w) logits of (b, d, h, w) patch tokens."""
        hidden = F.relu(self.conv6(patches))
        hidden = F.relu(self.conv7(hidden))
        logits: Tensor = self.conv8(hidden)
        return logits


class ToCoNetwork(nn.Module):
    """Plain ViT with two classifiers and a decoder.

    Args:
        encoder: the backbone.
        classes: number C of classes, background not counted.
    """

    def __init__(self, encoder: Encoder, classes: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.classes = classes
        self.classifier = nn.Conv2d(encoder.width, classes, 1, bias=False)
        self.aux_classifier = nn.Conv2d(encoder.width, classes, 1, bias=False)
        self.decoder = LargeFOV(encoder.width, classes + 1)

    @classmethod
    def from_spec(cls, spec: ModelSpec, *, pretrained: bool = False) -> "ToCoNetwork":
        """Build the network that a spec describes, with fresh weights."""
        encoder = Encoder(
            spec.backbone.name,
            image_size=spec.backbone.image_size,
            aux_layer=spec.aux_layer,
            pretrained=pretrained,
            arguments=spec.backbone.arguments,
        )
        return cls(encoder, len(spec.classes))

    def forward(self, images: Tensor) -> tuple[Classified, Tensor]:
        """Run everything on (b, 3, H, W) normalised images.

        Returns:
            The classifiers' outputs, and (b, C + 1, h, w) decoder logits whose channel 0 is background.
        """
        classified = self.classify(self.encoder(images))
        return classified, self.decoder(classified.patches)

    def classify(self, tokens: Tokens) -> Classified:
        """Apply both classifiers to tokens.

        The image logits are the classifier on globally max-pooled patch tokens (per token channel), as published;
        they are not the maximum of the CAM.
        """
        return Classified(
            logits=self.classifier(F.adaptive_max_pool2d(tokens.patches, 1)).flatten(1),
            aux_logits=self.aux_classifier(F.adaptive_max_pool2d(tokens.aux_patches, 1)).flatten(1),
            cam=self.classifier(tokens.patches),
            aux_cam=self.aux_classifier(tokens.aux_patches),
            class_token=tokens.class_token,
            patches=tokens.patches,
            aux_patches=tokens.aux_patches,
        )


def normalise_images(pixels: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """Turn RGB pixels into network input.

    Args:
        pixels: (b, 3, H, W) uint8 or float in 0..255.
        mean: per channel, for values in 0..1.
        std: likewise.

    Returns:
        (b, 3, H, W) float32, (pixels / 255 - mean) / std.
    """
    scale = torch.tensor([1.0 / (255.0 * s) for s in std], device=pixels.device)[:, None, None]
    shift = torch.tensor([m / s for m, s in zip(mean, std, strict=True)], device=pixels.device)[:, None, None]
    return pixels.float() * scale - shift
