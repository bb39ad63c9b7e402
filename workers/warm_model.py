"""Models kept warm in a worker process. torch is imported here, when the first model is loaded, and nowhere above."""

import logging
import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import numpy as np

from toco.jobs.model_catalogue import ModelCatalogue
from toco.model.errors import TocoError
from toco.model.options import GPU_BATCH_PIXELS, PRESETS, LabelOptions

if TYPE_CHECKING:
    from toco.model.labelling.labeler import Labeler

logger = logging.getLogger(__name__)

_WARM_UP_SIDE = 64  # pixels; large enough to compile and to touch every kernel
_WARM_UP_TAGS = 3  # the CRF compiles anew for some numbers of classes


class ModelChanged(TocoError):
    """The weights under a model's name are no longer those that the job was submitted for."""

    code = "model_changed"
    kind = "conflict"


class WarmModels:
    """The loaded models, least recently used first.

    Args:
        catalogue: where models come from.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        most: how many stay loaded.
    """

    def __init__(self, catalogue: ModelCatalogue, *, device: str, most: int) -> None:
        self._catalogue = catalogue
        self._device = device
        self._most = most
        self._loaded: OrderedDict[str, Labeler] = OrderedDict()

    def get(self, name: str, version: str = "") -> "Labeler":
        """Return a model, loading it if need be.

        Raises:
            ModelNotFound, InvalidCheckpoint, DeviceUnavailable
            ModelChanged: it has another version than the one asked for.
        """
        known = self._catalogue.find(name)
        name = known.spec.name
        if version and known.spec.version != version:
            raise ModelChanged(
                f"The job was submitted for {version}, but {name!r} is {known.spec.version} now.",
                fix="Submit the job again, or put the old weights back.",
            )
        labeler = self._loaded.get(name)
        if labeler is None or labeler.spec.version != known.spec.version:
            labeler = self._load(name)
        self._loaded.move_to_end(name)
        return labeler

    def sync(self) -> None:
        """Load and unload what the API asks for."""
        for name in self._catalogue.unwanted() & self._loaded.keys():
            del self._loaded[name]
            logger.info("model unloaded", extra={"model": name})
        for name in sorted(self._catalogue.wanted() - self._loaded.keys())[: self._most]:
            try:
                self.get(name)
            except TocoError:
                logger.exception("model cannot be loaded", extra={"model": name})

    def names(self) -> list[str]:
        """Return the loaded models."""
        return list(self._loaded)

    def device_name(self) -> str:
        """Return what the loaded models run on, or an empty text."""
        return next((str(labeler.device.device) for labeler in self._loaded.copy().values()), "")

    def batch_images(self) -> dict[str, int]:
        """Return how many photos go through the device at once with the usual options, by model."""
        usual = PRESETS["balanced"]
        return {name: labeler.batch_size(usual) for name, labeler in self._loaded.copy().items()}

    def device_memory(self) -> dict[str, int]:
        """Return bytes allocated and reserved on the device; empty on a CPU."""
        if not self._loaded:
            return {}
        import torch  # noqa: PLC0415 - loaded with the first model, never before

        if not torch.cuda.is_available():
            return {}
        return {"allocated": torch.cuda.memory_allocated(), "reserved": torch.cuda.memory_reserved()}

    def _load(self, name: str) -> "Labeler":
        from toco.model.labelling.labeler import Labeler  # noqa: PLC0415 - imports torch: in the worker's child only

        known = self._catalogue.find(name)
        self._loaded.pop(name, None)
        while len(self._loaded) >= self._most:
            dropped, _ = self._loaded.popitem(last=False)
            logger.info("model unloaded", extra={"model": dropped})
        started = time.perf_counter()
        labeler = Labeler.from_folder(known.folder, device=self._device)
        self._loaded[name] = labeler
        pixels = np.zeros((_WARM_UP_SIDE, _WARM_UP_SIDE, 3), np.uint8)
        for count in range(1, _WARM_UP_TAGS + 1):
            labeler.label_one(pixels, known.spec.vocabulary.names[:count])
        logger.info("model loaded", extra={"model": name, "seconds": round(time.perf_counter() - started, 3)})
        return labeler


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether the device ran out of memory."""
    import torch  # noqa: PLC0415 - loaded already where this can happen

    return isinstance(error, torch.OutOfMemoryError)


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
