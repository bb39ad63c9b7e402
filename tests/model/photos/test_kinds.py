"""The table of kinds: it fits the classes, and the script that made it makes it from WordNet's files."""

from toco.model.photos.classes import COCO, VOC, fold
from toco.model.photos.kinds import classes_of_kind
from toco.model.photos.wordnet.make_kinds import CLASSES, OTHER, TABLE, _read_senses, _read_synsets, table_lines


def test_every_class_of_the_table_is_one_of_coco():
    lines = [line.split("\t") for line in TABLE.read_text().splitlines()]
    assert {name for classes, _ in lines for name in classes.split("|")} <= {*COCO.names, OTHER}


def test_words_are_folded_and_stand_once():
    words = [word for line in TABLE.read_text().splitlines() for word in line.split("\t")[1].split()]
    assert all(word == fold(word) for word in words)
    assert len(words) == len(set(words))


def test_every_voc_class_and_nearly_every_coco_class_has_kinds():
    assert set(COCO.names) - set(CLASSES) == {"stop sign"}  # WordNet has no such sign
    assert all(COCO.find(name) in CLASSES for name in VOC.names)


def test_kinds_are_found_in_any_spelling():
    assert classes_of_kind("Border Collie") == (("dog",), True)
    assert classes_of_kind("boxer") == (("dog", "person"), True)
    assert classes_of_kind("crane") == (("bird",), False)
    assert classes_of_kind("mug") == ((), True)


def test_the_table_is_made_from_wordnets_files(tmp_path):
    (tmp_path / "data.noun").write_text(
        "  1 licence\n"
        '00000001 05 n 01 dog 0 001 ~ 00000002 n 0000 | a beast; "the dog barked"  \n'
        '00000002 05 n 02 terrier 0 border_terrier 0 002 @ 00000001 n 0000 ~i 00000003 n 0000 | "an insult to rats"  \n'
        "00000003 18 n 01 Rex 0 001 @i 00000002 n 0000 | a dog  \n"
        "00000004 06 n 01 pug 0 000 | a mill  \n"
        "00000005 05 n 01 pug 0 001 @ 00000001 n 0000 | a small dog  \n"
    )
    (tmp_path / "index.noun").write_text(
        "  1 licence\n"
        "dog n 1 1 ~ 1 1 00000001  \n"
        "terrier n 1 1 @ 1 0 00000002  \n"
        "rex n 1 1 @i 1 0 00000003  \n"
        "border_terrier n 1 1 @ 1 0 00000002  \n"
        "pug n 2 1 @ 2 0 00000004 00000005  \n"
    )
    synsets = dict(_read_synsets(tmp_path / "data.noun"))
    synsets["00000001"] = synsets["00000001"].__class__(
        file=5, kinds=("00000002", "00000005"), insult=False, instance=False
    )
    senses = dict(_read_senses(tmp_path / "index.noun"))
    lines = list(table_lines(synsets, senses, {"dog": (("dog", 1),)}, ()))
    assert lines == ["?|dog\tpug", "dog\tborderterrier dog terrier"]
