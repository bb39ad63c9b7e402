"""An audit says how good all photos are from a few, and how sure that is."""

import numpy as np
import pytest

from toco.model.errors import InvalidOption
from toco.model.evaluation.audit import Checked, Population, allocate, check, draw_sample, estimate, strata_of
from toco.model.photos.classes import VOC

CAT, DOG = 8, 12


def test_a_photo_belongs_to_its_rarest_tag():
    tags = [("cat",), ("cat", "dog"), ("cat", "dog"), ("cow", "cat"), ()]
    assert strata_of(tags) == ["cat", "dog", "dog", "cow", ""]
    assert Population.of(tags).tagged == {"cat": 4, "dog": 2, "cow": 1}


def test_a_sample_is_shared_by_the_strata_and_no_larger_than_they_are():
    assert allocate({"cat": 100, "dog": 50, "cow": 3, "sheep": 1}, 20) == {"cat": 11, "dog": 6, "cow": 2, "sheep": 1}
    assert allocate({"cat": 3, "dog": 2}, 40) == {"cat": 3, "dog": 2}
    assert allocate({"cat": 5, "dog": 5, "cow": 5}, 3) == {"cat": 2, "dog": 0, "cow": 1}


def test_the_same_seed_draws_the_same_photos_and_each_once():
    tags = [("cat",)] * 50 + [("dog",)] * 30
    drawn = draw_sample(tags, 20, seed=3)
    assert drawn == draw_sample(tags, 20, seed=3) != draw_sample(tags, 20, seed=4)
    assert len(set(drawn)) == 20
    with pytest.raises(InvalidOption):
        draw_sample([], 5, seed=0)


def test_open_pixels_of_a_label_are_background_and_those_of_the_truth_do_not_count():
    label = np.array([[CAT, CAT, 0, 255]], np.uint8)
    truth = np.array([[CAT, 255, DOG, CAT]], np.uint8)
    found = check("cat", label, truth)
    assert (found.open_pixels, found.pixels) == (1, 3)
    in_truth, in_label, in_both = ({int(at): int(row[at]) for at in np.flatnonzero(row)} for row in found.areas)
    assert in_truth == {CAT: 2, DOG: 1}
    assert in_label == {CAT: 1, 0: 2}
    assert in_both == {CAT: 1}
    with pytest.raises(InvalidOption, match="one size"):
        check("cat", label, truth.T)


def photos(count: int, seed: int) -> tuple[list[tuple[str, ...]], list[Checked]]:
    """Photos of 100 pixels, cats found for the most part and dogs badly."""
    rng = np.random.default_rng(seed)
    tags, found = [], []
    for _ in range(count):
        name, index, quality = ("cat", CAT, 0.9) if rng.random() < 0.8 else ("dog", DOG, 0.5)
        truth = np.zeros(100, np.uint8)
        truth[: rng.integers(20, 70)] = index
        label = np.where(rng.random(100) < np.clip(rng.normal(quality, 0.1), 0, 1), truth, 0).astype(np.uint8)
        tags.append((name,))
        found.append(check(name, label[None], truth[None]))
    return tags, found


def test_all_photos_checked_is_the_figure_itself():
    tags, found = photos(60, seed=0)
    said = estimate(found, Population.of(tags), VOC)
    truth, label, both = np.sum([entry.areas for entry in found], axis=0)
    for entry in said.classes:
        index = {"background": 0, "cat": CAT, "dog": DOG}[entry.name]
        assert entry.estimate == pytest.approx(both[index] / (truth[index] + label[index] - both[index]))
    assert said.miou.estimate == pytest.approx(np.mean([entry.estimate for entry in said.classes]))
    assert (said.photos, said.population) == (60, 60)


def test_a_stratum_that_is_looked_at_twice_as_hard_weighs_no_more():
    tags, found = photos(400, seed=1)
    whole = estimate(found, Population.of(tags), VOC).miou.estimate
    dogs = [place for place, tag in enumerate(tags) if tag == ("dog",)]
    cats = [place for place, tag in enumerate(tags) if tag == ("cat",)][: len(dogs) // 2]
    said = estimate([found[place] for place in (*dogs, *cats)], Population.of(tags), VOC)
    assert said.miou.low < whole < said.miou.high
    assert said.miou.estimate == pytest.approx(whole, abs=0.03)


def test_the_interval_holds_the_true_figure_about_as_often_as_it_says():
    tags, found = photos(300, seed=2)
    true = estimate(found, Population.of(tags), VOC).miou.estimate
    held = 0
    for seed in range(60):
        drawn = draw_sample(tags, 30, seed)
        said = estimate([found[place] for place in drawn], Population.of(tags), VOC, seed=seed).miou
        held += said.low <= true <= said.high
    assert held >= 48


def test_rare_classes_are_listed_and_left_out_of_the_mean():
    tags, found = photos(40, seed=4)
    cow = check("cow", np.full((1, 100), 10, np.uint8), np.zeros((1, 100), np.uint8))
    said = estimate([*found, cow], Population.of([*tags, ("cow",)]), VOC)
    assert {entry.name: entry.in_mean for entry in said.classes}["cow"] is False
    kept = [entry.estimate for entry in said.classes if entry.in_mean]
    assert said.miou.estimate == pytest.approx(np.mean(kept))


def test_one_photo_says_next_to_nothing_and_none_is_told():
    tags, found = photos(40, seed=5)
    said = estimate(found[:1], Population.of(tags), VOC)
    assert (said.miou.low, said.miou.high) == (0.0, 1.0)
    with pytest.raises(InvalidOption, match="No photo"):
        estimate([], Population.of(tags), VOC)
    with pytest.raises(InvalidOption, match="no photos of 'cow'"):
        estimate([Checked("cow", found[0].areas, 0, 1)], Population.of(tags), VOC)
