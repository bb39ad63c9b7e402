"""Words: what each means to a vocabulary and why; what is ambiguous or only close is suggested, never taken."""

import pytest

from toco.model.photos.classes import COCO, VOC, Vocabulary
from toco.model.photos.mapping import fold_mapping
from toco.model.photos.understanding import understand, understand_all


@pytest.mark.parametrize(
    ("word", "name", "why"),
    [
        ("cat", "cat", "exact"), (" CAT ", "cat", "exact"), ("Potted-Plant", "pottedplant", "exact"),
        ("dining_table", "diningtable", "exact"), ("kitten", "cat", "synonym"), ("TV", "tvmonitor", "synonym"),
        ("cats", "cat", "plural"), ("Persons", "person", "plural"), ("women", "person", "plural"),
        ("Buses", "bus", "plural"), ("oxen", "cow", "kind"), ("dining tables", "diningtable", "plural"),
        ("kitty", "cat", "kind"), ("tabby", "cat", "kind"), ("Persian cat", "cat", "kind"),
        ("boy", "person", "kind"), ("farmers", "person", "kind"), ("terrier", "dog", "kind"),
        ("border-collie", "dog", "kind"), ("sparrows", "bird", "kind"), ("taxi", "car", "kind"),
        ("truck", None, "unknown"), ("mug", None, "unknown"), ("Hund", None, "unknown"), ("", None, "unknown"),
        ("42", None, "unknown"),
    ],
)  # fmt: skip
def test_words_are_understood_as_voc_classes(word, name, why):
    found = understand(word, VOC)
    assert (found.written, found.understood, found.why) == (word, name, why)


def test_a_truck_is_a_class_of_coco_and_no_car_of_voc():
    assert understand("trucks", COCO).understood == "truck"
    assert understand("trucks", VOC).is_open


@pytest.mark.parametrize("name", COCO.names)
def test_every_class_of_coco_is_itself(name):
    assert understand(name, COCO).why == "exact"


@pytest.mark.parametrize("word", ["ski", "scissor"])
def test_the_singular_of_a_class_that_is_named_in_the_plural(word):
    assert understand(word, COCO).why == "plural"


@pytest.mark.parametrize(
    ("word", "suggestions"),
    [("boxer", ("dog", "person")), ("crane", ("bird",)), ("ducks", ("bird",)), ("coach", ("bus", "person"))],
)
def test_a_word_that_may_mean_something_else_is_asked_about(word, suggestions):
    found = understand(word, VOC)
    assert (found.understood, found.why, found.suggestions) == (None, "ambiguous", suggestions)


@pytest.mark.parametrize(
    ("word", "close"), [("hors", "horse"), ("dgo", "dog"), ("kittne", "cat"), ("persom", "person")]
)
def test_a_close_spelling_is_suggested_and_not_taken(word, close):
    found = understand(word, VOC)
    assert (found.understood, found.why, found.suggestions) == (None, "unknown", (close,))


def test_nothing_far_off_is_suggested():
    assert all(not understand(word, VOC).suggestions for word in ("mug", "Hund", "rat", "spaceship"))


def test_a_kind_of_two_classes_of_one_vocabulary_is_asked_about():
    found = understand("mallard", Vocabulary.of_names(["bird", "duck", "person"]))
    assert (found.understood, found.why, found.suggestions) == (None, "ambiguous", ("bird", "duck"))


def test_a_kind_of_a_class_that_the_model_lacks_is_unknown():
    assert understand("farmer", Vocabulary.of_names(["man", "woman"])).why == "unknown"


def test_a_word_that_the_model_knows_by_name_is_that_whatever_it_is_a_kind_of():
    assert understand("terriers", Vocabulary.of_names(["dog", "terrier"])).understood == "terrier"


def test_the_users_mapping_comes_first():
    mapping = fold_mapping([("Hund", "dog"), ("cat", "Person"), ("K-17", "ponies"), ("nice", ""), ("Maus", "mouse")])
    found = understand_all(["HUND", "cat", "k 17", "Nice", "Maus", "cat"], VOC, mapping)
    assert [(tag.written, tag.understood, tag.why) for tag in found] == [
        ("HUND", "dog", "mapping"),
        ("cat", "person", "mapping"),
        ("k 17", "horse", "mapping"),
        ("Nice", None, "mapping"),
        ("Maus", None, "unknown"),
    ]
    assert [tag.is_open for tag in found] == [False, False, False, False, True]
