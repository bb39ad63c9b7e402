"""Vocabularies: VOC's and COCO's classes, tags in any spelling, mask indices, and what is refused."""

import pickle

import pytest

from toco.model.errors import InvalidOption, TocoError
from toco.model.photos.classes import COCO, VOC, ClassName, UnknownTag, Vocabulary, fold


def test_voc_has_its_twenty_classes_in_order():
    assert len(VOC) == 20
    assert VOC.indices == tuple(range(1, 21))
    assert (VOC.names[0], VOC.names[7], VOC.names[14], VOC.names[19]) == ("aeroplane", "cat", "person", "tvmonitor")
    assert VOC.name_of_index[0] == "background"
    assert VOC.name_of_index[8] == "cat"


def test_coco_has_its_eighty_classes_in_order_of_category_ids():
    pycocotools_order = ("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat")
    assert len(COCO) == 80
    assert COCO.names[:9] == pycocotools_order
    assert COCO.names[-1] == "toothbrush"


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("cat", "cat"), (" Cat ", "cat"), ("CAT", "cat"), ("potted plant", "pottedplant"),
        ("Potted-Plant", "pottedplant"), ("potted_plant", "pottedplant"), ("airplane", "aeroplane"),
        ("motorcycle", "motorbike"), ("TV/monitor", "tvmonitor"), ("couch", "sofa"),
    ],
)  # fmt: skip
def test_tags_are_found_in_any_spelling(spelling, name):
    assert VOC.names[VOC.channel(spelling)] == name
    assert spelling in VOC


def test_every_voc_class_is_known_to_coco_and_the_other_way_round_by_synonyms():
    assert all(name in COCO for name in VOC.names)


def test_an_unknown_tag_names_the_closest_and_the_whole_vocabulary():
    with pytest.raises(UnknownTag, match="Unknown tag 'hors'") as caught:
        VOC.channel("hors")
    assert "Did you mean 'horse'?" in caught.value.fix
    assert "aeroplane, bicycle" in caught.value.fix
    with pytest.raises(UnknownTag) as caught:
        VOC.channel("spaceship")
    assert "Did you mean" not in caught.value.fix


def test_channels_are_sorted_and_distinct():
    assert VOC.channels(["dog", "cat", "kitten"]) == (7, 11)
    assert VOC.channels([]) == ()


def test_unknown_tags_are_split_off_as_written():
    known, unknown = VOC.split_known(iter(["Unicorn", "dog", "yeti", "Unicorn"]))
    assert known == (11,)
    assert unknown == ("Unicorn", "yeti")


def test_a_subset_keeps_order_indices_and_synonyms():
    subset = VOC.subset(["horse", "cat"])
    assert subset.names == ("cat", "horse")
    assert subset.indices == (8, 13)
    assert subset.channel("pony") == 1


def test_own_names_count_from_one():
    vocabulary = Vocabulary.of_names(["hen", "goat"])
    assert vocabulary.indices == (1, 2)
    assert vocabulary == Vocabulary([ClassName("hen", 1), ClassName("goat", 2)])
    assert hash(vocabulary) == hash(Vocabulary.of_names(["hen", "goat"]))
    assert vocabulary != Vocabulary.of_names(["goat", "hen"])
    assert [entry.name for entry in vocabulary] == ["hen", "goat"]


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ([], "0 classes"),
        ([ClassName(str(n), 1) for n in range(255)], "255 classes"),
        ([ClassName("hen", 0)], "mask index 0"),
        ([ClassName("hen", 255)], "mask index 255"),
        ([ClassName("hen", 1), ClassName("Hen", 2)], "'Hen' names two classes"),
        ([ClassName("hen", 1, ("bird",)), ClassName("bird", 2)], "'bird' names two classes"),
        ([ClassName("hen", 1), ClassName("goat", 1)], "share one mask index"),
    ],
)
def test_a_vocabulary_that_is_ambiguous_is_refused(classes, message):
    with pytest.raises(InvalidOption, match=message):
        Vocabulary(classes)


def test_folding_ignores_case_and_separators():
    assert fold(" Potted_plant-Big\t") == "pottedplantbig"


def test_errors_name_what_is_wrong_and_what_to_do_and_cross_process_borders():
    error = UnknownTag("Unknown tag 'x'.", fix="Use 'y'.")
    copy = pickle.loads(pickle.dumps(error))
    assert isinstance(copy, UnknownTag)
    assert (copy.detail, copy.fix, copy.code, copy.kind) == (error.detail, error.fix, "unknown_tag", "invalid")
    assert str(copy) == "Unknown tag 'x'. Use 'y'."
    assert str(TocoError("Broken.")) == "Broken."
