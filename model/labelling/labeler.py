"""The facade: photos with tags in, labels out; `schedule` says what is done at once."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from toco.model.cost import photos_at_once
from toco.model.crf.backend import CrfBackend
from toco.model.crf.choice import crf_backend
from toco.model.errors import TocoError
from toco.model.formats.mask_files import of_arrays
from toco.model.labelling.asked_tags import asked_tags
from toco.model.labelling.schedule import in_batches, side_by_side
from toco.model.labelling.sources import Source, load_source, to_size
from toco.model.labelling.stages import PhotoJob, PhotoMaps
from toco.model.method.affinity import spread
from toco.model.method.cams import added, at_size, lifted, normalise_cams, resize, scaled_input, upsample_pair
from toco.model.method.device import Device, choose_device
from toco.model.method.label import Label
from toco.model.method.mask_merge import ForeignMask, merge_into_label
from toco.model.method.network import Classified, ToCoNetwork, normalise_images
from toco.model.method.open_pixels import leave_open, unclaimed
from toco.model.method.pseudo_mask import crf_pseudo_mask, threshold_pseudo_mask
from toco.model.method.segmentation import (
    gated_probabilities,
    multi_scale_logits,
    object_maps,
    segmentation_map,
    share_of_scale,
)
from toco.model.options import GPU_BATCH_PIXELS, LabelOptions, preset_options
from toco.model.photos.classes import IGNORE
from toco.model.photos.tag_check import UnknownTags
from toco.model.photos.understanding import NO_MAPPING, Mapped
from toco.model.runtimes import AskedRuntime, RuntimeName, cache_folder, choose_runtime, runtime_for
from toco.model.spec import DEFAULT_MODEL, ModelSpec
from toco.model.threads import threads as all_threads
from toco.model.weights_io.network_loading import load_network


@dataclass(frozen=True, slots=True)
class LabelRequest:
    """One photo to label.

    Attributes:
        source: file, its bytes, what opens it (called by the threads that decode), or (H, W, 3) uint8 RGB pixels.
        tags: any words; empty for a photo of nothing known; None lets the classifier choose.
        name: how to call the photo in reports.
        unknown_tags: what is done about words that are not understood; nothing is learnt here.
        mapping: the user's own words; see `mapping.fold_mapping`.
        masks: gives masks without classes of a photo of (H, W) pixels, upright; called by the threads that decode.
    """

    source: Source
    tags: Sequence[str] | None
    name: str = ""
    unknown_tags: UnknownTags = "open"
    mapping: Mapped = field(default_factory=dict)
    masks: Callable[[tuple[int, int]], Sequence[ForeignMask]] | None = None


class Labeler:
    """Labels photos with one model.

    Args:
        network: in evaluation mode.
        spec: of the network.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        crf: name of the dense CRF; see `crf.backend.crf_backend`.
        threads: of the processor; None takes what `threads.threads` says.
        runtime: what the encoder of `network` runs on.
        load: gives the same network on another runtime; None labels everything with `network`.
    """

    def __init__(
        self,
        network: ToCoNetwork,
        spec: ModelSpec,
        *,
        device: str = "auto",
        crf: str = "auto",
        threads: int | None = None,
        runtime: RuntimeName = "torch",
        load: Callable[[RuntimeName], ToCoNetwork] | None = None,
    ) -> None:
        self.spec = spec
        self.vocabulary = spec.vocabulary
        self.device: Device = choose_device(device)
        self.network = network.eval().to(self.device.device)
        self.crf: CrfBackend = crf_backend(crf)
        self.threads = threads or all_threads()
        self.runtime: RuntimeName = runtime
        self._load = load
        self._others: dict[RuntimeName, ToCoNetwork] = {}
        self._loading = threading.Lock()

    @classmethod
    def from_folder(
        cls,
        folder: Path | None = None,
        *,
        device: str = "auto",
        crf: str = "auto",
        threads: int | None = None,
        runtime: AskedRuntime = "auto",
        cache: Path | None = None,
    ) -> "Labeler":
        """Load a model folder; None takes the default model that comes with the package.

        Args:
            folder: of the model.
            device: see the class.
            crf: likewise.
            threads: likewise.
            runtime: what the encoder runs on; see `runtimes.choose_runtime`.
            cache: where exported encoders are kept; None takes `runtimes.cache_folder`.

        Raises:
            InvalidCheckpoint: the folder does not fit.
            DeviceUnavailable: the device is not there.
        """
        folder = folder or DEFAULT_MODEL
        place = choose_device(device)

        def on(name: RuntimeName) -> tuple[ToCoNetwork, ModelSpec, RuntimeName]:
            return load_network(
                folder,
                name,
                cache=cache or cache_folder(),
                dtype=place.dtype,
                threads=threads or all_threads(),
            )

        network, spec, found = on(choose_runtime(runtime, place.device.type))
        return cls(network, spec, device=device, crf=crf, threads=threads, runtime=found, load=lambda name: on(name)[0])

    def network_for(self, options: LabelOptions) -> ToCoNetwork:
        """Return the network that labels with some options; see `runtimes.runtime_for`."""
        wanted = runtime_for(options, self.runtime)
        if self._load is None or wanted == self.runtime:
            return self.network
        with self._loading:
            if wanted not in self._others:
                self._others[wanted] = self._load(wanted).eval()
            return self._others[wanted]

    def label_one(
        self,
        source: Source,
        tags: Sequence[str] | None = None,
        options: LabelOptions | None = None,
        *,
        mapping: Mapped = NO_MAPPING,
        masks: Sequence[npt.NDArray[np.bool_]] = (),
    ) -> Label:
        """Label one photo.

        Args:
            source: see `LabelRequest`.
            tags: likewise.
            options: see `label`.
            mapping: see `LabelRequest`.
            masks: (H, W) bool, masks without classes of the upright photo, merged as `options.masks` says.

        Raises:
            TocoError: what is wrong with the photo, its tags or its masks.
        """
        given = partial(of_arrays, masks) if len(masks) else None
        ((_, result),) = self.label([LabelRequest(source, tags, mapping=mapping, masks=given)], options)
        if isinstance(result, TocoError):
            raise result
        return result

    def label(
        self,
        requests: Iterable[LabelRequest],
        options: LabelOptions | None = None,
        *,
        stop: Callable[[], bool] = lambda: False,
    ) -> Iterator[tuple[LabelRequest, Label | TocoError]]:
        """Label many photos; results come in the order of the requests, an error in the place of its photo.

        Args:
            requests: consumed as results are taken.
            options: settings; None takes the `balanced` preset.
            stop: asked before every batch but the first; once it says so, photos that the device has not begun get no
                result, and no more requests are taken.
        """
        options = options or preset_options("balanced")
        decode = partial(self._decode, options=options)
        size = self.batch_size(options)
        if self.device.device.type == "cpu" and size == 1:
            most = photos_at_once(self.spec, options)
            whole = partial(self._label_decoded, options=options)
            yield from side_by_side(requests, decode, whole, threads=self.threads, most=most, stop=stop)
        else:
            run = partial(self._run_batch, options=options)
            yield from in_batches(requests, decode, run, threads=self.threads, size=size, stop=stop)

    def batch_size(self, options: LabelOptions) -> int:
        """Return how many photos go through the device at once; see `LabelOptions.batch_pixels`."""
        pixels = options.batch_pixels
        if pixels is None:
            if self.device.device.type == "cpu":
                return 1
            pixels = GPU_BATCH_PIXELS
        largest = int(max(options.cam.scales) * self._cam_size(options))
        return max(1, pixels // (largest * largest * (2 if options.cam.flip else 1)))

    def _decoder_weight(self, options: LabelOptions) -> float:
        weight = options.cam.decoder_weight
        return self.spec.decoder_weight if weight is None else weight

    def _cam_size(self, options: LabelOptions) -> int:
        return options.cam.size or self.spec.input_size

    def _decode(self, request: LabelRequest, options: LabelOptions) -> PhotoJob:
        started = time.perf_counter()
        asked = asked_tags(request.tags, self.vocabulary, policy=request.unknown_tags, mapping=request.mapping)
        photo = load_source(request.source, options.long_side)
        masks = request.masks(photo.original_size) if request.masks else ()
        return PhotoJob(photo, asked, {"decode": time.perf_counter() - started}, masks)

    def _run_batch(self, jobs: list[PhotoJob], options: LabelOptions) -> list[Callable[[], Label]]:
        """Run the network on the photos of a batch; return what is left to do for each."""
        started = time.perf_counter()
        maps = self._run_network(jobs, options) if jobs else []
        seconds = time.perf_counter() - started
        for job in jobs:
            job.timings["network"] = seconds / len(jobs)
        return [partial(self._refine, job, found, options) for job, found in zip(jobs, maps, strict=True)]

    def _label_decoded(self, job: PhotoJob, options: LabelOptions) -> Label:
        (refine,) = self._run_batch([job], options)
        return refine()

    @torch.inference_mode()
    def _run_network(self, jobs: list[PhotoJob], options: LabelOptions) -> list[PhotoMaps]:
        """Run the network on the photos of a batch and bring the tagged maps to the CPU."""
        device, cam = self.device.device, options.cam
        dtype = self.device.dtype if options.precision == "auto" else None
        network = self.network_for(options)
        square = (self._cam_size(options),) * 2
        images = torch.cat([self._network_input(job.photo.pixels, square) for job in jobs])
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            sums: list[Tensor | None] = [None] * len(jobs)
            beliefs: list[Tensor | None] = [None] * len(jobs)
            objects: list[Tensor | None] = [None] * len(jobs)
            probabilities: Tensor | None = None
            tokens: npt.NDArray[np.float16] = np.zeros((0, 0, 0, 0), np.float16)
            channels: list[tuple[int, ...]] = []
            # The full scale first: its logits choose the tags of untagged photos.
            for scale in sorted(cam.scales, key=lambda value: abs(value - 1.0)):
                found = self._classify(network, scaled_input(images, scale, flip=cam.flip))
                decodes = self._decoder_weight(options) or any(job.asked.has_open for job in jobs)
                decoded = network.decoder(found.patches) if decodes else None
                if probabilities is None:
                    logits = found.logits.float()
                    if cam.flip:
                        logits = (logits[: len(jobs)] + logits[len(jobs) :]) / 2
                    probabilities = logits.sigmoid().cpu()
                    tokens = found.patches[: len(jobs)].permute(0, 2, 3, 1).half().cpu().numpy()
                    channels = [self._chosen(job, row, options) for job, row in zip(jobs, probabilities, strict=True)]
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
            segmentations = [
                self._segment(network, job, chosen, options) for job, chosen in zip(jobs, channels, strict=True)
            ]
        return [
            PhotoMaps(
                channels=chosen,
                tag_source="user" if job.asked.channels is not None else "model",
                tag_probabilities=row[list(chosen)].numpy(),
                cams=self._finished(job, total, belief, options),
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

    def _classify(self, network: ToCoNetwork, images: Tensor) -> Classified:
        """Run encoder and classifiers on (b, 3, H, W) images; on a CPU one at a time.

        A processor gains nothing from a batch, and large buffers cost it: memory that the allocator gives back after
        every layer comes anew page by page.
        """
        parts = torch.split(images, 1) if self.device.device.type == "cpu" else (images,)
        found = [network.classify(network.encoder(part)) for part in parts]
        return Classified(*(torch.cat(maps) for maps in zip(*found, strict=True)))

    def _network_input(self, pixels: npt.NDArray[np.uint8], size: tuple[int, int]) -> Tensor:
        tensor = torch.from_numpy(pixels).to(self.device.device).permute(2, 0, 1)[None]
        return resize(normalise_images(tensor, self.spec.mean, self.spec.std), size)

    def _chosen(self, job: PhotoJob, probabilities: Tensor, options: LabelOptions) -> tuple[int, ...]:
        if job.asked.channels is not None:
            return job.asked.channels
        return tuple(torch.nonzero(probabilities >= options.tag_threshold).flatten().tolist())

    def _tagged(self, found: Classified, rows: list[int], channels: tuple[int, ...], options: LabelOptions) -> Tensor:
        """Return the raw CAMs (n, K, h, w) of the tagged classes of one photo, spread if the options say so."""
        raw = (found.aux_cam if options.cam.auxiliary else found.cam)[rows][:, list(channels)].float()
        if options.cam.lift is not None:
            raw = lifted(raw, options.cam.lift)
        if options.cam.affinity is not None:
            raw = spread(raw.clamp_min(0.0), found.aux_patches[rows], options.cam.affinity)
        return raw

    def _finished(
        self, job: PhotoJob, summed_cams: Tensor | None, belief: Tensor | None, options: LabelOptions
    ) -> npt.NDArray[np.float32]:
        """Return the maps (K, h, w) of a photo at its working size.

        Done here, not where they are refined: torch's operations on further threads slow down those of the network.
        """
        size = job.photo.pixels.shape[:2]
        if summed_cams is None:
            return np.zeros((0, *size), np.float32)
        return at_size(self._mixed(summed_cams, belief, options), size)

    def _open_objects(self, job: PhotoJob, objects: Tensor | None) -> npt.NDArray[np.float32] | None:
        """Return what the decoder sees (see `object_maps`) at a photo's working size, where a word is left open."""
        return at_size(objects, job.photo.pixels.shape[:2]) if job.asked.has_open and objects is not None else None

    def _mixed(self, summed_cams: Tensor, belief: Tensor | None, options: LabelOptions) -> Tensor:
        """Return the maps (1, K, S, S) in 0..1 that labels are made of: the CAMs, and the decoder's share in them."""
        cams = normalise_cams(summed_cams)
        return cams if belief is None else cams.lerp(belief, self._decoder_weight(options))

    def _segment(
        self, network: ToCoNetwork, job: PhotoJob, channels: tuple[int, ...], options: LabelOptions
    ) -> tuple[npt.NDArray[np.float32] | None, tuple[int, ...]]:
        """Return (K + 1, h, w) decoder probabilities of one photo at its working size, and their classes."""
        settings = options.segmentation
        if settings is None:
            return None, ()
        kept = channels if settings.gate else tuple(range(len(self.vocabulary)))
        height, width = job.photo.pixels.shape[:2]
        logits = multi_scale_logits(
            lambda images: network.decoder(self._classify(network, images).patches),
            self._network_input(job.photo.pixels, (height, width)),
            channels=(0, *(channel + 1 for channel in kept)),
            scales=settings.scales,
            flip=settings.flip,
        )
        return logits[0].softmax(dim=0).cpu().numpy(), kept

    def _refine(self, job: PhotoJob, maps: PhotoMaps, options: LabelOptions) -> Label:
        """Refine CAMs, and map the result to the photo's own size. Uses no torch; see `_finished`."""
        started = time.perf_counter()
        indices = [self.vocabulary.indices[channel] for channel in maps.channels]
        thresholds = options.thresholds or self.spec.thresholds
        scores, values = maps.cams, indices
        if maps.objects is not None:  # whatever else is there takes part, and is left open where it wins
            scores, values = np.concatenate([maps.cams, unclaimed(maps.objects)[None]]), [*indices, IGNORE]
        if options.refine == "crf":
            mask = crf_pseudo_mask(
                job.photo.pixels,
                scores,
                values,
                backend=self.crf,
                thresholds=thresholds,
                ignore_band=options.ignore_band,
                settings=options.crf or self.spec.pseudo_mask_crf,
            )
        else:
            mask = threshold_pseudo_mask(scores, values, thresholds=thresholds, ignore_band=options.ignore_band)
        if job.asked.has_open:
            mask = leave_open(mask, indices, maps.objects)
        segmentation = None
        if maps.segmentation is not None and options.segmentation is not None:
            crf = options.segmentation.crf or self.spec.segmentation_crf
            segmentation = segmentation_map(
                job.photo.pixels,
                maps.segmentation,
                [self.vocabulary.indices[channel] for channel in maps.segmentation_channels],
                backend=self.crf,
                settings=crf if options.segmentation.refine == "crf" else None,
            )
            if job.asked.has_open:
                segmentation = leave_open(segmentation, indices, maps.objects)
        job.timings["refine"] = time.perf_counter() - started
        original = job.photo.original_size
        started = time.perf_counter()
        # What a word may own that is left open is not for a mask to take that only covers another's region.
        mask, segmentation, counts = merge_into_label(
            to_size(mask, original),
            None if segmentation is None else to_size(segmentation, original),
            job.masks,
            options.masks,
            covering=not job.asked.has_open,
        )
        job.timings |= {"masks": time.perf_counter() - started} if counts else {}
        return Label(
            vocabulary=self.vocabulary,
            tags=tuple(self.vocabulary.names[channel] for channel in maps.channels),
            tag_source=maps.tag_source,
            words=job.asked.words,
            cams=maps.cams,
            pseudo_mask=mask,
            segmentation=segmentation,
            tag_probabilities=maps.tag_probabilities,
            photo=job.photo,
            tokens=maps.tokens,
            masks=counts,
            timings=job.timings,
        )
