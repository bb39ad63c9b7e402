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
    training_photos,
    vocabulary_of,
)

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
    sample = data_of()[0, 3]
    assert (sample["image"].shape, sample["image"].dtype) == ((3, 64, 64), torch.uint8)
    y0, y1, x0, x1 = sample["box"].tolist()
    assert 0 <= y0 < y1 <= 64
    assert 0 <= x0 < x1 <= 64
    assert sample["views"].shape == (3, 3, 64, 64)  # two global views and the source of the local crops
    assert len({sample["views"][k].sum().item() for k in range(3)}) == 3
    assert sample["tags"].tolist() == [0, 0, 0, 1] or sample["tags"].sum() >= 1
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
