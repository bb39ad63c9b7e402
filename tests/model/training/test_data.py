"""Training photos: known and unknown tags, samples that can be made again, and a sampler that starts anywhere."""

import itertools
import shutil
from collections import Counter

import cv2
import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from toco.model.photos.classes import COCO, VOC, UnknownTag
from toco.model.photos.images import UnreadableImage
from toco.model.training.config import SourceConfig
from toco.model.training.data import (
    SIDE_LIMIT,
    NoTrainingData,
    ResumableSampler,
    TaggedPhotos,
    sampling_weights,
    training_photos,
    vocabulary_of,
)
from toco.model.training.soft_labels import read_soft_labels

CLASSES = ("cat", "dog", "horse", "person")


def tags_of(photos, classes=CLASSES):
    """File name to (tagged classes, classes whose presence is unknown)."""
    return {
        photo.path.name: (
            {name for name, value in zip(classes, photo.tags, strict=True) if value},
            {name for name, value in zip(classes, photo.known, strict=True) if not value},
        )
        for photo in photos
    }


@pytest.fixture
def photos_of(tiny_config, tmp_path):
    """Make training photos of a tag table; the files need not exist."""

    def make(table, **source):
        (tmp_path / "tags.csv").write_text(table)
        config = tiny_config(sources=(SourceConfig(images=tmp_path, tags=tmp_path / "tags.csv", **source),))
        return training_photos(config, vocabulary_of(config))

    return make


# Tags


@pytest.mark.parametrize(
    ("classes", "names", "indices"),
    [
        ("voc", VOC.names, VOC.indices),
        ("coco", COCO.names, COCO.indices),
        (("person", "cat"), ("cat", "person"), (8, 15)),  # classes of VOC keep VOC's indices and order
        (("hen", "cat"), ("hen", "cat"), (1, 2)),
    ],
)
def test_the_vocabulary_follows_the_configuration(classes, names, indices, tiny_config):
    vocabulary = vocabulary_of(tiny_config(classes=classes))
    assert vocabulary.names == names
    assert vocabulary.indices == indices


def test_complete_tags_say_what_is_absent_too(photos_of):
    found = tags_of(photos_of("a.jpg,cat;kitten\nb.jpg,dog;person\nc.jpg,\n"))
    assert found == {"a.jpg": ({"cat"}, set()), "b.jpg": ({"dog", "person"}, set()), "c.jpg": (set(), set())}


def test_tags_outside_the_vocabulary_are_dropped_and_their_photo_kept(photos_of):
    assert tags_of(photos_of("a.jpg,unicorn\n")) == {"a.jpg": (set(), set())}


def test_an_incomplete_list_tells_nothing_of_the_rest(photos_of):
    found = tags_of(photos_of("image,tags,complete\na.jpg,cat,no\nb.jpg,dog,yes\n"))
    assert found == {"a.jpg": ({"cat"}, {"dog", "horse", "person"}), "b.jpg": ({"dog"}, set())}


def test_patterns_say_which_classes_are_unknown_in_which_files(photos_of):
    table = "plain.jpg,cat\nextra_1.jpg,cat\nwild_1.jpg,dog\n"
    found = tags_of(photos_of(table, unknown={"extra_*": ("dog", "cat", "unicorn"), "wild*": ("*",)}))
    assert found == {
        "plain.jpg": ({"cat"}, set()),
        "extra_1.jpg": ({"cat"}, {"dog"}),  # a tag that is listed is known
        "wild_1.jpg": ({"dog"}, {"cat", "horse", "person"}),
    }


def test_a_photo_of_which_nothing_is_known_is_left_out(photos_of):
    assert tags_of(photos_of("a.jpg,cat\nb.jpg,unicorn\n", unknown={"b*": ("*",)})).keys() == {"a.jpg"}


