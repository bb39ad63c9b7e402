"""A model's network on the runtime that is chosen; where that cannot take it, on torch, and that is said."""

import shutil
import subprocess
import sys

import pytest
import torch

from toco.model.labelling.labeler import Labeler
from toco.model.method.backbone import Encoder
from toco.model.options import preset_options
from toco.model.runtimes import choose_runtime
from toco.model.spec import InvalidCheckpoint, read_spec
from toco.model.weights_io import network_loading
from toco.model.weights_io.exported_encoder import exported_name
from toco.model.weights_io.network_loading import load_network

pytest.importorskip("openvino")


def loaded(folder, cache, runtime="openvino"):
    return load_network(folder, runtime, cache=cache, dtype=None, threads=1)


def test_both_runtimes_in_float32_give_the_same(tiny_model, tmp_path, close):
    exact, spec, name = loaded(tiny_model, tmp_path, "torch")
    assert (name, spec) == ("torch", read_spec(tiny_model))
    network, spec, name = loaded(tiny_model, tmp_path)
    assert (name, spec) == ("openvino", read_spec(tiny_model))
    images = torch.randn(1, 3, 64, 48)
    with torch.inference_mode():
        (found, decoded), (expected, expected_decoded) = network(images), exact(images)
    for one, other in zip((*found, decoded), (*expected, expected_decoded), strict=True):
        close(one, other)


def test_the_encoder_in_8_bits_is_another_export_of_its_own(tiny_model, tmp_path):
    spec = read_spec(tiny_model)
    assert [loaded(tiny_model, tmp_path, runtime)[2] for runtime in ("openvino-int8", "openvino")] == [
        "openvino-int8",
        "openvino",
    ]
    kept = {path.name: (path / "encoder.bin").stat().st_size for path in tmp_path.glob("openvino-*")}
    assert set(kept) == {exported_name(spec, "openvino-int8"), exported_name(spec, "openvino")}
    assert kept[exported_name(spec, "openvino-int8")] < kept[exported_name(spec, "openvino")]


def test_damaged_weights_are_refused_even_where_the_encoder_is_exported(tiny_model, tmp_path):
    loaded(tiny_model, tmp_path / "cache")
    folder = shutil.copytree(tiny_model, tmp_path / "model")
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"ruin")
    with pytest.raises(InvalidCheckpoint, match="SHA-256"):
        loaded(folder, tmp_path / "cache")


@pytest.mark.parametrize("file", ["encoder.xml", "encoder.bin", "encoder.json", "positions.safetensors"])
@pytest.mark.parametrize("runtime", ["openvino", "openvino-int8"])
def test_an_export_that_was_damaged_is_made_anew(runtime, file, tiny_model, tmp_path, caplog):
    whole, spec, _ = loaded(tiny_model, tmp_path, runtime)
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        expected = whole.encoder(images).patches
    (tmp_path / exported_name(spec, runtime) / file).write_bytes(b"")
    network, _, name = loaded(tiny_model, tmp_path, runtime)
    assert name == runtime
    assert "made anew" in caplog.text
    with torch.inference_mode():
        assert torch.equal(network.encoder(images).patches, expected)


def test_where_the_cache_cannot_be_written_torch_is_taken(tiny_model, tmp_path, caplog):
    (tmp_path / "file").write_text("no folder")
    network, _, name = loaded(tiny_model, tmp_path / "file")
    assert name == "torch"
    assert isinstance(network.encoder, Encoder)
    assert "runs on torch" in caplog.text


def test_what_openvino_does_not_know_runs_on_torch(tiny_model, tmp_path, monkeypatch, caplog):
    def unknown(*_):
        raise RuntimeError("No conversion rule found for aten::odd")

    monkeypatch.setattr(network_loading, "_openvino_encoder", unknown)
    assert loaded(tiny_model, tmp_path)[2] == "torch"
    assert "aten::odd" in caplog.text


SECOND_START = """
import sys
from pathlib import Path
from toco.model.labelling.labeler import Labeler
assert Labeler.from_folder(Path(sys.argv[1]), device="cpu", cache=Path(sys.argv[2])).runtime != "torch"
print([name for name in ("timm", "torchvision") if name in sys.modules])
"""


@pytest.mark.slow
def test_an_exported_encoder_starts_without_timm(tiny_model, tmp_path):
    loaded(tiny_model, tmp_path, choose_runtime())
    command = [sys.executable, "-c", SECOND_START, str(tiny_model), str(tmp_path)]
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
