"""Exported encoders: made once for each model, whole or not at all, by however many processes at once."""

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from toco.model.spec import read_spec
from toco.model.weights_io.exported_encoder import KEPT, exported_encoder, exported_name

pytest.importorskip("openvino")


@pytest.fixture
def spec(tiny_model):
    return read_spec(tiny_model)


def written(_, folder):
    folder.mkdir()
    (folder / "encoder.xml").write_text("whole")


def test_it_is_exported_once(spec, tmp_path):
    made = []

    def export(encoder, folder):
        made.append(encoder)
        written(encoder, folder)

    found = {exported_encoder(spec, tmp_path / "cache", lambda: "encoder", export=export) for _ in range(3)}
    assert made == ["encoder"]
    assert [folder.name for folder in found] == [exported_name(spec)]


def test_many_at_once_export_it_once(spec, tmp_path):
    made = []

    def export(encoder, folder):
        made.append(folder)
        written(encoder, folder)

    with ThreadPoolExecutor(6) as pool:
        runs = [pool.submit(exported_encoder, spec, tmp_path, lambda: None, export=export) for _ in range(12)]
    assert {run.result() for run in runs} == {tmp_path / exported_name(spec)}
    assert len(made) == 1


def test_an_export_that_breaks_off_is_never_found_half_there(spec, tmp_path):
    def broken(_, folder):
        folder.mkdir()
        (folder / "encoder.xml").write_text("ha")
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        exported_encoder(spec, tmp_path, lambda: None, export=broken)
    assert not (tmp_path / exported_name(spec)).exists()
    found = exported_encoder(spec, tmp_path, lambda: None, export=written)
    assert (found / "encoder.xml").read_text() == "whole"
    assert [path.name for path in tmp_path.iterdir() if path.is_dir()] == [exported_name(spec)]


def test_other_weights_or_another_backbone_are_another_export(spec):
    names = {
        exported_name(spec),
        exported_name(spec.model_copy(update={"weights_sha256": "0" * 64})),
        exported_name(spec.model_copy(update={"aux_layer": -2})),
        exported_name(spec.model_copy(update={"backbone": spec.backbone.model_copy(update={"image_size": 32})})),
    }
    assert len(names) == 4


def test_those_that_nobody_uses_make_room(spec, tmp_path):
    versions = [spec.model_copy(update={"weights_sha256": f"{number:064}"}) for number in range(KEPT + 1)]
    folders = []
    for age, version in enumerate(versions):
        folders.append(exported_encoder(version, tmp_path, lambda: None, export=written))
        os.utime(folders[-1], (age, age))
    used = exported_encoder(versions[1], tmp_path, lambda: None, export=written)  # the oldest that is left
    exported_encoder(spec, tmp_path, lambda: None, export=written)
    assert used.is_dir()
    assert [folder.is_dir() for folder in folders[:3]] == [False, True, False]