def test_without_a_table_the_folders_are_the_tags(eight_photos, tiny_config, tmp_path):
    for folder in ("cat", "dog"):
        (tmp_path / folder).mkdir()
        shutil.copy(eight_photos / "photos" / f"{folder}.png", tmp_path / folder)
    config = tiny_config(sources=(SourceConfig(images=tmp_path),))
    photos = training_photos(config, vocabulary_of(config))
    # Were the other classes unknown, no photo would say what a class does not look like.
    assert tags_of(photos) == {"cat.png": ({"cat"}, set()), "dog.png": ({"dog"}, set())}
    assert all(photo.path.is_file() for photo in photos)


def test_sources_are_joined(eight_photos, source, tiny_config):
    second = SourceConfig(images=eight_photos / "photos", tags=eight_photos / "tags.csv", unknown={"*": ("*",)})
    config = tiny_config(sources=(source, second))
    photos = training_photos(config, vocabulary_of(config))
    assert len(photos) == 16
    assert [bool(photo.known.all()) for photo in photos] == [True] * 8 + [False] * 8


def test_nothing_to_train_on_is_told(photos_of, tiny_config):
    with pytest.raises(NoTrainingData, match="No tagged photo in"):
        photos_of("image,tags\n")
    config = tiny_config(sources=())
    with pytest.raises(NoTrainingData, match="No training source"):
        training_photos(config, vocabulary_of(config))


def test_no_mask_is_ever_read(tiny_config, monkeypatch):
    """Nothing in training can ask for a mask but by `images.read_mask`."""

    def refuse(*_args, **_options):
        raise AssertionError("training read a mask")

    monkeypatch.setattr("toco.model.photos.images.read_mask", refuse)
    config = tiny_config()
    data = TaggedPhotos(training_photos(config, vocabulary_of(config)), config)
    assert len([data[0, index] for index in range(len(data))]) == 8


# Samples


@pytest.fixture
def data_of(tiny_config):
    def make(**changes):
        config = tiny_config(**changes)
        return TaggedPhotos(training_photos(config, vocabulary_of(config)), config)

    return make


def same_sample(one, other):
    return all(np.array_equal(np.asarray(one[name]), np.asarray(other[name])) for name in one)


def test_a_sample_has_its_crop_box_tags_and_views(data_of):
    data = data_of()
    sample = data[0, 3]
    assert (sample["image"].shape, sample["image"].dtype) == ((3, 64, 64), torch.uint8)
    y0, y1, x0, x1 = sample["box"].tolist()
    assert 0 <= y0 < y1 <= 64
    assert 0 <= x0 < x1 <= 64
    assert sample["views"].shape == (3, 3, 64, 64)  # two global views and the source of the local crops
    assert len({sample["views"][k].sum().item() for k in range(3)}) == 3
    assert sample["tags"].tolist() == data.photos[3].tags.tolist() != [0, 0, 0, 0]
    assert sample["index"] == 3


def test_the_same_ticket_gives_the_same_sample(data_of):
    one, other = data_of(), data_of()
    for ticket in ((0, 2), (5, 2), (0, 7)):
        assert same_sample(one[ticket], other[ticket])
    assert not same_sample(one[0, 2], one[1, 2])  # each pass cuts afresh
    assert not same_sample(one[0, 2], data_of(seed=1)[0, 2])


@pytest.mark.parametrize("changes", [{"contrast": {"extra_views": False}}, {"loss": {"ctc": 0.0}}])
def test_without_extra_views_none_are_made(changes, data_of):
    assert data_of(**changes)[0, 0]["views"].shape == (0, 3, 64, 64)


def test_the_input_itself_may_be_jittered(data_of):
    still = {"contrast": {"extra_views": False}}
    plain, jittered = data_of(**still)[0, 1], data_of(**still, augmentation={"input_jitter": True})[0, 1]
    assert torch.equal(plain["box"], jittered["box"])
    assert not torch.equal(plain["image"], jittered["image"])


