"""One training step: from a batch to the weighted losses.

References:
    ToCo, figure 2 and sections 3.1 to 3.4.
"""

import contextlib
from typing import NamedTuple, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from toco.model.method.cams import (
    gate,
    label_with_ignore,
    mix_foreground,
    multi_scale_cams,
    normalise_cams,
    region_mask,
    resize,
)
from toco.model.method.network import Classified, ToCoNetwork, normalise_images
from toco.model.method.refined_label import refined_label
from toco.model.photos.classes import IGNORE
from toco.model.spec import IMAGENET_MEAN, IMAGENET_STD
from toco.model.training.config import TrainConfig
from toco.model.training.crops import local_crops, with_global_flags
from toco.model.training.energy import dense_energy_loss
from toco.model.training.heads import ContrastHeads
from toco.model.training.losses import (
    class_token_contrast,
    classification_loss,
    patch_token_contrast,
    segmentation_loss,
    soft_cam_loss,
    soft_segmentation_loss,
)

PTC_CERTAINTY = 0.7  # a token whose soft label is less certain has no part in the token contrast


class Batch(NamedTuple):
    """Collated samples on the device; see `data.Sample`."""

    image: Tensor
    box: Tensor
    tags: Tensor
    known: Tensor
    saliency: Tensor
    targets: Tensor
    views: Tensor


class Losses(NamedTuple):
    """The total to descend, and each loss before its weight, by name."""

    total: Tensor
    parts: dict[str, Tensor]


