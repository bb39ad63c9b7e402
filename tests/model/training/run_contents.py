"""What a training run left behind."""

import json

import torch

from toco.model.photos.classes import VOC
from toco.model.training.trainer import LOG_FILE

VOC4 = VOC.subset(("cat", "dog", "horse", "person"))
# The classification losses alone: what several processes or half batches must agree on, photo by photo.
CLASSIFICATION = {"ptc": 0.0, "ctc": 0.0, "segmentation": 0.0, "energy": 0.0}


def log(trainer):
    return [json.loads(line) for line in (trainer.out / LOG_FILE).read_text().splitlines()]


def weights(trainer):
    return {name: value.clone() for name, value in trainer.trainee.state_dict().items()}


def changed(before, after):
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}
