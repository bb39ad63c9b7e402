"""What lies in the folder of one training, for who prepares it, who runs it and who takes the result.

    training.json    what is asked for (`TrainingTask`)
    photos/          the photos
    masks/           those of them that people made masks of: 0 background, 1 + channel of the class, 255 open
    start/           the model that it starts from
    run/             rounds, checkpoints and labels; with it, the training goes on where it was stopped
    run/figures.json, run/pictures/    what came of it, beside the model before

Nothing of a run depends on where its folder is, so that another machine can take it up.
"""

from pathlib import Path
from typing import Final

from toco.model.options import Frozen
from toco.model.training.config import TrainConfig

TASK_FILE: Final = "training.json"
PHOTOS_FOLDER: Final = "photos"
MASKS_FOLDER: Final = "masks"
START_FOLDER: Final = "start"
RUN_FOLDER: Final = "run"
FIGURES_FILE: Final = "figures.json"
PICTURES_FOLDER: Final = "pictures"


class TaskPhoto(Frozen):
    """A photo of a training.

    Attributes:
        file: its name in the folder of photos.
        name: as the user calls it.
        tags: classes that it shows.
        complete: whether it shows no others.
        mask: name of a person's mask of it in the folder of masks, or empty.
    """

    file: str
    name: str
    tags: tuple[str, ...]
    complete: bool = True
    mask: str = ""


class TrainingTask(Frozen):
    """One training.

    Attributes:
        config: of the run; it has no sources.
        photos: to train on.
        kept: photos kept aside, to judge the model by.
        device: name as in `choose_device`.
        threads: of the processor; 0 takes what `OMP_NUM_THREADS` says. Other numbers may round otherwise.
    """

    config: TrainConfig
    photos: tuple[TaskPhoto, ...]
    kept: tuple[TaskPhoto, ...] = ()
    device: str = "auto"
    threads: int = 0


def model_folder(config: TrainConfig) -> Path:
    """Return the folder of the finished model, within the folder of the run."""
    return Path(f"round-{config.rounds.count}") / "run" / "model"
