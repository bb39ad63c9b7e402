"""A training for tests that need a record of one."""

from toco.jobs.job import DEFAULT_WORKSPACE
from toco.jobs.training import NewTraining
from toco.jobs.trainings import Trainings
from toco.model.training.recipes import TrainingSettings


def new_training(**changes: object) -> NewTraining:
    """Return what was asked for, of two rounds of ten steps."""
    asked = {
        "name": "kitchen", "workspace": DEFAULT_WORKSPACE, "key": "", "request_id": "", "recipe": "quick",
        "settings": TrainingSettings(steps=10, rounds=2), "classes": ("mug", "cat"), "start": "tiny",
        "start_version": "tiny@0", "job": "", "photos": 8, "kept": 2,
    }  # fmt: skip
    return NewTraining(**(asked | changes))


def make_training(trainings: Trainings, **changes: object) -> str:
    """Make the record of a training that is over, and return its id."""
    training = trainings.begin()
    trainings.create(training, new_training(**changes))
    trainings.cancel(training)
    return training
