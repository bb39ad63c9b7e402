"""The checkpoint of a run: whose it is, and how it is written."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch

from toco.model.errors import TocoError
from toco.model.training.config import TrainConfig
from toco.model.training.data import TrainingPhoto

CHECKPOINT_FILE = "checkpoint.pt"
# What a run comes to does not depend on these.
_INDIFFERENT = frozenset({"name", "checkpoint_minutes", "evaluate_every", "workers"})


class CannotResume(TocoError):
    """A checkpoint belongs to another configuration, or to other photos."""

    code = "cannot_resume"
    kind = "conflict"


def write_checkpoint(folder: Path, state: dict[str, Any], config: TrainConfig, photos: Iterable[TrainingPhoto]) -> None:
    """Write a run's checkpoint; one that stands there stays until the new one is whole.

    Args:
        folder: of the run.
        state: tensors and numbers to go on from.
        config: of the run.
        photos: that it trains on.
    """
    target = folder / CHECKPOINT_FILE
    whose = {"config": config.model_dump_json(), "photos": photos_digest(photos)}
    torch.save(state | whose, target.with_suffix(".tmp"))
    target.with_suffix(".tmp").replace(target)


def read_checkpoint(
    folder: Path, config: TrainConfig, photos: Iterable[TrainingPhoto], *, device: torch.device
) -> dict[str, Any]:
    """Read a run's checkpoint.

    Args:
        folder: of the run.
        config: of the run that wants to go on from it.
        photos: that it trains on.
        device: to load the tensors to.

    Raises:
        CannotResume: it was made with settings that train something else, or on other photos or tags.
    """
    path = folder / CHECKPOINT_FILE
    state: dict[str, Any] = torch.load(path, map_location=device, weights_only=True)
    fix = "Give the same {}, or another output folder."
    if _decisive(TrainConfig.model_validate_json(state["config"])) != _decisive(config):
        raise CannotResume(f"{str(path)!r} was made with another configuration.", fix=fix.format("configuration"))
    if state.get("photos", digest := photos_digest(photos)) != digest:
        raise CannotResume(f"{str(path)!r} was made with other photos or tags.", fix=fix.format("photos and tags"))
    return state


def photos_digest(photos: Iterable[TrainingPhoto]) -> str:
    """Return the SHA-256 of the photos' paths and of what is known of them, in order."""
    digest = hashlib.sha256()
    for photo in photos:
        digest.update(f"{photo.path}\n{photo.tags.tolist()}{photo.known.tolist()}\n".encode())
        if photo.mask is not None:
            digest.update(photo.mask.read_bytes())
    return digest.hexdigest()


def _decisive(config: TrainConfig) -> dict[str, Any]:
    return config.model_dump(mode="json", exclude=set(_INDIFFERENT))
