"""The folder of a training on this machine: made, filled with what the training needs, and removed."""

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import numpy as np
import numpy.typing as npt

from toco.jobs.settings import Settings
from toco.jobs.store import training_set_key
from toco.jobs.training import SetPhoto, TrainingRecord, TrainingSet
from toco.model.formats.artifacts import encode_mask
from toco.model.photos.classes import IGNORE, Vocabulary
from toco.model.photos.images import probe_image, read_mask
from toco.model.training.recipes import training_config
from toco.model.training.task_files import (
    MASKS_FOLDER,
    PHOTOS_FOLDER,
    START_FOLDER,
    TASK_FILE,
    TaskPhoto,
    TrainingTask,
)
from toco.workers.process import WorkerProcess
from toco.workers.warm_model import ModelChanged

_FETCHERS: Final = 8  # threads


@contextmanager
def work_folder(settings: Settings, training: str) -> Iterator[Path]:
    """Make a folder for a training, and remove those that dead workers left.

    Args:
        settings: `data_dir` holds the folder.
        training: its id.
    """
    parent = settings.data_dir.expanduser() / "trainings"
    parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        with _locked(parent, wait=True):  # a folder that is new is not locked yet
            for other in parent.iterdir():
                with suppress(OSError), _locked(other):  # nobody holds it
                    shutil.rmtree(other, ignore_errors=True)
            folder = Path(mkdtemp(prefix=f"{training}-", dir=parent))
            stack.enter_context(_locked(folder))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


@contextmanager
def _locked(folder: Path, *, wait: bool = False) -> Iterator[None]:
    """Hold a folder for this process, as long as that lives. Raises OSError if another one holds it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        yield
    finally:
        os.close(descriptor)


def prepare(
    process: WorkerProcess,
    record: TrainingRecord,
    folder: Path,
    *,
    on_photo: Callable[[int], None],
    stop: Callable[[], bool],
) -> None:
    """Bring what a training needs to this machine; see `task_files`.

    Args:
        process: the worker's own.
        record: of the training.
        folder: empty.
        on_photo: called with the number of photos that are here.
        stop: says, between photos, whether to leave it; the folder is not whole then.

    Raises:
        ModelChanged: the model that it starts from is another one by now.
        ModelNotFound, ModelBroken, ObjectNotFound, StorageUnavailable
    """
    store, catalogue, asked = process.store, process.catalogue, record.asked
    known = catalogue.find(asked.start, asked.workspace, version=asked.start_version)
    if known.spec.version != asked.start_version:
        raise ModelChanged(
            f"The training starts from {asked.start_version}, but {asked.start!r} is {known.spec.version} now.",
            fix="Train again, or put the old weights back.",
        )
    (folder / START_FOLDER).symlink_to(catalogue.folder_of(known).resolve(), target_is_directory=True)
    listed = TrainingSet.model_validate_json(store.get(training_set_key(record.id)))
    kept = {number for number, photo in enumerate(listed.photos) if photo.kept}
    config = training_config(
        asked.name,
        known.spec,
        asked.classes,
        asked.settings,
        photos=len(listed.photos) - len(kept),
        checkpoint_minutes=process.settings.training_checkpoint_minutes,
    )
    values = mask_values(listed, config.vocabulary)
    for name in (PHOTOS_FOLDER, MASKS_FOLDER):
        (folder / name).mkdir()

    def fetch(number: int, photo: SetPhoto) -> TaskPhoto:
        content = store.get(photo.key)
        # Named by its content: what users call photos may be no name of a file.
        name = f"{number:06d}.{probe_image(content).format.lower()}"
        (folder / PHOTOS_FOLDER / name).write_bytes(content)
        mask = ""
        if photo.mask and listed.mask_values:
            mask = f"{number:06d}.png"
            (folder / MASKS_FOLDER / mask).write_bytes(encode_mask(values[read_mask(store.get(photo.mask))]))
        return TaskPhoto(file=name, name=photo.name, tags=photo.tags, complete=photo.complete, mask=mask)

    photos: list[TaskPhoto] = []
    with ThreadPoolExecutor(_FETCHERS, thread_name_prefix="fetch") as pool:
        for photo in pool.map(fetch, range(len(listed.photos)), listed.photos):
            photos.append(photo)
            on_photo(len(photos))
            if stop():
                pool.shutdown(cancel_futures=True)
                return
    task = TrainingTask(
        config=config,
        photos=tuple(photo for number, photo in enumerate(photos) if number not in kept),
        kept=tuple(photos[number] for number in sorted(kept)),
        device=process.settings.device,
        threads=process.settings.threads,
    )
    (folder / TASK_FILE).write_text(task.model_dump_json(), "utf-8")


def mask_values(listed: TrainingSet, classes: Vocabulary) -> npt.NDArray[np.uint8]:
    """Return (256,) uint8 what each value of people's masks becomes: 1 + channel of its class, 0, or 255 for open.

    Args:
        listed: says what the values mean in the job.
        classes: of the training; other classes of the job are none of them, and become background.
    """
    values = np.zeros(256, np.uint8)
    values[IGNORE] = IGNORE
    for index, name in listed.mask_values.items():
        if name in classes:
            values[index] = 1 + classes.channel(name)
    return values