def test_cached_crops_are_cut_once_and_cycled_over(data_of):
    data = data_of(cached_crops=2, contrast={"extra_views": False})
    crops = [data[turn, 1]["image"] for turn in range(4)]
    assert torch.equal(crops[0], crops[2])
    assert torch.equal(crops[1], crops[3])
    assert not torch.equal(crops[0], crops[1])
    assert torch.equal(data_of(cached_crops=2, contrast={"extra_views": False})[2, 1]["image"], crops[0])


def test_cached_photos_are_read_once_and_shrunk(eight_photos, data_of, tmp_path, tiny_config):
    shutil.copytree(eight_photos / "photos", tmp_path / "photos")
    source = SourceConfig(images=tmp_path / "photos", tags=eight_photos / "tags.csv")
    data = data_of(sources=(source,), cache_side=64)
    first = data.pixels(2)
    assert max(first.shape[:2]) == 64
    shutil.rmtree(tmp_path / "photos")
    assert data.pixels(2) is first
    with pytest.raises(UnreadableImage):
        data.pixels(3)


def test_photos_are_never_decoded_larger_than_crops_need(data_of, tmp_path):
    cv2.imwrite(str(tmp_path / "large.png"), np.zeros((30, 3000, 3), np.uint8))
    (tmp_path / "tags.csv").write_text("large.png,cat\n")
    data = data_of(sources=(SourceConfig(images=tmp_path, tags=tmp_path / "tags.csv"),))
    assert max(data.pixels(0).shape) == SIDE_LIMIT


# Sampler


def tickets(count, **options):
    return list(itertools.islice(ResumableSampler(10, seed=3, **options), count))


def test_every_pass_shows_every_photo_once_in_a_new_order():
    found = tickets(30)
    for epoch in range(3):
        part = found[10 * epoch : 10 * (epoch + 1)]
        assert {number for number, _ in part} == {epoch}
        assert sorted(index for _, index in part) == list(range(10))
    orders = [[index for _, index in found[10 * epoch : 10 * (epoch + 1)]] for epoch in range(3)]
    assert orders[0] != orders[1] != orders[2]
    assert orders[0] != list(range(10))


@pytest.mark.parametrize("start", [0, 1, 9, 10, 23])
def test_the_sampler_goes_on_exactly_where_it_stopped(start):
    assert tickets(15, start=start) == tickets(start + 15)[start:]


@pytest.mark.parametrize("world", [2, 3, 4])
def test_processes_share_the_photos_without_overlap(world):
    shares = [tickets(10, rank=rank, world=world) for rank in range(world)]
    merged = [ticket for turn in zip(*shares, strict=True) for ticket in turn]
    assert merged == tickets(10 * world)
    whole_passes = Counter(index for _, index in merged)
    assert set(whole_passes.values()) == {world}
    for rank in range(world):
        assert tickets(5, rank=rank, world=world, start=5) == shares[rank][5:]


def test_another_seed_is_another_order():
    assert tickets(10) != list(itertools.islice(ResumableSampler(10, seed=4), 10))


def test_loader_processes_give_what_the_training_process_gives(data_of):
    data = data_of()
    batches = []
    for workers in (0, 1):
        loader = DataLoader(data, batch_size=3, sampler=ResumableSampler(8, seed=0), num_workers=workers)
        batches.append([batch for batch, _ in zip(loader, range(3), strict=False)])
        del loader
    for one, other in zip(*batches, strict=True):
        assert same_sample(one, other)


def test_classes_unknown_to_the_vocabulary_are_refused_where_they_are_asked_for():
    with pytest.raises(UnknownTag):
        VOC.subset(["hen"])


# Soft labels


@pytest.fixture
def soft_data_of(tiny_config, soft_folder):
    def make(**soft):
        config = tiny_config(soft_labels={"folder": soft_folder, **soft}, loss={"ctc": 0.0})
        photos = training_photos(config, vocabulary_of(config))
        return TaggedPhotos(photos, config, None, read_soft_labels(soft_folder))

    return make


