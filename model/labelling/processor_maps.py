"""The maps of a photo where it is labelled on a processor by graphs: no torch is loaded. `torch_maps` is its twin."""

from collections.abc import Sequence
from typing import cast

import numpy as np

from toco.model.labelling.schedule import threads_each
from toco.model.labelling.stages import (
    PhotoJob,
    PhotoMaps,
    by_nearness,
    chosen_channels,
    decoder_part,
)
from toco.model.method import array_maps
from toco.model.method.array_maps import Array
from toco.model.method.processor_network import Look, ProcessorNetwork
from toco.model.options import CompleteOptions
from toco.model.spec import ModelSpec


class ProcessorMaps:
    """Makes the maps of photos, one after another.

    Args:
        network: of the spec.
        spec: says sizes and thresholds.
        threads: of the processor for a photo, outside a run that says how many each takes.
    """

    def __init__(self, network: ProcessorNetwork, spec: ModelSpec, *, threads: int) -> None:
        self.network, self.spec, self.threads = network, spec, threads

    def __call__(self, jobs: Sequence[PhotoJob], options: CompleteOptions) -> list[PhotoMaps]:
        """Return the maps of photos."""
        return [self._maps(job, options) for job in jobs]

    def _maps(self, job: PhotoJob, options: CompleteOptions) -> PhotoMaps:
        cam, threads = options.cam, threads_each() or self.threads
        square = (cam.size,) * 2
        size = cast("tuple[int, int]", job.photo.pixels.shape[:2])
        image = self._input(job, square)
        weight = cam.decoder_weight
        cams: list[Array] = []
        beliefs: list[Array] = []
        objects: list[Array] = []
        probabilities: Array | None = None
        tokens = np.zeros((0, 0, 0), np.float16)
        channels: tuple[int, ...] = ()
        # The full scale first: its logits choose the tags of untagged photos.
        for scale in by_nearness(cam.scales):
            looks = [self.network.look(view, threads=threads) for view in array_maps.views(image, scale, flip=cam.flip)]
            if probabilities is None:
                logits = np.mean([self.network.logits(look) for look in looks], axis=0)
                probabilities = np.asarray(1 / (1 + np.exp(-logits)), np.float32)
                tokens = looks[0].patches.reshape(*looks[0].grid, -1).astype(np.float16)
                channels = chosen_channels(job, probabilities, options)
            if not channels:  # a photo of nothing known: background alone
                break
            raws = [self._tagged(look, channels, options, threads) for look in looks]
            cams.append(array_maps.joined_views(raws, square))
            if weight or job.asked.has_open:
                decoded = [self.network.decode(look, threads=threads) for look in looks]
                for kept, maps_of in ((beliefs, array_maps.gated_probabilities), (objects, array_maps.object_maps)):
                    if kept is beliefs or job.asked.has_open:
                        maps = array_maps.mean_of_views([maps_of(logits, channels) for logits in decoded])
                        kept.append(array_maps.resized(maps, square))
        found = array_maps.normalised(_sum(cams)) if cams else np.zeros((0, *size), np.float32)
        seen = np.zeros(0, np.float32) if probabilities is None else probabilities[list(channels)]
        if beliefs:
            part = decoder_part(cam, seen)
            belief = _sum(beliefs) / np.float32(len(beliefs))
            belief /= np.maximum(belief.max(axis=(1, 2), keepdims=True), part.full)
            found += part.shares * (belief - found)
        segmentation, kept_channels = self._segment(job, channels, options, threads)
        return PhotoMaps(
            channels=channels,
            tag_source="user" if job.asked.channels is not None else "model",
            tag_probabilities=seen,
            cams=array_maps.resized(found, size),
            segmentation=segmentation,
            segmentation_channels=kept_channels,
            objects=array_maps.resized(_sum(objects) / np.float32(len(objects)), size) if objects else None,
            tokens=tokens,
        )

    def _input(self, job: PhotoJob, size: tuple[int, ...]) -> Array:
        return array_maps.network_image(job.photo.pixels, self.spec.mean, self.spec.std, size)

    def _tagged(self, look: Look, channels: Sequence[int], options: CompleteOptions, threads: int) -> Array:
        """Return the raw CAMs (K, h, w) of the tagged classes, spread if the options say so."""
        raw = self.network.cams(look, channels, auxiliary=options.cam.auxiliary)
        if options.cam.lift is not None:
            raw = array_maps.lifted(raw, options.cam.lift)
        if options.cam.affinity is not None:
            raw = self.network.spread(np.maximum(raw, 0), look, options.cam.affinity, threads=threads)
        return raw

    def _segment(
        self, job: PhotoJob, channels: tuple[int, ...], options: CompleteOptions, threads: int
    ) -> tuple[Array | None, tuple[int, ...]]:
        """Return (K + 1, h, w) decoder probabilities at the working size, and their classes."""
        settings = options.segmentation
        if settings is None:
            return None, ()
        kept = channels if settings.gate else tuple(range(len(self.spec.classes)))
        size = job.photo.pixels.shape[:2]
        image = self._input(job, size)
        best: Array | None = None
        for scale in settings.scales:
            both = [
                self._decoded(view, kept, size, threads) for view in array_maps.views(image, scale, flip=settings.flip)
            ]
            total = both[0] + both[1][..., ::-1] if settings.flip else both[0]
            best = total if best is None else np.maximum(best, total)
        return None if best is None else array_maps.softmax(best), kept

    def _decoded(self, view: Array, kept: Sequence[int], size: tuple[int, ...], threads: int) -> Array:
        """Return the decoder's logits (K + 1, h, w) of an image, at a size."""
        logits = self.network.decode(self.network.look(view, threads=threads), threads=threads)
        return array_maps.resized(logits[[0, *(channel + 1 for channel in kept)]], size)


def _sum(maps: Sequence[Array]) -> Array:
    total = maps[0].copy()
    for more in maps[1:]:
        total += more
    return total
