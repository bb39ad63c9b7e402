"""Training on soft labels, models to start from, and the average of the weights."""

import json

import numpy as np
import pytest
import torch

from tests.model.training.run_contents import changed, log, weights
from toco.model.training.initial_weights import InitialWeightsError
from toco.model.weights_io.checkpoint import load_model


@pytest.mark.slow
def test_a_run_on_soft_labels_learns_them_and_resumes_bit_for_bit(trainer_of, soft_folder):
    changes = {
        "soft_labels": {"folder": soft_folder},
        "loss": {"ctc": 0.0, "segmentation": 1.0},
        "schedule": {"steps": 24, "learning_rate": 3e-3, "average": 0.8},
    }
    whole = trainer_of("whole", **changes)
    whole.run()
    first = trainer_of("parts", **changes)
    first.run(until=9)
    second = trainer_of("parts", **changes)
    second.run()
    assert not changed(weights(whole), weights(second))
    losses = [row["seg"] for row in log(whole)]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_photos_without_soft_labels_are_left_out(trainer_of, soft_folder):
    index = soft_folder / "soft_labels.json"
    rows = json.loads(index.read_text())
    names = list(rows)
    index.write_text(json.dumps({name: rows[name] for name in names[:-1]}))
    maps = soft_folder / "soft_labels.npy"
    np.save(maps, np.load(maps)[: rows[names[-1]][0]])
    trainer = trainer_of(soft_labels={"folder": soft_folder}, loss={"ctc": 0.0})
    assert sorted(str(photo.path) for photo in trainer.photos) == sorted(names[:-1])


def test_the_model_is_the_average_of_the_last_weights(trainer_of, close):
    trainer = trainer_of(schedule={"average": 0.5})
    history = []
    original = trainer._one_step

    def noted(*arguments):
        losses = original(*arguments)
        history.append(trainer.network.classifier.weight.detach().clone())
        return losses

    trainer._one_step = noted
    start = trainer.network.classifier.weight.detach().clone()
    trainer.run(until=3)
    expected = start
    for step, value in enumerate(history):
        momentum = min(0.5, (step + 1) / (step + 10))
        expected = momentum * expected + (1 - momentum) * value
    close(trainer.average.classifier.weight, expected)
    network, _ = load_model(trainer.model_folder)
    close(network.classifier.weight, expected)


def test_a_run_may_start_from_a_model_with_fewer_classes(trainer_of):
    small = trainer_of("small", classes=("dog", "person"))
    small.run(until=2)
    large = trainer_of("large", backbone={"initial": str(small.model_folder)})
    theirs, ours = small.average, large.network
    assert torch.equal(ours.encoder.vit.blocks[0].attn.qkv.weight, theirs.encoder.vit.blocks[0].attn.qkv.weight)
    assert torch.equal(ours.classifier.weight[[1, 3]], theirs.classifier.weight)
    assert torch.equal(ours.decoder.conv8.weight[[0, 2, 4]], theirs.decoder.conv8.weight)
    assert float(ours.classifier.weight.detach()[[0, 2]].abs().max()) == 0.0


def test_a_model_of_another_backbone_is_refused(trainer_of):
    small = trainer_of("small")
    small.run(until=1)
    with pytest.raises(InitialWeightsError, match="backbone"):
        trainer_of("other", backbone={"initial": str(small.model_folder), "image_size": 32})
