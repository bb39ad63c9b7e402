"""Model folders: what is saved is what is loaded; anything else is refused in one sentence, nothing is unpickled."""

import hashlib
import json
import pickle
import shutil
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from toco.model.crf.settings import PSEUDO_MASK_CRF
from toco.model.method.network import ToCoNetwork
from toco.model.spec import SPEC_FILE, WEIGHTS_FILE, BackboneSpec, InvalidCheckpoint, ModelSpec, read_spec
from toco.model.weights_io.checkpoint import fit_state, load_model, save_model


@pytest.fixture
def folder(tiny_model, tmp_path):
    """A copy of the tiny model that a test may spoil."""
    return Path(shutil.copytree(tiny_model, tmp_path / "model"))


def change_spec(folder, **changes):
    path = folder / SPEC_FILE
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def rehash(folder):
    """Make the spec vouch for the weights file as it is now."""
    change_spec(folder, weights_sha256=hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest())


def change_weights(folder, change):
    state = load_file(folder / WEIGHTS_FILE)
    change(state)
    save_file(state, folder / WEIGHTS_FILE)
    rehash(folder)


def test_what_is_saved_is_loaded(tmp_path, tiny_model):
    network, spec = load_model(tiny_model)
    written = save_model(tmp_path / "a" / "b", network, spec)
    again, read = load_model(tmp_path / "a" / "b")
    assert read == written == spec
    assert not again.training
    for (name, value), (same, other) in zip(network.state_dict().items(), again.state_dict().items(), strict=True):
        assert name == same
        assert torch.equal(value, other)


def test_half_precision_is_half_the_size_and_loads_as_float32(tmp_path, tiny_model):
    network, spec = load_model(tiny_model)
    save_model(tmp_path, network, spec, half=True)
    assert (tmp_path / WEIGHTS_FILE).stat().st_size < 0.55 * (tiny_model / WEIGHTS_FILE).stat().st_size
    again, _ = load_model(tmp_path)
    for value, other in zip(network.state_dict().values(), again.state_dict().values(), strict=True):
        assert other.dtype == torch.float32
        assert torch.equal(value.half().float(), other)
    save_model(tmp_path / "twice", again, spec, half=True)
    assert (tmp_path / "twice" / WEIGHTS_FILE).read_bytes() == (tmp_path / WEIGHTS_FILE).read_bytes()


def test_one_changed_byte_is_noticed(folder):
    path = folder / WEIGHTS_FILE
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(InvalidCheckpoint, match="has SHA-256") as caught:
        load_model(folder)
    assert read_spec(folder).weights_sha256[:12] in caught.value.detail


class Evil:
    """Unpickling this runs code."""

    def __reduce__(self):
        return (Path.write_text, (Path("owned"), ""))


@pytest.mark.parametrize("write", [pickle.dumps, lambda content: b"PK\x03\x04" + pickle.dumps(content)])
def test_a_pickle_under_the_name_of_the_weights_is_never_opened(write, folder, monkeypatch):
    monkeypatch.chdir(folder)
    (folder / WEIGHTS_FILE).write_bytes(write(Evil()))
    rehash(folder)
    with pytest.raises(InvalidCheckpoint, match="is not safetensors"):
        load_model(folder)
    assert not (folder / "owned").exists()


def test_a_pth_under_the_name_of_the_weights_is_never_opened(folder):
    torch.save({"weight": torch.ones(2)}, folder / WEIGHTS_FILE)
    rehash(folder)
    with pytest.raises(InvalidCheckpoint, match="is not safetensors"):
        load_model(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("classifier.weight"), "misses tensor 'classifier.weight'"),
        (lambda state: state.update(extra=torch.ones(1)), "tensor 'extra' too many"),
        (
            lambda state: state.update({"decoder.conv8.weight": torch.ones(7, 512, 1, 1)}),
            r"'decoder.conv8.weight' of shape \(7, 512, 1, 1\), not \(5, 512, 1, 1\)",
        ),
    ],
)
def test_tensors_that_do_not_fit_are_named(change, message, folder):
    change_weights(folder, change)
    with pytest.raises(InvalidCheckpoint, match=message) as caught:
        load_model(folder)
    assert caught.value.fix


def test_another_number_of_classes_does_not_fit(folder):
    change_spec(folder, classes=json.loads((folder / SPEC_FILE).read_text())["classes"][:2])
    with pytest.raises(InvalidCheckpoint, match="of shape"):
        load_model(folder)


def test_a_folder_without_weights_says_so(folder):
    (folder / WEIGHTS_FILE).unlink()
    with pytest.raises(InvalidCheckpoint, match="No such file"):
        load_model(folder)


@pytest.mark.parametrize("part", ["", SPEC_FILE])
def test_what_is_no_model_folder_says_so(part, tmp_path):
    with pytest.raises(InvalidCheckpoint, match=f"No {SPEC_FILE}") as caught:
        load_model(tmp_path / part)
    assert "toco import-checkpoint" in caught.value.fix


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"format": 2}, "at 'format'"),
        ({"classes": [{"name": "cat", "index": 300}]}, "'cat' has mask index 300"),
        ({"classes": []}, "0 classes"),
        ({"thresholds": {"high": 0.2, "low": 0.3}}, "at 'thresholds'"),
        ({"input_size": 5}, "at 'input_size'"),
        ({"colour": "red"}, "at 'colour'"),
        ({"pseudo_mask_crf": {"iterations": 3}}, "at 'pseudo_mask_crf"),
        ({"pseudo_mask_crf": asdict(PSEUDO_MASK_CRF) | {"gaussian_sxy": -1}}, "gaussian_sxy"),
    ],
)
def test_a_spec_that_does_not_fit_says_what(changes, what, folder):
    change_spec(folder, **changes)
    with pytest.raises(InvalidCheckpoint, match=f"does not fit.*{what}") as caught:
        load_model(folder)
    assert SPEC_FILE in caught.value.detail


def test_a_spec_that_is_no_json_is_refused(folder):
    (folder / SPEC_FILE).write_bytes(b"\x00not json")
    with pytest.raises(InvalidCheckpoint, match="does not fit"):
        read_spec(folder)


def test_the_spec_names_the_version_and_the_vocabulary(tiny_model):
    spec = read_spec(tiny_model)
    assert spec.version == f"tiny@{spec.weights_sha256[:12]}"
    assert spec.vocabulary.indices == (8, 12, 13, 15)  # VOC's own
    assert spec.vocabulary.channel("kitten") == 0  # synonyms travel with the weights


def test_a_spec_round_trips_through_json():
    spec = ModelSpec(
        name="farm",
        backbone=BackboneSpec(name="vit_tiny_patch16_224", arguments={"depth": 2}),
        classes=({"name": "hen", "index": 7, "synonyms": ("chicken",)},),
        licence="CC0-1.0",
        provenance={"steps": 10},
    )
    assert ModelSpec.model_validate_json(spec.model_dump_json()) == spec


def test_a_state_is_cast_to_float32(tiny_model):
    _, spec = load_model(tiny_model)
    network = ToCoNetwork.from_spec(spec)
    state = {name: value.double() * 2 for name, value in network.state_dict().items()}
    fit_state(network, state, "here")
    assert all(torch.equal(value, state[name].float()) for name, value in network.state_dict().items())