def test_targets_are_cut_and_mirrored_with_their_photo(soft_data_of):
    data = soft_data_of(paste=0.0, mosaic=0.0)
    for index in range(len(data)):
        sample = data[3, index]
        targets = sample["targets"].float() / 255.0
        assert targets.shape == (5, 64, 64)
        sums = targets.sum(dim=0)
        padding = (sample["image"] == 0).all(dim=0)
        assert float(sums[~padding].mean()) > 0.95
        absent = [channel + 1 for channel in range(4) if not data.photos[index].tags[channel]]
        assert float(targets[absent].max()) == 0.0


def test_a_composed_sample_is_tagged_with_what_it_shows(soft_data_of):
    data = soft_data_of(paste=1.0, mosaic=0.5)
    several = 0
    for index in range(len(data)):
        sample = data[1, index]
        area = sample["targets"].float().mean(dim=(1, 2))[1:] / 255.0
        assert set(torch.nonzero(area > 0.004).flatten().tolist()) <= set(
            torch.nonzero(sample["tags"]).flatten().tolist()
        )
        several += int(sample["tags"].sum() > data.photos[index].tags.sum())
    assert several > 0


def test_objects_may_be_drawn_evenly_over_classes(soft_data_of):
    drawn = []
    for evenly in (0.0, 1.0):
        data = soft_data_of(paste_evenly=evenly)
        alone = [int(photo.tags.argmax()) if photo.tags.sum() == 1 else None for photo in data.photos]
        counts = Counter(alone[data._donor(np.random.default_rng(seed))] for seed in range(400))
        shares = [counts[channel] / 400 for channel in sorted({channel for channel in alone if channel is not None})]
        drawn.append((counts[None] / 400, max(shares) - min(shares)))
    assert drawn[1][0] == 0.0  # a photo of several things gives no object
    assert drawn[0][0] > 0.1
    assert drawn[1][1] < 0.1 < drawn[0][1]


@pytest.mark.parametrize("most", [0, 3])
def test_a_crop_gets_as_many_objects_as_are_asked_for_at_most(soft_data_of, monkeypatch, most):
    data = soft_data_of(paste=1.0, mosaic=0.0, pastes=most, paste_evenly=1.0, paste_sizes=(0.1, 0.3))
    asked = []
    monkeypatch.setattr(
        "toco.model.training.data.paste", lambda piece, cut, rng, *, sizes: asked.append(sizes) or piece
    )
    data[0, 0]
    assert asked == [(0.1, 0.3)] * most


def test_a_class_that_the_crop_hides_is_neither_there_nor_absent(soft_data_of, eight_photos):
    data = soft_data_of(paste=0.0, mosaic=0.0)
    hidden = 0
    for turn in range(20):
        sample = data[turn, 3]
        gone = (data.photos[3].tags > 0) & (sample["tags"] == 0)
        hidden += int(gone.any())
        assert (sample["known"][gone] == 0).all()
    assert hidden < 20


def test_composed_samples_can_be_made_again(soft_data_of):
    one, other = soft_data_of(), soft_data_of()
    assert all(same_sample(one[2, index], other[2, index]) for index in range(4))


def test_photos_of_rare_tags_are_drawn_more_often(photos_of):
    photos = photos_of("astronaut.png,person\ncat.png,cat\ncat_top.png,cat\ndog.png,cat\nhorses.png,\n")
    weights = sampling_weights(photos, 1.0)
    assert weights.sum() == pytest.approx(1.0)
    assert weights[0] == pytest.approx(3 * weights[1])
    assert weights[4] == pytest.approx(weights[1])
    assert len(set(sampling_weights(photos, 0.0).round(9).tolist())) == 1


def test_the_sampler_draws_by_weight_and_goes_on_where_it_stopped():
    weights = np.array([0.73, *[0.03] * 9])
    drawn = tickets(400, weights=weights)
    assert 0.63 < sum(index == 0 for _, index in drawn) / 400 < 0.83
    assert tickets(200, weights=weights, start=200) == drawn[200:]