class Trainee(nn.Module):
    """The network with its contrast heads: the module that DDP wraps, whose forward is the whole step."""

    def __init__(self, network: ToCoNetwork, config: TrainConfig) -> None:
        super().__init__()
        self.network = network
        self.contrast = ContrastHeads(network.encoder.width, config.contrast)
        self.config = config

    def encode(self, images: Tensor) -> Classified:
        """Run encoder and classifiers with the frozen lower blocks outside the gradient."""
        encoder = self.network.encoder
        frozen = self.config.backbone.frozen_blocks
        if not frozen:
            return self.network.classify(encoder(images))
        with torch.no_grad():
            tokens, grid = encoder.embed(images)
            for block in encoder.vit.blocks[:frozen]:
                tokens = block(tokens)
        return self.network.classify(encoder.run_blocks(tokens, grid, first=frozen))

    @torch.no_grad()
    def cams(self, images: Tensor, output: Classified) -> tuple[Tensor, Tensor]:
        """Return CAMs and auxiliary CAMs in 0..1 without gradient.

        They are (b, C, H, W) as published; with one scale and no mirroring they are the step's own raw CAMs,
        normalised on the token grid (b, C, h, w), which saves every further pass and all upsampling of absent classes.
        """
        options = self.config.cam
        if options.scales == (1.0,) and not options.flip:
            cam, aux = (normalise_cams(F.relu(raw.detach().float())) for raw in (output.cam, output.aux_cam))
            return cam, aux

        def raw_cams(batch: Tensor) -> tuple[Tensor, Tensor]:
            scaled = self.encode(batch)
            return scaled.cam, scaled.aux_cam

        cam, aux = multi_scale_cams(raw_cams, images, scales=options.scales, flip=options.flip)
        return cam, aux

    def forward(self, batch: Batch, progress: float, rng: np.random.Generator) -> Losses:
        """Compute all losses of a batch.

        Args:
            batch: on the device.
            progress: share (0..1) of the schedule that is done.
            rng: source of the local crops' places.
        """
        weights = self.config.loss
        images = normalise_images(batch.image, IMAGENET_MEAN, IMAGENET_STD)
        output = self.encode(images)
        parts = {
            "cls": classification_loss(output.logits, batch.tags, batch.known),
            "cls_aux": classification_loss(output.aux_logits, batch.tags, batch.known),
        }
        total = weights.classification * parts["cls"] + weights.auxiliary * parts["cls_aux"]
        if batch.targets.shape[1]:
            parts |= self._soft_label_losses(output, batch, progress)
            total = total + weights.segmentation * parts["seg"] + weights.ptc * parts["ptc"]
            if weights.cam > 0:
                total = total + weights.cam * parts["cam"]
            return Losses(total, parts)
        cam, aux = self.cams(images, output)
        decoded = self.network.decoder(output.patches) if self._trains_decoder(progress) else None
        if batch.saliency.shape[1]:
            cue = self.config.saliency
            saliency = batch.saliency.float() / 255.0
            evidence = None
            if decoded is not None and progress >= cue.decoder_start:
                evidence = resize(decoded.detach().float().softmax(dim=1)[:, 1:], cam.shape[-2:])
            cam, aux = (
                mix_foreground(maps, batch.tags, saliency, cue.weight, evidence=evidence) for maps in (cam, aux)
            )
        if weights.ptc > 0:
            parts["ptc"] = self._ptc(output, aux, batch)
            total = total + weights.ptc * parts["ptc"]
        if weights.ctc > 0:
            parts["ctc"] = self._ctc(images, output, aux, batch, rng)
            total = total + weights.ctc * parts["ctc"] * (progress >= weights.contrast_start)
        if decoded is not None:
            parts |= self._decoder_losses(decoded, cam, batch)
            total = total + weights.segmentation * parts["seg"]
            if weights.energy > 0:
                total = total + weights.energy * parts["energy"]
        return Losses(total, parts)

    def _soft_label_losses(self, output: Classified, batch: Batch, progress: float) -> dict[str, Tensor]:
        """Return the losses of decoder, PTC and CAMs with the batch's soft labels as targets."""
        soft = self.config.soft_labels
        targets = batch.targets.float() / 255.0
        decoded = self.network.decoder(output.patches)
        small = F.adaptive_avg_pool2d(targets, (output.patches.shape[2], output.patches.shape[3]))
        best, labels = small.max(dim=1)
        labels = labels.masked_fill(best < PTC_CERTAINTY, IGNORE)
        parts = {
            "ptc": patch_token_contrast(output.patches, labels),
            "seg": soft_segmentation_loss(
                resize(decoded.float(), targets.shape[-2:]),
                targets,
                batch.tags,
                batch.known,
                least=soft.least,
                own=soft.own if progress >= soft.own_start else 0.0,
            ),
        }
        if self.config.loss.cam > 0:
            parts["cam"] = soft_cam_loss(output.cam, small, batch.tags, least=soft.least)
        return parts

    def _trains_decoder(self, progress: float) -> bool:
        weights = self.config.loss
        return (weights.segmentation > 0 or weights.energy > 0) and progress >= weights.segmentation_start

    def _ptc(self, output: Classified, aux: Tensor, batch: Batch) -> Tensor:
        grid = output.cam.shape[-2:]
        small = resize(aux, grid)
        patch = self.network.encoder.patch_size
        boxes = torch.div(batch.box + patch // 2, patch, rounding_mode="floor")
        labels = label_with_ignore(small, batch.tags, thresholds=self.config.thresholds, boxes=boxes)
        return patch_token_contrast(output.patches, labels)

    def _ctc(self, images: Tensor, output: Classified, aux: Tensor, batch: Batch, rng: np.random.Generator) -> Tensor:
        best = gate(aux, batch.tags).amax(dim=1, keepdim=True)
        regions = region_mask(resize(best, images.shape[-2:])[:, 0], thresholds=self.config.thresholds)
        if batch.views.shape[1]:
            views = [normalise_images(batch.views[:, k], IMAGENET_MEAN, IMAGENET_STD) for k in range(3)]
            crops, flags = local_crops(views[2], regions, self.config.contrast, rng)
            global_tokens = torch.cat([self.encode(view).class_token for view in views[:2]])
        else:
            crops, flags = local_crops(images, regions, self.config.contrast, rng)
            global_tokens = output.class_token
        local_tokens = self.encode(crops).class_token
        student = self.contrast.student(torch.cat([global_tokens, local_tokens]))
        with torch.no_grad():
            teacher = self.contrast.teacher(global_tokens)
        views_count = global_tokens.shape[0] // images.shape[0]
        return class_token_contrast(student, teacher, with_global_flags(flags, views_count))

    def _decoder_losses(self, logits: Tensor, cam: Tensor, batch: Batch) -> dict[str, Tensor]:
        options = self.config.cam
        size = [side // options.label_downscale for side in batch.image.shape[-2:]]
        boxes = torch.div(batch.box, options.label_downscale, rounding_mode="floor")
        pixels = resize(batch.image.float(), size)
        with torch.no_grad():
            labels = refined_label(
                pixels / 255.0,
                cam,
                batch.tags,
                boxes=boxes,
                thresholds=self.config.thresholds,
                downscale=options.refine_downscale,
            )
        logits = resize(logits.float(), size)
        losses = {"seg": segmentation_loss(logits, labels)}
        if self.config.loss.energy > 0:
            losses["energy"] = dense_energy_loss(pixels, logits, labels, boxes)
        return losses


def parameter_groups(trainee: Trainee, config: TrainConfig) -> list[dict[str, object]]:
    """Split the trained parameters: the encoder at the base rate, heads and decoder at `head_factor` times it.

    The position embedding and the frozen lower blocks are excluded from training.
    """
    encoder = trainee.network.encoder
    vit = encoder.vit
    encoder.positions.requires_grad_(False)
    if config.backbone.frozen_blocks:
        for part in (vit.patch_embed, *vit.blocks[: config.backbone.frozen_blocks]):
            part.requires_grad_(False)
        cast("Tensor", vit.cls_token).requires_grad_(False)
    inside = {id(parameter) for parameter in encoder.parameters()}
    trained = [parameter for parameter in trainee.parameters() if parameter.requires_grad]
    rate = config.schedule.learning_rate
    return [
        {"params": [p for p in trained if id(p) in inside], "lr": rate, "base_lr": rate},
        {
            "params": [p for p in trained if id(p) not in inside],
            "lr": rate * config.schedule.head_factor,
            "base_lr": rate * config.schedule.head_factor,
        },
    ]


def autocast(device: torch.device, dtype: torch.dtype | None) -> contextlib.AbstractContextManager[object]:
    """Return the autocast context of a precision; `None` computes in float32."""
    return contextlib.nullcontext() if dtype is None else torch.autocast(device.type, dtype=dtype)
