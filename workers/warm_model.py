"""Models kept warm in a worker process. torch is imported by what runs on it, and by nothing else here."""

import logging
import sys
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toco.jobs.job import DEFAULT_WORKSPACE, JobRecord
from toco.jobs.model_catalogue import KnownModel, ModelCatalogue, Wishes
from toco.model.errors import TocoError
from toco.model.options import GPU_BATCH_PIXELS, PRESETS, LabelOptions, preset_options
from toco.model.runtimes import AskedRuntime

if TYPE_CHECKING:
    from toco.model.labelling.labeler import Labeler
    from toco.model.learning.learnt_model import LearntModel
    from toco.model.learning.tokens import ModelTokens

logger = logging.getLogger(__name__)

_WARM_UP_SIDE = 64  # pixels; large enough to compile and to touch every kernel
_MOST_LEARNT = 32  # models of learnt words that are kept; each is some kilobytes on an encoder that is loaded once
_WARM_UP_TAGS = 3  # the CRF compiles anew for some numbers of classes


class ModelChanged(TocoError):
    """The weights under a model's name are no longer those that the job was submitted for."""

    code = "model_changed"
    kind = "conflict"


class WarmModels:
    """The loaded models, least recently used first; models of learnt words share the encoder that they stand on.

    Args:
        catalogue: where models come from.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        most: how many stay loaded; learnt words do not count.
        threads, runtime, cache: see `Labeler.from_folder`; 0 threads takes as many as are right here.
    """

    def __init__(
        self,
        catalogue: ModelCatalogue,
        *,
        device: str,
        most: int,
        threads: int = 0,
        runtime: AskedRuntime = "auto",
        cache: Path | None = None,
    ) -> None:
        self._catalogue = catalogue
        self._device = device
        self._threads, self._runtime, self._cache = threads, runtime, cache
        self._most = most
        self._loaded: OrderedDict[str, Labeler] = OrderedDict()  # by `KnownModel.key`
        self._readers: dict[str, ModelTokens] = {}  # of loaded models
        # Learnt words by key and version, with the reader that they stand on; they go with it.
        self._learnt: OrderedDict[str, tuple[ModelTokens, Labeler]] = OrderedDict()
        self._used: dict[str, int] = {}  # number of the newest wish when a loaded model was last used

    def get(self, name: str, version: str = "", workspace: str = DEFAULT_WORKSPACE) -> "Labeler":
        """Return a model, loading it if need be.

        Raises:
            ModelNotFound, ModelBroken, InvalidCheckpoint, InvalidLearntModel, DeviceUnavailable
            VersionNotFound: a published version was deleted.
            ModelChanged: it has another version than the one asked for.
        """
        try:
            known = self._catalogue.find(name, workspace, version=version)
        except TocoError:
            # Its folder is away or being copied anew; what is in memory is what the job was submitted for.
            warm = self._loaded.get(name) or self._loaded.get(f"{workspace}/{name}")
            if warm is None or not version or warm.spec.version != version:
                raise
            return warm
        if version and known.spec.version != version:
            raise ModelChanged(
                f"The job was submitted for {version}, but {known.spec.name!r} is {known.spec.version} now.",
                fix="Submit the job again, or put the old weights back.",
            )
        return self._on_encoder(known) if known.encoder else self._whole(known)

    def of_job(self, job: JobRecord) -> "Labeler":
        """Return what a job is labelled with: its model, or that and what was learnt beside it.

        Raises:
            as `get`.
        """
        labeler = self.get(job.options.model, job.options.model_version, job.workspace)
        learnt = job.learnt
        if learnt is None:
            return labeler
        from toco.model.learning.job import JobLabeler  # noqa: PLC0415 - imports torch: in the worker's child only

        known = self._catalogue.find(learnt.name, job.workspace, version=learnt.version)
        if known.spec.version != learnt.version:
            raise ModelChanged(
                f"The words that the job learnt ({learnt.version}) were deleted.", fix="Submit the job again."
            )
        reader = self.reader(labeler)
        key = f"{known.key}:{learnt.version} beside {labeler.spec.version}"
        return self._kept(key, reader, lambda: JobLabeler(labeler, self._words(known), reader))

    def reader(self, labeler: "Labeler") -> "ModelTokens":
        """Return what reads tokens with a loaded model; all learnt words on it share this one."""
        from toco.model.learning.tokens import ModelTokens  # noqa: PLC0415 - imports torch: in the worker's child only

        key = labeler.spec.version
        reader = self._readers.get(key)
        if reader is None or reader.network is not labeler.network:
            reader = self._readers[key] = ModelTokens(labeler.network, labeler.spec, labeler.device)
        return reader

    def _whole(self, known: KnownModel) -> "Labeler":
        key = known.key
        labeler = self._loaded.get(key)
        if labeler is None or labeler.spec.version != known.spec.version:
            labeler = self._load(known)
        self._loaded.move_to_end(key)
        self._used[key] = self._catalogue.wishes().number
        return labeler

    def _on_encoder(self, known: KnownModel) -> "Labeler":
        """Return learnt words on their encoder, which is loaded once for all."""
        from toco.model.learning.label import LearntLabeler  # noqa: PLC0415 - imports torch: in the worker's child only

        reader = self.reader(self._whole(self._catalogue.encoder_of(known)))
        return self._kept(
            f"{known.key}:{known.spec.version}", reader, lambda: LearntLabeler(reader, self._words(known))
        )

    def _words(self, known: KnownModel) -> "LearntModel":
        from toco.model.learning.learnt_model import load_learnt_model  # noqa: PLC0415 - imports torch

        return load_learnt_model(self._catalogue.folder_of(known))

    def _kept(self, key: str, reader: "ModelTokens", make: Callable[[], "Labeler"]) -> "Labeler":
        """Return a labeler of learnt words, made anew unless it is there and stands on this very reader."""
        if key not in self._learnt or self._learnt[key][0] is not reader:
            self._learnt[key] = (reader, make())
        self._learnt.move_to_end(key)
        while len(self._learnt) > _MOST_LEARNT:
            self._learnt.popitem(last=False)
        return self._learnt[key][1]

    def sync(self) -> None:
        """Load and unload what the API asks for."""
        used = {name: self._used[name] for name in self._loaded}
        drop, load = warm_plan(used, self._catalogue.wishes(), most=self._most)
        for name in drop:
            self._drop(name)
        for key in load:
            workspace, _, name = key.rpartition("/")
            try:
                self.get(name, workspace=workspace or DEFAULT_WORKSPACE)
            except TocoError:
                logger.exception("model cannot be loaded", extra={"model": key})

    def names(self) -> list[str]:
        """Return the loaded models, those of a workspace as `workspace/name`."""
        return list(self._loaded)

    def device_name(self) -> str:
        """Return what the loaded models run on, or an empty text."""
        return next((labeler.device.name for labeler in self._loaded.copy().values()), "")

    def batch_images(self) -> dict[str, int]:
        """Return how many photos go through the device at once with the usual options, by model."""
        usual = PRESETS["balanced"]
        return {name: labeler.batch_size(usual) for name, labeler in self._loaded.copy().items()}

    def device_memory(self) -> dict[str, int]:
        """Return bytes allocated and reserved on the device; empty on a CPU."""
        if all(labeler.device.kind != "cuda" for labeler in self._loaded.copy().values()):
            return {}
        import torch  # noqa: PLC0415 - loaded already where a model runs on it, never before

        return {"allocated": torch.cuda.memory_allocated(), "reserved": torch.cuda.memory_reserved()}

    def _load(self, known: KnownModel) -> "Labeler":
        from toco.model.labelling.labeler import (  # noqa: PLC0415 - slow to import: in the worker's child only
            Labeler,
            LabelRequest,
        )

        key, folder = known.key, self._catalogue.folder_of(known)
        if key in self._loaded:
            self._drop(key)
        while len(self._loaded) >= self._most:
            self._drop(next(iter(self._loaded)))
        started = time.perf_counter()
        labeler = Labeler.from_folder(
            folder,
            device=self._device,
            threads=self._threads or None,
            runtime=self._runtime,
            cache=self._cache,
        )
        self._loaded[key] = labeler
        pixels = np.zeros((_WARM_UP_SIDE, _WARM_UP_SIDE, 3), np.uint8)
        names = known.spec.vocabulary.names
        labeler.label_one(pixels, names[:1])  # alone, as a request does
        together = [LabelRequest(pixels, names[:count]) for count in range(1, _WARM_UP_TAGS + 1)]
        deque(labeler.label(together, preset_options("balanced", cam={"size": _WARM_UP_SIDE})), maxlen=0)
        logger.info("model loaded", extra={"model": key, "seconds": round(time.perf_counter() - started, 3)})
        return labeler

    def _drop(self, key: str) -> None:
        """Let go of a model, and of what stands on its encoder."""
        labeler = self._loaded.pop(key)
        logger.info("model unloaded", extra={"model": key})
        reader = self._readers.pop(labeler.spec.version, None)
        for name in [name for name, (stands_on, _) in self._learnt.items() if stands_on is reader]:
            del self._learnt[name]


