"""Recognised words and the soft labels that training takes from them."""

import cv2
import numpy as np
import pytest
import torch

from tests.model.learning.conftest import ColourTokens, photo
from toco.model.learning.learn import learn_words
from toco.model.learning.recognise import recognise
from toco.model.learning.settings import FitSettings
from toco.model.learning.targets import SIDE, contoured_label, following_edges, known_label, network_label, soft_label
from toco.model.learning.tokens import NetworkMaps

KNOWN = ("rost", "moos")


@pytest.fixture(scope="module")
def knowing():
    return ColourTokens(known=KNOWN)


@pytest.fixture(scope="module")
def learnt(job, knowing):
    words, photos = job
    return learn_words("colours", words, photos.__getitem__, knowing, fit=FitSettings(steps=40, batch=1024))


def channels(model, *words):
    return [model.spec.vocabulary.channel(word) for word in words]


def test_an_object_is_what_prior_and_fit_agree_on(learnt, knowing):
    (found,) = knowing.read([photo(("see",), 50)])
    objects, words = recognise(found, learnt, channels(learnt, "see"))
    assert float(objects[found.prior > 0.9].mean()) > 0.7
    assert float(objects[found.prior < 0.1].mean()) < 0.3
    torch.testing.assert_close(words, torch.ones(64, 1))


def test_words_are_shared_out_by_the_fit_and_sum_to_one(learnt, knowing):
    (found,) = knowing.read([photo(("rost", "senf"), 52)])
    words = recognise(found, learnt, channels(learnt, "rost", "senf")).words
    torch.testing.assert_close(words.sum(dim=1), torch.ones(64))
    inside = found.prior > 0.9
    assert 0.3 < float((words[inside, 0] > 0.5).float().mean()) < 0.7


def test_soft_labels_sum_to_one_and_every_tag_owns_something(learnt, knowing):
    (found,) = knowing.read([photo(("rost",), 53)])  # no blue thing is on it
    labels = soft_label(found, learnt, channels(learnt, "rost", "see"))
    assert labels.shape == (3, 8, 8)
    torch.testing.assert_close(labels.sum(dim=0), torch.ones(8, 8))
    assert float(labels.mean(dim=(1, 2))[1:].min()) > 0.01


def test_a_photo_without_tags_is_background(learnt, knowing):
    (found,) = knowing.read([photo((), 54)])
    assert (soft_label(found, learnt, []) == 1.0).all()


def network_maps(saliency=None):
    """Maps of two classes, left and right, over a background below."""
    cams = torch.zeros(2, 8, 8)
    cams[0, :4, :4], cams[1, :4, 4:] = 0.9, 0.8
    return NetworkMaps(cams, cams.clone(), saliency)


def test_a_networks_own_labels_follow_its_maps():
    labels = network_label(network_maps())
    torch.testing.assert_close(labels.sum(dim=0), torch.ones(8, 8))
    best = labels.argmax(dim=0)
    assert (best[:4, :4] == 1).all()
    assert (best[:4, 4:] == 2).all()
    assert (best[4:] == 0).all()


def test_saliency_counts_most_where_the_photo_shows_one_thing():
    salient = torch.full((8, 8), 0.98)
    several = network_label(network_maps(salient))[0]
    maps = network_maps(salient)
    one = network_label(NetworkMaps(maps.cams[:1], maps.belief[:1], salient))[0]
    assert (one[4:] < several[4:]).all()


def test_labels_follow_the_edges_of_the_photo():
    pixels = np.full((96, 96, 3), 60, np.uint8)
    pixels[:, 50:] = 200  # an edge that no token grid has
    coarse = torch.zeros(2, 8, 8)
    coarse[0, :, :4], coarse[1, :, 4:] = 1.0, 1.0
    coarse[:, :, 4] = 0.5
    found = following_edges(coarse, pixels)
    assert found.shape == (2, SIDE, SIDE)
    np.testing.assert_allclose(found.sum(axis=0), 1.0, atol=1e-5)
    truth = cv2.resize(pixels[..., 0], (SIDE, SIDE), interpolation=cv2.INTER_AREA) > 130
    plain = cv2.resize(coarse[1].numpy(), (SIDE, SIDE), interpolation=cv2.INTER_LINEAR) > 0.5
    assert ((found[1] > 0.5) == truth).mean() > (plain == truth).mean()


def test_contours_come_from_the_photo_and_the_networks_doubt_stays():
    pixels = np.full((160, 160, 3), 60, np.uint8)
    pixels[:, 100:] = 200  # the object begins beside the token that is half its own
    cams = torch.zeros(1, 8, 8)
    cams[0, :, 5:], cams[0, :, 4] = 0.9, 0.45
    found = contoured_label(NetworkMaps(cams, cams.clone(), None), pixels)
    assert found.shape == (2, SIDE, SIDE)
    np.testing.assert_allclose(found.sum(axis=0), 1.0, atol=1e-5)
    truth = np.arange(SIDE) >= 40
    assert ((found[1] > 0.5) == truth[None]).mean() > 0.97
    assert 0.05 < found[1][:, 33:39].mean() < 0.5, "background, and the doubt of a token that is half beside the object"


def test_a_persons_mask_is_taken_at_its_word_and_what_it_leaves_open_is_nothing():
    mask = np.zeros((256, 256), np.uint8)
    mask[:, 128:] = 3  # channel 2
    mask[192:] = 255
    labels = known_label(mask, [0, 2])
    assert labels.shape == (3, SIDE, SIDE)
    sums = labels.sum(axis=0)
    assert (sums[:48] == 1.0).all()
    assert (sums[48:] == 0.0).all()
    assert (labels[0, :48, :32] == 1.0).all()
    assert (labels[1] == 0.0).all(), "the photo's other class has no pixel of it"
    assert (labels[2, :48, 32:] == 1.0).all()


def test_a_place_of_several_classes_is_shared_by_area():
    mask = np.zeros((2 * SIDE, 2 * SIDE), np.uint8)
    mask[::2] = 1
    labels = known_label(mask, [0])
    np.testing.assert_allclose(labels, 0.5)
