"""From photos with words to a learnt model, and labels by it."""

from functools import partial

import numpy as np
import pytest

from tests.model.learning.conftest import COLOURS, ColourTokens, photo
from toco.model.formats.result import result_of
from toco.model.learning.label import LearntLabeler
from toco.model.learning.learn import learn_words
from toco.model.learning.learnt_model import load_learnt_model, save_learnt_model
from toco.model.learning.learnt_spec import InvalidLearntModel, report_lines
from toco.model.learning.planning import CannotLearn, plan_learning
from toco.model.learning.settings import FitSettings
from toco.model.options import preset_options
from toco.model.photos.classes import IGNORE
from toco.model.photos.images import UnreadableImage

QUICK = FitSettings(steps=40, batch=1024)
PLAIN = preset_options("fast", refine="none", ignore_band=False)


@pytest.fixture(scope="module")
def learnt(job, reader):
    words, photos = job
    return learn_words("colours", words, photos.__getitem__, reader, fit=QUICK)


def share_right(model, reader, words, seed=900):
    """Share of the squares' places that are labelled with their own word."""
    pixels = photo(words, seed)
    label = LearntLabeler(reader, model).label_one(pixels, words, PLAIN)
    shares = []
    for word in words:
        inside = np.abs(pixels.astype(int) - COLOURS[word]).max(axis=2) < 14
        index = model.spec.vocabulary.indices[model.spec.vocabulary.channel(word)]
        shares.append(float((label.pseudo_mask[inside] == index).mean()))
    return min(shares)


def test_words_that_no_model_knows_are_learnt_and_labelled(learnt, reader):
    assert learnt.spec.usable == set(COLOURS)
    assert share_right(learnt, reader, ("rost", "see")) > 0.8
    assert share_right(learnt, reader, ("senf",)) > 0.8


def test_words_that_the_encoder_knows_are_learnt_beside_those_that_it_does_not(job):
    words, photos = job
    reader = ColourTokens(known=("rost", "moos"))
    model = learn_words("both", words, photos.__getitem__, reader, fit=QUICK)
    assert share_right(model, reader, ("moos", "senf")) > 0.8


def test_the_report_tells_what_each_word_was_learnt_from(learnt, job):
    words, _ = job
    report = {row.word: row for row in learnt.spec.words}
    assert list(report) == sorted(COLOURS)
    assert report["rost"].photos == sum("rost" in found for found in words)
    assert report["rost"].alone == sum(found == ("rost",) for found in words)
    assert report["rost"].recognised > 0.9
    assert learnt.spec.learnt_from["photos_of_job"] == 60


def test_a_word_that_seldom_shows_alone_is_weak_and_its_photos_are_doubtful(job, reader):
    words, photos = job
    # `moos` keeps three photos of its own; everywhere else it stands beside another word.
    alone = [k for k, found in enumerate(words) if found == ("moos",)]
    kept = [k for k in range(60) if k not in alone[1:]]
    model = learn_words("weak", [words[k] for k in kept], [photos[k] for k in kept].__getitem__, reader, fit=QUICK)
    report = {row.word: row for row in model.spec.words}
    assert report["moos"].alone == 1
    assert report["moos"].standing == "weak"
    assert "moos" in model.spec.usable
    assert "look at its masks" in report_lines([report["moos"]])[0]
    labeler = LearntLabeler(reader, model)
    for tags, weak in ((("moos", "rost"), ("moos",)), (("rost",), ())):
        label = labeler.label_one(photo(tags, 77), tags, PLAIN)
        result = result_of(label, labeler.spec, PLAIN)
        assert result.weak_tags == weak
        assert (result.doubt > 0.5) is bool(weak)


def test_words_that_always_come_together_are_said_so_and_left_open(job, reader):
    words, photos = job
    renamed = [
        (*(word for word in found if word != "moos"), *(("fern", "twig") * ("moos" in found))) for found in words
    ]
    model = learn_words("pairs", renamed, photos.__getitem__, reader, fit=QUICK)
    report = {row.word: row for row in model.spec.words}
    assert report["fern"].standing == "not_told_apart"
    assert report["fern"].together_with == ("twig",)
    label = LearntLabeler(reader, model).label_one(photo(("moos",), 901), ("fern", "twig"), PLAIN)
    assert (label.pseudo_mask == IGNORE).all()


