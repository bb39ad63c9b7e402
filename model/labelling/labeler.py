"""The facade: photos with tags in, labels out; `schedule` says what is done at once."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from toco.model.cost import photos_at_once
from toco.model.crf.backend import CrfBackend
from toco.model.crf.choice import crf_backend
from toco.model.errors import TocoError
from toco.model.formats.mask_files import of_arrays
from toco.model.labelling.asked_tags import asked_tags
from toco.model.labelling.schedule import in_batches, side_by_side
from toco.model.labelling.sources import Source, load_source, to_size
from toco.model.labelling.stages import PhotoJob, PhotoMaps
from toco.model.method.device import Device, choose_device
from toco.model.method.label import Label
from toco.model.method.mask_merge import ForeignMask, merge_into_label
from toco.model.method.open_pixels import leave_open, unclaimed
from toco.model.method.pseudo_mask import crf_pseudo_mask, threshold_pseudo_mask
from toco.model.method.segmentation_map import segmentation_map
from toco.model.options import GPU_BATCH_PIXELS, LabelOptions, preset_options
from toco.model.photos.classes import IGNORE
from toco.model.photos.tag_check import UnknownTags
from toco.model.photos.understanding import NO_MAPPING, Mapped
from toco.model.runtimes import AskedRuntime, RuntimeName, cache_folder, choose_runtime, runtime_for
from toco.model.spec import DEFAULT_MODEL, ModelSpec
from toco.model.threads import threads as all_threads
from toco.model.weights_io.network_loading import FolderNetworks, GivenNetwork, Networks

if TYPE_CHECKING:
    from toco.model.method.network import ToCoNetwork


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
        network: a torch module, or the network of a model folder.
        spec: of the network.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`, or as chosen by `choose_device`.
        crf: name of the dense CRF; see `crf.backend.crf_backend`.
        threads: of the processor; None takes what `threads.threads` says.
        runtime: what the encoder of `network` runs on.
    """

    def __init__(
        self,
        network: "ToCoNetwork | FolderNetworks",
        spec: ModelSpec,
        *,
        device: str | Device = "auto",
        crf: str = "auto",
        threads: int | None = None,
        runtime: RuntimeName = "torch",
    ) -> None:
        self.spec = spec
        self.vocabulary = spec.vocabulary
        self.device: Device = device if isinstance(device, Device) else choose_device(device)
        self._networks: Networks = (
            network if isinstance(network, FolderNetworks) else GivenNetwork(network, self.device)
        )
        self.crf: CrfBackend = crf_backend(crf)
        self.threads = threads or all_threads()
        self.runtime: RuntimeName = runtime

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
        place = choose_device(device)
        networks = FolderNetworks(
            folder or DEFAULT_MODEL, place, cache=cache or cache_folder(), threads=threads or all_threads()
        )
        chosen = choose_runtime(runtime, place.kind)
        if networks.on_processor(chosen) is None:
            chosen = "torch"
            networks.on_torch(chosen)
        return cls(networks, networks.spec, device=place, crf=crf, threads=threads, runtime=chosen)

    @cached_property
    def network(self) -> "ToCoNetwork":
        """The network as a torch module; its encoder runs on `runtime`. Loads torch."""
        return self._networks.on_torch(self.runtime)

    def network_for(self, options: LabelOptions) -> "ToCoNetwork":
        """Return the network that labels with some options as a torch module; see `runtimes.runtime_for`."""
        return self._networks.on_torch(runtime_for(options, self.runtime))

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
        if self.device.kind == "cpu" and size == 1:
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
            if self.device.kind == "cpu":
                return 1
            pixels = GPU_BATCH_PIXELS
        largest = int(max(options.cam.scales) * self.spec.completed(options).cam.size)
        return max(1, pixels // (largest * largest * (2 if options.cam.flip else 1)))

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

    def _run_network(self, jobs: list[PhotoJob], options: LabelOptions) -> list[PhotoMaps]:
        """Run the network on the photos of a batch and bring the tagged maps to the CPU."""
        graphs = self._networks.on_processor(runtime_for(options, self.runtime))
        if graphs is not None:
            from toco.model.labelling.processor_maps import ProcessorMaps  # noqa: PLC0415 - openvino is optional

            return ProcessorMaps(graphs, self.spec, threads=self.threads)(jobs, self.spec.completed(options))
        from toco.model.labelling.torch_maps import TorchMaps  # noqa: PLC0415 - slow; graphs do without

        return TorchMaps(self.network_for(options), self.spec, self.device)(jobs, self.spec.completed(options))

    def _refine(self, job: PhotoJob, maps: PhotoMaps, options: LabelOptions) -> Label:
        """Refine maps, and bring the result to the photo's own size. Uses no torch; see `TorchMaps._finished`."""
        started = time.perf_counter()
        complete = self.spec.completed(options)
        indices = [self.vocabulary.indices[channel] for channel in maps.channels]
        scores, values = maps.cams, indices
        if maps.objects is not None:  # whatever else is there takes part, and is left open where it wins
            scores, values = np.concatenate([maps.cams, unclaimed(maps.objects)[None]]), [*indices, IGNORE]
        if complete.refine == "crf":
            mask = crf_pseudo_mask(
                job.photo.pixels,
                scores,
                values,
                backend=self.crf,
                thresholds=complete.thresholds,
                ignore_band=complete.ignore_band,
                settings=complete.crf,
            )
        else:
            mask = threshold_pseudo_mask(
                scores, values, thresholds=complete.thresholds, ignore_band=complete.ignore_band
            )
        if job.asked.has_open:
            mask = leave_open(mask, indices, maps.objects)
        segmentation = None
        if maps.segmentation is not None and complete.segmentation is not None:
            segmentation = segmentation_map(
                job.photo.pixels,
                maps.segmentation,
                [self.vocabulary.indices[channel] for channel in maps.segmentation_channels],
                backend=self.crf,
                settings=complete.segmentation.crf if complete.segmentation.refine == "crf" else None,
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
            complete.masks,
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
            options=complete,
            tokens=maps.tokens,
            masks=counts,
            timings=job.timings,
        )
