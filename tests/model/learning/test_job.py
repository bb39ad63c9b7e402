"""Words of a job that no class means: learnt from its photos, and used beside the classes."""

import dataclasses

import cv2
import numpy as np
import pytest

from tests.model.learning.conftest import photo
from toco.model.formats.artifacts import RESULT, read_result
from toco.model.labelling.folder_run import ARTIFACTS, FolderRun, RunSummary
from toco.model.labelling.labeler import Labeler, LabelRequest
from toco.model.labelling.plan import PlannedPhoto
from toco.model.learning.job import JobLabeler, learn_job
from toco.model.learning.learnt_spec import report_lines
from toco.model.learning.planning import job_words, learnable
from toco.model.options import preset_options

OPTIONS = preset_options("fast").model_copy(update={"refine": "none"})


@pytest.fixture(scope="module")
def labeler(tiny_model):
    return Labeler.from_folder(tiny_model, device="cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Twelve photos of a word that no class means, half of them with a cat; one of a word that is rare."""
    folder = tmp_path_factory.mktemp("job")
    planned = []
    for number in range(13):
        words = ("moos",) if number % 2 else ("moos", "rost")
        path = folder / f"{number}.png"
        cv2.imwrite(str(path), photo(words, number)[..., ::-1])
        tags = ("gadget",) if number % 2 else ("gadget", "kitty")
        planned.append(PlannedPhoto(path.name, path, ("rarity",) if number == 12 else tags))
    return planned


@pytest.fixture(scope="module")
def learnt(labeler, photos, tmp_path_factory):
    return learn_job(labeler, photos, tmp_path_factory.mktemp("learnt"))


def test_words_are_learnt_that_enough_photos_show_and_no_class_means(labeler, photos):
    tags = [photo.tags for photo in photos]
    vocabulary = labeler.vocabulary
    assert learnable(job_words(tags, vocabulary), vocabulary) == ["gadget"]
    assert learnable(job_words([*tags, None, ()], vocabulary, {"gadget": "cat"}), vocabulary) == []


def test_a_second_run_reads_what_the_first_has_learnt(labeler, photos, tmp_path):
    first = learn_job(labeler, photos, tmp_path)
    asked = []
    again = learn_job(labeler, photos, tmp_path, on_photo=lambda *at: asked.append(at))
    assert again.spec == first.spec
    assert asked == []
    other = learn_job(labeler, photos[:-1], tmp_path)
    assert other.spec.learnt_from["job"] != first.spec.learnt_from["job"]


@pytest.fixture
def judged(learnt):
    """Give the word that was learnt another standing: how well a random encoder tells it apart is chance."""

    def make(standing):
        words = [
            word.model_copy(update={"standing": standing}) if word.word == "gadget" else word
            for word in learnt.spec.words
        ]
        return dataclasses.replace(learnt, spec=learnt.spec.model_copy(update={"words": tuple(words)}))

    return make


def test_known_classes_keep_their_indices_and_new_words_follow(labeler, judged):
    both = JobLabeler(labeler, judged("learnt"))
    known = {entry.name: entry.index for entry in labeler.vocabulary.classes}
    found = {entry.name: entry.index for entry in both.vocabulary.classes}
    assert found.items() >= known.items()
    assert set(found) - set(known) == {"gadget"}
    assert found["gadget"] > max(known.values())
    assert both.spec.version != labeler.spec.version


def test_photos_of_known_words_are_labelled_as_ever(labeler, learnt, photos):
    both = JobLabeler(labeler, learnt)
    request = LabelRequest(photos[0].path, ("kitty",))
    ((_, plain),) = labeler.label([request], OPTIONS)
    ((_, label),) = both.label([request], OPTIONS)
    assert (label.pseudo_mask == plain.pseudo_mask).all()
    assert label.vocabulary is both.vocabulary


def labels_of(labeler, photos):
    requests = [LabelRequest(photo.path, photo.tags, photo.name) for photo in photos]
    return [label for _, label in labeler.label(requests, OPTIONS)]


def test_a_learnt_word_owns_pixels_and_a_rare_one_leaves_them_open(labeler, judged, photos):
    both = JobLabeler(labeler, judged("learnt"))
    labels = labels_of(both, photos)
    index = both.vocabulary.classes[both.vocabulary.channel("gadget")].index
    for label in labels[1:12:2]:
        assert label.tags == ("gadget",)
        assert index in label.pseudo_mask
        assert set(np.unique(label.pseudo_mask)) <= {0, 255, index}
    assert (labels[12].pseudo_mask == 255).all()
    assert [word.is_open for word in labels[12].words] == [True]


def test_each_photo_says_the_settings_of_what_labelled_it_and_the_run_has_one_digest(labeler, judged, photos, tmp_path):
    both = JobLabeler(labeler, judged("learnt"))
    two = [dataclasses.replace(photos[0], tags=("kitty",)), dataclasses.replace(photos[1], tags=("gadget",))]
    FolderRun(both, OPTIONS, tmp_path).label(two, RunSummary())
    known, word = (read_result((tmp_path / ARTIFACTS / p.name / RESULT).read_bytes()) for p in photos[:2])
    assert known.options_digest == word.options_digest == both.spec.completed(OPTIONS).digest()
    assert known.options == both.spec.completed(OPTIONS).model_dump(mode="json")
    assert word.options["thresholds"] == judged("learnt").spec.thresholds.model_dump()
    assert (word.options["cam"]["decoder_weight"], word.options["cam"]["doubted"]) == (0.0, None)


def test_a_word_that_was_not_found_leaves_its_photos_open(labeler, judged, photos):
    both = JobLabeler(labeler, judged("not_found"))
    assert "gadget" not in both.vocabulary
    for label in labels_of(both, photos[1:12:2]):
        assert (label.pseudo_mask == 255).all()
        assert (label.tags, [word.is_open for word in label.words]) == ((), [True])


def test_the_report_says_what_became_of_each_new_word(labeler, learnt):
    lines = report_lines(learnt.spec.words, labeler.vocabulary)
    assert [line.split(":")[0].strip() for line in lines] == ["gadget", "rarity"]
    assert "12 photos, 6 with nothing else" in lines[0]
    assert "fewer than 5 photos" in lines[1]
