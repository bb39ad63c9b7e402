"""Mappings: files of word and class, in any usual form; what does not fit is named."""

import pytest

from toco.model.photos.mapping import InvalidMapping, fold_mapping, parse_mapping, read_mapping


def test_mapping_files(tmp_path):
    path = tmp_path / "map.csv"
    path.write_bytes(b'\xef\xbb\xbfWord;Class\r\nHund;dog\r\n\r\n"sch\xc3\xb6n";\r\nHUND;dog\r\n')
    assert read_mapping(path) == {"hund": "dog", "schön": ""}
    assert parse_mapping(b"class,class\nHund,dog") == {"class": "class", "hund": "dog"}


def test_mappings_of_other_encodings():
    assert parse_mapping("word\tclass\nKätzchen\tcat\nschöner Hund\tdog\n".encode("cp1252"))["kätzchen"] == "cat"


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("Hund,dog\nHund,cat", "'Hund' stands for 'dog' and for 'cat'"),
        ("Hund\n", "line 1: 1 columns"),
        ("Hund,dog,2\n", "line 1: 3 columns"),
        (" ,dog\n", "A blank word"),
        ('"Hund,dog\n', "line 1"),
    ],
)
def test_a_mapping_that_does_not_fit_is_refused(text, match):
    with pytest.raises(InvalidMapping, match=match):
        parse_mapping(text.encode())


def test_a_missing_mapping_is_named(tmp_path):
    with pytest.raises(InvalidMapping, match=r"none\.csv"):
        read_mapping(tmp_path / "none.csv")


def test_a_mapping_of_too_many_words_is_refused():
    with pytest.raises(InvalidMapping, match="10,001 words"):
        fold_mapping((f"word {number}", "cat") for number in range(10_001))
