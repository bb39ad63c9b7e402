"""The maps of photos as torch computes them, in batches where the device takes them. `processor_maps` is its twin."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from toco.model.labelling.stages import (
    DecoderPart,
    PhotoJob,
    PhotoMaps,
    by_nearness,
    chosen_channels,
    decoder_part,
)
from toco.model.method.affinity import spread
from toco.model.method.cams import added, at_size, lifted, normalise_cams, resize, scaled_input, upsample_pair
from toco.model.method.device import Device
from toco.model.method.network import Classified, ToCoNetwork, normalise_images
from toco.model.method.segmentation import gated_probabilities, multi_scale_logits, object_maps, share_of_scale
from toco.model.options import CompleteOptions
from toco.model.spec import ModelSpec


class TorchMaps:
    """Makes the maps of the photos of a batch.

    Args:
        network: of the spec, in evaluation mode, on the device.
        spec: says sizes and thresholds.
        device: where it runs.
    """

    def __init__(self, network: ToCoNetwork, spec: ModelSpec, device: Device) -> None:
        self.network, self.spec, self.device = network, spec, device

    @torch.inference_mode()
    def __call__(self, jobs: Sequence[PhotoJob], options: CompleteOptions) -> list[PhotoMaps]:
        """Return the maps of the photos of a batch, on the CPU."""
        cam = options.cam
        dtype = self.device.dtype if options.precision == "auto" else None
        network = self.network
        square = (cam.size,) * 2
        images = torch.cat([self._network_input(job.photo.pixels, square) for job in jobs])
        with torch.autocast(self.device.kind, dtype=dtype, enabled=dtype is not None):
            sums: list[Tensor | None] = [None] * len(jobs)
            beliefs: list[Tensor | None] = [None] * len(jobs)
            objects: list[Tensor | None] = [None] * len(jobs)
            probabilities: Tensor | None = None
            tokens: npt.NDArray[np.float16] = np.zeros((0, 0, 0, 0), np.float16)
            channels: list[tuple[int, ...]] = []
            # The full scale first: its logits choose the tags of untagged photos.
            for scale in by_nearness(cam.scales):
                found = self._classify(scaled_input(images, scale, flip=cam.flip))
                decodes = cam.decoder_weight or any(job.asked.has_open for job in jobs)
                decoded = network.decoder(found.patches) if decodes else None
                if probabilities is None:
                    logits = found.logits.float()
                    if cam.flip:
                        logits = (logits[: len(jobs)] + logits[len(jobs) :]) / 2
                    probabilities = logits.sigmoid().cpu()
                    tokens = found.patches[: len(jobs)].permute(0, 2, 3, 1).half().cpu().numpy()
                    channels = [
                        chosen_channels(job, row.numpy(), options) for job, row in zip(jobs, probabilities, strict=True)
                    ]
                for position, chosen in enumerate(channels):
                    if not chosen:  # a photo of nothing known: background alone
                        continue
                    picked = [position, position + len(jobs)] if cam.flip else [position]
                    maps = self._tagged(found, picked, chosen, options)
                    sums[position] = added(sums[position], upsample_pair(maps, square, flip=cam.flip))
                    if decoded is not None:
                        belief = gated_probabilities(decoded[picked], chosen)
                        beliefs[position] = added(
                            beliefs[position], share_of_scale(belief, square, scales=len(cam.scales), flip=cam.flip)
                        )
                        if jobs[position].asked.has_open:
                            shown = object_maps(decoded[picked], chosen)
                            objects[position] = added(
                                objects[position], share_of_scale(shown, square, scales=len(cam.scales), flip=cam.flip)
                            )
            segmentations = [self._segment(job, chosen, options) for job, chosen in zip(jobs, channels, strict=True)]
        return [
            PhotoMaps(
                channels=chosen,
                tag_source="user" if job.asked.channels is not None else "model",
                tag_probabilities=row[list(chosen)].numpy(),
                cams=self._finished(job, total, belief, decoder_part(cam, row[list(chosen)].numpy())),
                segmentation=segmentation[0],
                segmentation_channels=segmentation[1],
                objects=self._open_objects(job, found_objects),
                tokens=seen,
            )
            for job, chosen, row, seen, total, belief, found_objects, segmentation in zip(
                jobs,
                channels,
                () if probabilities is None else probabilities,
                tokens,
                sums,
                beliefs,
                objects,
                segmentations,
                strict=True,
            )
        ]

    def _classify(self, images: Tensor) -> Classified:
        """Run encoder and classifiers on (b, 3, H, W) images; on a CPU one at a time.

        A processor gains nothing from a batch, and large buffers cost it: memory that the allocator gives back after
        every layer comes anew page by page.
        """
        parts = torch.split(images, 1) if self.device.kind == "cpu" else (images,)
        found = [self.network.classify(self.network.encoder(part)) for part in parts]
        return Classified(*(torch.cat(maps) for maps in zip(*found, strict=True)))

    def _network_input(self, pixels: npt.NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
        tensor = torch.from_numpy(pixels).to(self.device.device).permute(2, 0, 1)[None]
        return resize(normalise_images(tensor, self.spec.mean, self.spec.std), size)

    def _tagged(
        self, found: Classified, rows: list[int], channels: tuple[int, ...], options: CompleteOptions
    ) -> Tensor:
        """Return the raw CAMs (n, K, h, w) of the tagged classes of one photo, spread if the options say so."""
        raw = (found.aux_cam if options.cam.auxiliary else found.cam)[rows][:, list(channels)].float()
        if options.cam.lift is not None:
            raw = lifted(raw, options.cam.lift)
        if options.cam.affinity is not None:
            raw = spread(raw.clamp_min(0.0), found.aux_patches[rows], options.cam.affinity)
        return raw

    def _finished(
        self,
        job: PhotoJob,
        summed_cams: Tensor | None,
        belief: Tensor | None,
        part: DecoderPart,
    ) -> npt.NDArray[np.float32]:
        """Return the maps (K, h, w) of a photo at its working size.

        Done here, not where they are refined: torch's operations on further threads slow down those of the network.
        """
        size = job.photo.pixels.shape[:2]
        if summed_cams is None:
            return np.zeros((0, *size), np.float32)
        return at_size(self._mixed(summed_cams, belief, part), size)

    def _open_objects(self, job: PhotoJob, objects: Tensor | None) -> npt.NDArray[np.float32] | None:
        """Return what the decoder sees (see `object_maps`) at a photo's working size, where a word is left open."""
        return at_size(objects, job.photo.pixels.shape[:2]) if job.asked.has_open and objects is not None else None

    def _mixed(self, summed_cams: Tensor, belief: Tensor | None, part: DecoderPart) -> Tensor:
        """Return the maps (1, K, S, S) in 0..1 that labels are made of.

        Args:
            summed_cams: (1, K, S, S) over the scales, 0 or more.
            belief: (1, K, S, S) in 0..1 of the decoder; None where it has no share.
            part: that it has in them.
        """
        if belief is None:
            return normalise_cams(summed_cams)
        shares, full = (torch.from_numpy(each).to(summed_cams) for each in part)
        belief = belief / torch.maximum(belief.amax(dim=(-2, -1), keepdim=True), full)
        return self._joined(summed_cams, belief, shares)

    def _joined(self, summed_cams: Tensor, belief: Tensor, shares: Tensor) -> Tensor:
        """Return the maps as `_mixed` does, of the decoder's scaled belief and its shares (K, 1, 1)."""
        return normalise_cams(summed_cams).lerp(belief, shares)

    def _segment(
        self, job: PhotoJob, channels: tuple[int, ...], options: CompleteOptions
    ) -> tuple[npt.NDArray[np.float32] | None, tuple[int, ...]]:
        """Return (K + 1, h, w) decoder probabilities of one photo at its working size, and their classes."""
        settings = options.segmentation
        if settings is None:
            return None, ()
        kept = channels if settings.gate else tuple(range(len(self.spec.classes)))
        height, width = job.photo.pixels.shape[:2]
        logits = multi_scale_logits(
            lambda images: self.network.decoder(self._classify(images).patches),
            self._network_input(job.photo.pixels, (height, width)),
            channels=(0, *(channel + 1 for channel in kept)),
            scales=settings.scales,
            flip=settings.flip,
        )
        return logits[0].softmax(dim=0).cpu().numpy(), kept