def test_what_a_word_of_too_few_photos_may_own_is_open_beside_a_word_that_was_learnt(job, reader):
    words, photos = job
    few = [
        ("rare" if word == "see" and k < 4 else "senf" if word == "see" else word)
        for k in range(60)
        for word in words[k][:1]
    ]
    model = learn_words("few", [(word,) for word in few], photos.__getitem__, reader, fit=QUICK)
    assert {row.word: row.standing for row in model.spec.words}["rare"] == "too_few_photos"
    pixels = photo(("rost", "see"), 902)
    mask = LearntLabeler(reader, model).label_one(pixels, ("rost", "rare"), PLAIN).pseudo_mask
    rare = model.spec.vocabulary.indices[model.spec.vocabulary.channel("rare")]
    of_rare = np.abs(pixels.astype(int) - COLOURS["see"]).max(axis=2) < 14
    assert not (mask == rare).any()
    assert not (mask[of_rare] == 0).any()
    assert (mask == 0).any()


def test_masks_that_a_person_drew_are_learnt_from(reader):
    # Both words always together: tags alone cannot tell them apart, two masks can.
    pairs = [(("a", "b"), photo(("rost", "moos"), 300 + k)) for k in range(20)]
    plan = plan_learning([found for found, _ in pairs])
    masks = {}
    for k in range(3):
        pixels = pairs[k][1].astype(int)
        mask = np.zeros((64, 64), np.uint8)
        mask[np.abs(pixels - COLOURS["rost"]).max(axis=2) < 14] = 1 + plan.words.index("a")
        mask[np.abs(pixels - COLOURS["moos"]).max(axis=2) < 14] = 1 + plan.words.index("b")
        masks[k] = partial(np.copy, mask)
    model = learn_words("m", [found for found, _ in pairs], lambda k: pairs[k][1], reader, masks=masks, fit=QUICK)
    assert model.spec.learnt_from["masks"] == 3
    pixels = photo(("rost", "moos"), 999)
    scores = LearntLabeler(reader, model).label_one(pixels, ("a", "b"), PLAIN).cams
    of_a = np.abs(pixels.astype(int) - COLOURS["rost"]).max(axis=2) < 14
    assert (scores[0][of_a] > scores[1][of_a]).mean() > 0.9


def test_a_photo_that_cannot_be_read_is_left_out(job, reader):
    words, photos = job

    def read(position):
        if position % 10 == 0:
            raise UnreadableImage("Broken.")
        return photos[position]

    model = learn_words("gaps", words, read, reader, fit=QUICK)
    assert model.spec.learnt_from["photos"] + model.spec.learnt_from["held_out"] == 54


def test_a_learnt_model_is_saved_and_read_whole_or_not_at_all(learnt, tmp_path):
    saved = save_learnt_model(tmp_path / "colours", learnt)
    read = load_learnt_model(tmp_path / "colours")
    assert read.spec == saved.spec
    assert (read.weight == learnt.weight).all()
    assert read.spec.version.startswith("colours@")
    (tmp_path / "colours" / "words.safetensors").write_bytes(b"half")
    with pytest.raises(InvalidLearntModel):
        load_learnt_model(tmp_path / "colours")


def test_words_of_another_encoder_are_refused(learnt):
    with pytest.raises(InvalidLearntModel, match="learnt on"):
        LearntLabeler(ColourTokens(digest="other"), learnt)


def test_a_job_without_words_cannot_be_learnt_from(reader):
    with pytest.raises(CannotLearn):
        learn_words("none", [(), ()], lambda k: photo((), k), reader)


def test_more_words_than_a_mask_can_hold_are_refused_before_a_photo_is_read():
    with pytest.raises(CannotLearn, match="254"):
        plan_learning([(f"w{k}",) for k in range(255)])


def test_a_word_that_was_not_learnt_leaves_its_photo_open(learnt, reader):
    labeler = LearntLabeler(reader, learnt)
    unknown = labeler.label_one(photo(("rost",), 8), ("nothing",), PLAIN)
    assert (unknown.pseudo_mask == 255).all()
    assert labeler.label_one(photo(("rost",), 7), ("rost",), PLAIN).tags == ("rost",)


def test_a_word_that_its_photos_do_not_show_is_not_found(job, reader):
    words, photos = job
    at_random = [(*found, "ghost") if k % 3 == 0 else found for k, found in enumerate(words)]
    model = learn_words("ghosts", at_random, photos.__getitem__, reader, fit=QUICK)
    report = {row.word: row for row in model.spec.words}
    assert report["ghost"].recognised < 0.65
    assert report["ghost"].standing == "not_found"
    assert {word for word, row in report.items() if row.usable} == set(COLOURS)


def test_a_word_on_every_photo_is_learnt_from_its_background(reader):
    photos = [photo(("rost",), 500 + k) for k in range(20)]
    model = learn_words("one", [("rost",)] * 20, photos.__getitem__, reader, fit=QUICK)
    assert model.spec.words[0].standing == "learnt"
    assert share_right(model, reader, ("rost",)) > 0.8
