"""Soft labels on disk: whole or not there at all, and each photo's by its name."""

import json

import numpy as np
import pytest

from toco.model.training.soft_labels import (
    INDEX_FILE,
    MAPS_FILE,
    InvalidSoftLabels,
    read_soft_labels,
    write_soft_labels,
)


def labelled():
    halves = np.full((3, 8, 8), 1 / 3)
    return [("a.jpg", ("cat", "dog"), halves), ("b.jpg", (), np.ones((1, 8, 8)))]


def test_each_photo_finds_its_maps_again(tmp_path):
    write_soft_labels(tmp_path, labelled())
    read = read_soft_labels(tmp_path)
    names, maps = read.of("a.jpg")
    assert names == ("cat", "dog")
    assert maps.shape == (3, 8, 8)
    assert (np.asarray(maps) == 85).all()
    assert read.of("b.jpg")[0] == ()
    assert read.of("c.jpg") is None


def test_the_maps_stay_on_disk(tmp_path):
    write_soft_labels(tmp_path, labelled())
    assert isinstance(read_soft_labels(tmp_path).maps, np.memmap)


def test_no_photo_at_all_is_still_a_folder_of_soft_labels(tmp_path):
    write_soft_labels(tmp_path, [])
    assert read_soft_labels(tmp_path).rows == {}


def test_a_run_that_stopped_half_way_leaves_none(tmp_path):
    def stopped():
        yield labelled()[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_soft_labels(tmp_path, stopped())
    with pytest.raises(InvalidSoftLabels):
        read_soft_labels(tmp_path)


def test_parts_that_do_not_belong_together_are_refused(tmp_path):
    write_soft_labels(tmp_path, labelled())
    (tmp_path / INDEX_FILE).write_text(json.dumps({"a.jpg": [0, ["cat"]]}))
    with pytest.raises(InvalidSoftLabels, match="does not fit"):
        read_soft_labels(tmp_path)
    (tmp_path / MAPS_FILE).write_bytes(b"no array")
    with pytest.raises(InvalidSoftLabels):
        read_soft_labels(tmp_path)