def warm_plan(used: Mapping[str, int], wishes: Wishes, *, most: int) -> tuple[list[str], list[str]]:
    """Return which models to unload, and which to load.

    A wish is heeded once. Whoever uses a model after it was to go keeps it; what was used after another was wanted
    need not make way for it. So nothing is loaded again and again.

    Args:
        used: loaded models, least recently used first, by the number of the newest wish when they were last used.
        wishes: of people.
        most: how many models there is room for.
    """
    drop = [name for name, last in used.items() if wishes.cold.get(name, 0) > last]
    kept = [name for name in used if name not in drop]
    load: list[str] = []
    for name in sorted(wishes.warm.keys() - set(kept), key=lambda name: -wishes.warm[name]):
        if len(kept) + len(load) >= most:
            idle = [other for other in kept if other not in wishes.warm and used[other] < wishes.warm[name]]
            if not idle:
                continue
            kept.remove(idle[0])
            drop.append(idle[0])
        load.append(name)
    return drop, load


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether the device ran out of memory."""
    torch = sys.modules.get("torch")  # loaded already where this can happen
    return torch is not None and isinstance(error, torch.OutOfMemoryError)


def halved(options: LabelOptions, used: int) -> LabelOptions | None:
    """Return options whose batches hold half the pixels, or None if a batch was a single image already.

    Args:
        options: those that were too much.
        used: images a batch under them.
    """
    if used <= 1:
        return None
    changes: dict[str, Any] = {"batch_pixels": max(64 * 64, (options.batch_pixels or GPU_BATCH_PIXELS) // 2)}
    return options.model_copy(update=changes)
