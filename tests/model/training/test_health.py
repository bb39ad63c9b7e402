"""The report before training: what can be read, how many photos a class has, and which tags nobody will learn."""

import shutil

import pytest

from toco.model.training.config import SourceConfig
from toco.model.training.data import training_photos, vocabulary_of
from toco.model.training.health import FEW_PHOTOS, HealthReport, check_health


@pytest.fixture
def checked(eight_photos, tiny_config, tmp_path):
    """The eight photos, one of them broken, one missing, two with strange tags."""
    folder = tmp_path / "photos"
    shutil.copytree(eight_photos / "photos", folder)
    (folder / "dog.png").write_bytes(b"not a photo")
    (folder / "horses_top.png").unlink()
    table = "astronaut.png,person;spaceship\ncat.png,cat;spaceship;toy\ndog.png,dog\nhorses_top.png,horse\n"
    (tmp_path / "tags.csv").write_text(table + "horses.png,horse\nperson.png,person;horse;dog\n")
    source = SourceConfig(images=folder, tags=tmp_path / "tags.csv", unknown={"cat*": ("dog",)})
    config = tiny_config(sources=(source,))
    vocabulary = vocabulary_of(config)
    seen = []
    photos, report = check_health(
        training_photos(config, vocabulary), config, vocabulary, on_photo=lambda: seen.append(1)
    )
    return photos, report, len(seen)


def test_unreadable_photos_are_left_out_and_named(checked):
    photos, report, seen = checked
    assert seen == 6
    assert [photo.path.name for photo in photos] == ["astronaut.png", "cat.png", "horses.png", "person.png"]
    assert {path.rsplit("/", 1)[1] for path in report.unreadable} == {"dog.png", "horses_top.png"}
    assert report.photos == 4


def test_photos_are_counted_by_class(checked):
    _, report, _ = checked
    assert report.photos_a_class == {"cat": 1, "dog": 1, "horse": 2, "person": 2}  # the broken dog does not count
    assert report.few == ("cat", "dog", "horse", "person")
    assert report.incomplete == 1


def test_tags_outside_the_vocabulary_are_counted(checked):
    _, report, _ = checked
    assert report.unknown_tags == {"spaceship": 2, "toy": 1}


def test_the_lines_say_it_all(checked):
    _, report, _ = checked
    text = "\n".join(report.lines())
    assert "4 photos, 1 of them tagged incompletely" in text
    assert "cat 1, dog 1, horse 2, person 2" in text
    assert f"under {FEW_PHOTOS} photos: cat, dog, horse, person" in text
    assert "spaceship (2), toy (1)" in text
    assert text.count("left out, ") == 2


def test_a_healthy_set_needs_two_lines():
    report = HealthReport(photos=100, photos_a_class={"cat": 60, "dog": 50})
    assert report.lines() == ["100 photos, 0 of them tagged incompletely", "photos a class: cat 60, dog 50"]


def test_classes_that_no_photo_lacks_are_named(eight_photos, tiny_config):
    everything_unknown = SourceConfig(
        images=eight_photos / "photos", tags=eight_photos / "tags.csv", unknown={"*": ("*",)}
    )
    config = tiny_config(sources=(everything_unknown,))
    vocabulary = vocabulary_of(config)
    _, report = check_health(training_photos(config, vocabulary), config, vocabulary)
    assert report.never_absent == vocabulary.names
    assert "no photo is known not to show" in "\n".join(report.lines())


def test_classes_that_some_photo_lacks_are_not_named(checked):
    _, report, _ = checked
    assert report.never_absent == ()
