"""The facade: what tags, known, unknown or none, do to a label."""

import numpy as np
import pytest

from tests.model.labelling.quick_labels import QUICK, pixels, results
from toco.model.labelling.labeler import LabelRequest
from toco.model.options import PRESETS, preset_options
from toco.model.photos.classes import UnknownTag


def test_an_unknown_tag_refuses_its_photo_alone(labeler):
    requests = [LabelRequest(pixels(), tags, unknown_tags="refuse") for tags in (["cat"], ["unicorn", "yeti"], ["dog"])]
    first, second, third = results(labeler, requests)
    assert isinstance(second, UnknownTag)
    assert "'unicorn' (1 photo), 'yeti' (1 photo)" in second.detail
    assert (first.tags, third.tags) == (("cat",), ("dog",))


def test_words_are_understood_and_told(labeler):
    label = labeler.label_one(pixels(), ["kitty", "Hund", "nice"], QUICK, mapping={"hund": "dog", "nice": ""})
    assert label.tags == ("cat", "dog")
    assert [(word.written, word.understood, word.why) for word in label.words] == [
        ("kitty", "cat", "kind"),
        ("Hund", "dog", "mapping"),
        ("nice", None, "mapping"),
    ]
    assert label.open_tags == ()


@pytest.mark.parametrize("preset", ["fast", "paper"])
def test_what_an_unknown_word_may_own_is_open(preset, labeler):
    options = preset_options(preset, cam={"scales": [1.0]}, segmentation={"scales": [1.0], "flip": False})
    known, mixed = results(labeler, [LabelRequest(pixels(), tags) for tags in (["dog"], ["dog", "yeti"])], options)
    assert mixed.tags == ("dog",)
    assert mixed.open_tags == ("yeti",)
    for before, after in (
        (known.pseudo_mask, mixed.pseudo_mask),
        (known.segmentation, mixed.segmentation),
    ):
        assert set(np.unique(after)) <= {0, labeler.vocabulary.classes[labeler.vocabulary.channel("dog")].index, 255}
        assert ((after == 255) >= (before == 255)).mean() > 0.99  # nothing is closed that was open
        assert ((after == 255) & (before != 255)).any()


@pytest.mark.parametrize("tags", [["yeti"], ["yeti", "boxer"], ["yeti", "nice"]])
def test_a_photo_of_unknown_words_alone_is_open(tags, labeler):
    options = QUICK.model_copy(update={"segmentation": PRESETS["paper"].segmentation})
    label = labeler.label_one(pixels(), tags, options, mapping={"nice": ""})
    assert (label.tags, label.tag_source, label.cams.shape) == ((), "user", (0, 40, 56))
    assert (label.pseudo_mask == 255).all()
    assert (label.segmentation == 255).all()


def test_a_photo_whose_every_word_is_ignored_gets_the_classifiers_tags(labeler):
    label = labeler.label_one(pixels(), ["nice"], QUICK, mapping={"nice": ""})
    assert label.tag_source == "model"


def test_a_photo_of_nothing_known_is_background(labeler):
    options = QUICK.model_copy(update={"segmentation": PRESETS["paper"].segmentation})
    label = labeler.label_one(pixels(), [], options)
    assert (label.tags, label.tag_source, label.cams.shape) == ((), "user", (0, 40, 56))
    assert not label.pseudo_mask.any()
    assert not label.segmentation.any()


@pytest.mark.parametrize(("threshold", "count"), [(0.0001, 4), (0.9999, 0)])
def test_an_untagged_photo_gets_the_tags_that_the_classifier_believes_in(threshold, count, labeler):
    label = labeler.label_one(pixels(), None, QUICK.model_copy(update={"tag_threshold": threshold}))
    assert label.tag_source == "model"
    assert len(label.tags) == len(label.cams) == count
    assert bool((label.tag_probabilities >= threshold).all())


@pytest.mark.parametrize("scales", [(0.5, 1.0, 1.5), (1.5, 1.0), (0.75, 1.0)])
def test_the_classifier_believes_what_it_sees_at_full_scale(scales, labeler):
    plain = labeler.label_one(pixels(), ["cat", "dog"], QUICK)
    scaled = preset_options("fast", refine="none", precision="float32", cam={"size": 64, "scales": scales})
    found = labeler.label_one(pixels(), ["cat", "dog"], scaled)
    np.testing.assert_allclose(found.tag_probabilities, plain.tag_probabilities, atol=1e-6)


def test_tagged_and_untagged_photos_go_through_one_batch(labeler):
    options = QUICK.model_copy(update={"tag_threshold": 0.0001})
    labels = results(labeler, [LabelRequest(pixels(), tags) for tags in (None, ["dog"], [], None)], options)
    assert [label.tag_source for label in labels] == ["model", "user", "user", "model"]
    assert [len(label.tags) for label in labels] == [4, 1, 0, 4]
    np.testing.assert_allclose(labels[0].cams[1], labels[1].cams[0], atol=1e-5)
