"""A model's network on the runtime that is chosen; where that cannot take it, on torch, and that is said."""

import hashlib
import shutil
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from toco.model.labelling.labeler import Labeler
from toco.model.method.backbone import Encoder
from toco.model.method.device import Device
from toco.model.options import preset_options
from toco.model.runtimes import choose_runtime
from toco.model.spec import InvalidCheckpoint, read_spec
from toco.model.weights_io import network_loading
from toco.model.weights_io.exported_encoder import exported_name
from toco.model.weights_io.network_loading import FolderNetworks

pytest.importorskip("openvino")


def networks(folder, cache):
    return FolderNetworks(folder, Device("cpu"), cache=cache, threads=1)


def tokens_of(found, images):
    with torch.inference_mode():
        return found.encoder(images).patches


def test_both_runtimes_in_float32_give_the_same(tiny_model, tmp_path, close):
    found = networks(tiny_model, tmp_path)
    assert found.spec == read_spec(tiny_model)
    images = torch.randn(1, 3, 64, 48)
    with torch.inference_mode():
        (seen, decoded), (expected, expected_decoded) = (
            found.on_torch(runtime)(images) for runtime in ("openvino", "torch")
        )
    for one, other in zip((*seen, decoded), (*expected, expected_decoded), strict=True):
        close(one, other)


def test_each_shape_is_loaded_once_and_the_module_shares_the_encoder_of_the_graphs(tiny_model, tmp_path):
    found = networks(tiny_model, tmp_path)
    graphs, module = found.on_processor("openvino"), found.on_torch("openvino")
    assert found.on_processor("openvino") is graphs
    assert found.on_torch("openvino") is module
    assert module.encoder.graph is graphs.encoder
    assert found.on_processor("torch") is None


def test_the_encoder_in_8_bits_is_another_export_of_its_own(tiny_model, tmp_path):
    found = networks(tiny_model, tmp_path)
    for runtime in ("openvino-int8", "openvino"):
        assert found.on_processor(runtime) is not None
    kept = {path.name: (path / "encoder.bin").stat().st_size for path in tmp_path.glob("openvino-*")}
    assert set(kept) == {exported_name(found.spec, "openvino-int8"), exported_name(found.spec, "openvino")}
    assert kept[exported_name(found.spec, "openvino-int8")] < kept[exported_name(found.spec, "openvino")]


def test_damaged_weights_are_refused_even_where_the_encoder_is_exported(tiny_model, tmp_path):
    networks(tiny_model, tmp_path / "cache").on_processor("openvino")
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"ruin")
    with pytest.raises(InvalidCheckpoint, match="SHA-256"):
        networks(folder, tmp_path / "cache").on_processor("openvino")


def test_weights_that_are_replaced_meanwhile_are_not_taken_for_those_of_the_spec(tiny_model, tmp_path, monkeypatch):
    expected = networks(tiny_model, tmp_path / "cache").on_processor("openvino").heads
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    weights, make = folder / "weights.safetensors", network_loading._encoder_graph

    def replaced(*args, **options):
        save_file({name: value + 1 for name, value in load_file(weights).items()}, weights)
        return make(*args, **options)

    monkeypatch.setattr(network_loading, "_encoder_graph", replaced)
    found = networks(folder, tmp_path / "cache").on_processor("openvino").heads
    assert all((found[name] == value).all() for name, value in expected.items())


@pytest.mark.parametrize("file", ["encoder.xml", "encoder.bin", "encoder.json", "positions.safetensors"])
@pytest.mark.parametrize("runtime", ["openvino", "openvino-int8"])
def test_an_export_that_was_damaged_is_made_anew(runtime, file, tiny_model, tmp_path, caplog):
    whole = networks(tiny_model, tmp_path)
    images = torch.randn(1, 3, 64, 64)
    expected = tokens_of(whole.on_torch(runtime), images)
    (tmp_path / exported_name(whole.spec, runtime) / file).write_bytes(b"")
    again = networks(tiny_model, tmp_path)
    assert again.on_processor(runtime) is not None
    assert "made anew" in caplog.text
    assert torch.equal(tokens_of(again.on_torch(runtime), images), expected)


