"""Fixtures of the training tests: a configuration that takes seconds, and eight real photos with tags."""

import cv2
import numpy as np
import pytest

from toco.model.photos.images import read_image
from toco.model.training.config import SourceConfig, TrainConfig, merge
from toco.model.training.data import training_photos, vocabulary_of
from toco.model.training.soft_labels import write_soft_labels
from toco.model.training.trainer import Trainer

CLASSES = ("cat", "dog", "horse", "person")

# A backbone of 0.3 million weights on crops of 64 pixels; every loss of the paper is on.
TINY = {
    "classes": CLASSES,
    "backbone": {"name": "test_vit", "image_size": 64, "initial": "random"},
    "schedule": {"steps": 12, "warmup_steps": 2, "learning_rate": 1e-3, "batch_size": 4},
    "augmentation": {"crop": 64, "rescale": (0.8, 1.2)},
    "contrast": {"local_crops": 2, "local_size": 32, "border": 16, "hidden": 32, "bottleneck": 16, "outputs": 24},
    "loss": {"energy": 0.0},
    "precision": "float32",
    "workers": 0,
}

TAGS = {
    "astronaut": "person",
    "astronaut_top": "person",
    "cat": "cat",
    "cat_top": "cat",
    "dog": "dog",
    "horses": "horse",
    "horses_top": "horse",
    "person": "person;dog;horse",
}


@pytest.fixture(scope="session")
def eight_photos(samples, tmp_path_factory):
    """A folder of the sample photos at 80 pixels, three of them also cut to their upper part, and a tag table."""
    folder = tmp_path_factory.mktemp("training")
    (folder / "photos").mkdir()
    for name in TAGS:
        pixels = read_image(samples / f"{name.removesuffix('_top')}.jpg", long_side=80).pixels
        if name.endswith("_top"):
            pixels = pixels[: len(pixels) * 3 // 4]
        cv2.imwrite(str(folder / "photos" / f"{name}.png"), pixels[..., ::-1])
    table = "".join(f"{name}.png,{tags}\n" for name, tags in TAGS.items())
    (folder / "tags.csv").write_text(f"image,tags\n{table}")
    return folder


@pytest.fixture
def source(eight_photos):
    return SourceConfig(images=eight_photos / "photos", tags=eight_photos / "tags.csv")


@pytest.fixture
def tiny_config(source):
    """Make a tiny configuration with some settings changed."""

    def make(**changes) -> TrainConfig:
        return TrainConfig.model_validate(merge(TINY | {"sources": (source.model_dump(),)}, changes))

    return make


@pytest.fixture
def soft_folder(eight_photos, tmp_path):
    """Soft labels of the eight photos: the upper half is the photo's classes alike, the lower half background."""
    folder = tmp_path / "soft"

    def rows():
        for name, tags in TAGS.items():
            classes = tags.split(";")
            maps = np.zeros((1 + len(classes), 16, 16))
            maps[0, 8:], maps[1:, :8] = 1.0, 1.0 / len(classes)
            yield str(eight_photos / "photos" / f"{name}.png"), classes, maps

    write_soft_labels(folder, rows())
    return folder


@pytest.fixture
def trainer_of(tiny_config, tmp_path):
    def make(out="run", report=lambda _: None, **changes) -> Trainer:
        config = tiny_config(**changes)
        photos = training_photos(config, vocabulary_of(config))
        return Trainer(config, photos, tmp_path / out, device="cpu", report=report)

    return make
