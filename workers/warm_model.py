"""Models kept warm in a worker process. torch is imported here, when the first model is loaded, and nowhere above."""

import logging
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from toco.jobs.model_catalogue import ModelCatalogue, Wishes
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
        self._used: dict[str, int] = {}  # number of the newest wish when a loaded model was last used

    def get(self, name: str, version: str = "") -> "Labeler":
        """Return a model, loading it if need be.

        Raises:
            ModelNotFound, ModelBroken, InvalidCheckpoint, DeviceUnavailable
            ModelChanged: it has another version than the one asked for.
        """
        try:
            known = self._catalogue.find(name)
        except TocoError:
            # Its folder is away or being copied anew; what is in memory is what the job was submitted for.
            warm = self._loaded.get(name)
            if warm is None or not version or warm.spec.version != version:
                raise
            return warm
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
        self._used[name] = self._catalogue.wishes().number
        return labeler

    def sync(self) -> None:
        """Load and unload what the API asks for."""
        used = {name: self._used[name] for name in self._loaded}
        drop, load = warm_plan(used, self._catalogue.wishes(), most=self._most)
        for name in drop:
            self._drop(name)
        for name in load:
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
            self._drop(next(iter(self._loaded)))
        started = time.perf_counter()
        labeler = Labeler.from_folder(known.folder, device=self._device)
        self._loaded[name] = labeler
        pixels = np.zeros((_WARM_UP_SIDE, _WARM_UP_SIDE, 3), np.uint8)
        for count in range(1, _WARM_UP_TAGS + 1):
            labeler.label_one(pixels, known.spec.vocabulary.names[:count])
        logger.info("model loaded", extra={"model": name, "seconds": round(time.perf_counter() - started, 3)})
        return labeler

    def _drop(self, name: str) -> None:
        del self._loaded[name]
        logger.info("model unloaded", extra={"model": name})


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