def test_where_the_cache_cannot_be_written_torch_is_taken_and_that_is_said_once(tiny_model, tmp_path, caplog):
    (tmp_path / "file").write_text("no folder")
    found = networks(tiny_model, tmp_path / "file")
    assert [found.on_processor("openvino") for _ in range(2)] == [None, None]
    assert isinstance(found.on_torch("openvino").encoder, Encoder)
    assert caplog.text.count("runs on torch") == 1


def test_what_openvino_does_not_know_runs_on_torch(tiny_model, tmp_path, monkeypatch, caplog):
    def unknown(*_, **__):
        raise RuntimeError("No conversion rule found for aten::odd")

    monkeypatch.setattr(network_loading, "_encoder_graph", unknown)
    assert Labeler.from_folder(tiny_model, device="cpu", cache=tmp_path, runtime="openvino").runtime == "torch"
    assert "aten::odd" in caplog.text


def without_the_last_convolution(state):
    del state["decoder.conv8.weight"]


def with_a_class_less(state):
    state["classifier.weight"] = state["classifier.weight"][1:].contiguous()


@pytest.mark.parametrize("ruin", [without_the_last_convolution, with_a_class_less])
def test_heads_that_do_not_fit_the_spec_are_refused(ruin, tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    weights = folder / "weights.safetensors"
    state = load_file(weights)
    ruin(state)
    save_file(state, weights)
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    networks(tiny_model, tmp_path).on_processor("openvino")
    # The encoder is exported already: nothing but the heads is looked at.
    exported = tmp_path / exported_name(read_spec(tiny_model))
    spec = read_spec(folder).model_copy(update={"weights_sha256": digest})
    (folder / "spec.json").write_text(spec.model_dump_json())
    exported.rename(tmp_path / exported_name(spec))
    with pytest.raises(InvalidCheckpoint, match=r"decoder\.conv8|classifier"):
        Labeler.from_folder(folder, device="cpu", cache=tmp_path, runtime="openvino")


def test_a_folder_that_was_replaced_since_is_not_taken_for_the_model_that_was_loaded(tiny_model, tmp_path):
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    labeler = Labeler.from_folder(folder, device="cpu", cache=tmp_path, runtime="openvino")
    spec = read_spec(folder)
    (folder / "spec.json").write_text(spec.model_copy(update={"classes": spec.classes[::-1]}).model_dump_json())
    with pytest.raises(InvalidCheckpoint, match="replaced"):
        labeler.network_for(preset_options("balanced", precision="float32"))


LABEL = """
import sys
from pathlib import Path
import numpy as np
from toco.model.labelling.labeler import Labeler
labeler = Labeler.from_folder(Path(sys.argv[1]), device="cpu", cache=Path(sys.argv[2]), runtime=sys.argv[3])
assert labeler.runtime != "torch"
labeler.label_one(np.zeros((48, 64, 3), np.uint8), ["cat"])
print([name for name in ("torch", "timm", "torchvision") if name in sys.modules])
"""


@pytest.mark.slow
def test_once_the_encoder_is_exported_labels_are_made_without_torch(tiny_model, tmp_path):
    runtime = choose_runtime()
    networks(tiny_model, tmp_path).on_processor(runtime)
    command = [sys.executable, "-c", LABEL, str(tiny_model), str(tmp_path), runtime]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize("usual", ["openvino-int8", "openvino"])
@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (preset_options("paper", precision="float32"), "torch"),
        (preset_options("balanced", precision="float32"), "torch"),
        (preset_options("paper"), "openvino"),
        (preset_options("balanced"), None),
    ],
)
def test_float32_runs_on_torch_and_paper_never_in_8_bits(usual, options, wanted, tiny_model, tmp_path):
    labeler = Labeler.from_folder(tiny_model, device="cpu", cache=tmp_path, runtime=usual)
    network = labeler.network_for(options)
    assert isinstance(network.encoder, Encoder) is (wanted == "torch")
    assert (network is labeler.network) is (wanted in (None, usual))
    assert labeler.network_for(options) is network


@pytest.mark.parametrize("precision", ["auto", "float32"])
def test_what_runs_on_torch_stays_there(precision, tiny_model, tmp_path):
    labeler = Labeler.from_folder(tiny_model, device="cpu", cache=tmp_path, runtime="torch")
    assert labeler.network_for(preset_options("paper", precision=precision)) is labeler.network
