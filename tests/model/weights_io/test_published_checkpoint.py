"""Published checkpoints become model folders, or one sentence says what is wrong with the file."""

import pickle
from pathlib import Path

import pytest
import torch

from toco.model.method.network import ToCoNetwork
from toco.model.options import COCO_THRESHOLDS, VOC_THRESHOLDS
from toco.model.photos.classes import COCO, VOC
from toco.model.spec import BackboneSpec, InvalidCheckpoint, ModelSpec
from toco.model.weights_io.checkpoint import load_model
from toco.model.weights_io.published_checkpoint import import_published, read_published

SMALL = {"embed_dim": 64, "depth": 3, "num_heads": 1, "mlp_ratio": 2.0}


def published_state(classes: int = 20, **arguments) -> dict[str, torch.Tensor]:
    """A state dict in the published layout with all the parts that the files carry."""
    spec = ModelSpec(
        name="small",
        backbone=BackboneSpec(name="vit_base_patch16_224", image_size=64, arguments={**SMALL, **arguments}),
        classes=COCO.classes[:classes],
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        state = ToCoNetwork.from_spec(spec).state_dict()
    renamed = {f"module.{key.replace('encoder.vit.', 'encoder.')}": value for key, value in state.items()}
    extra = ["encoder.head.weight", "proj_head.mlp.0.weight", "proj_head_t.last_layer.weight_g"]
    return renamed | {f"module.{key}": torch.ones(2) for key in extra}


def save(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


@pytest.mark.parametrize(
    ("classes", "vocabulary", "thresholds"), [(20, VOC, VOC_THRESHOLDS), (80, COCO, COCO_THRESHOLDS)]
)
def test_voc_and_coco_checkpoints(classes, vocabulary, thresholds, tmp_path):
    state = published_state(classes)
    path = save(tmp_path / "toco.pth", state)
    spec = import_published(path, tmp_path / "model")
    network, read = load_model(tmp_path / "model")
    assert read == spec
    assert spec.name == "toco"
    assert spec.vocabulary == vocabulary
    assert spec.thresholds == thresholds
    assert spec.backbone.image_size == 64
    assert spec.backbone.arguments == {**SMALL, "patch_size": 16}
    assert spec.provenance["imported_from"] == "toco.pth"
    assert len(spec.provenance["sha256"]) == 64
    torch.testing.assert_close(network.encoder.vit.pos_embed.data, state["module.encoder.pos_embed"])
    torch.testing.assert_close(network.decoder.conv7.weight.data, state["module.decoder.conv7.weight"])


def test_own_classes_names_and_heads(tmp_path):
    path = save(tmp_path / "own.pth", {"state_dict": published_state(2)})
    spec = import_published(path, tmp_path / "model", name="farm", names=["hen", "goat"], heads=4, half=True)
    assert spec.vocabulary.names == ("hen", "goat")
    assert spec.name == "farm"
    assert spec.backbone.arguments["num_heads"] == 4
    checkpoint = read_published(path)
    assert (checkpoint.classes, checkpoint.width) == (2, 64)


class Evil:
    """Unpickling this runs code."""

    def __reduce__(self):
        return (Path.write_text, (Path("owned"), ""))


def without(state: dict, part: str) -> dict:
    return {key: value for key, value in state.items() if part not in key}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (Evil, "more than tensors"),
        (lambda: [1, 2], "not a state dict"),
        (lambda: {"epoch": 3}, "not a state dict"),
        (lambda: {"weight": torch.ones(2)}, "holds no encoder, no classifier"),
        (lambda: without(published_state(), ".classifier.weight"), "holds no classifier"),
        (lambda: without(published_state(), "patch_embed"), "no plain ViT"),
        (lambda: without(published_state(), "conv8"), "misses tensor 'decoder.conv8.weight'"),
        (lambda: published_state() | {"module.decoder.conv9.weight": torch.ones(1)}, "conv9.weight' too many"),
        (lambda: published_state() | {"module.decoder.conv8.weight": torch.ones(1)}, "of shape"),
        (lambda: published_state(3), "3 classes, neither"),
        (lambda: published_state() | {"module.classifier.weight": torch.ones(())}, "no 1x1 convolution"),
        (lambda: published_state() | {"module.encoder.pos_embed": torch.ones(3)}, "no plain ViT"),
        (lambda: published_state() | {"module.encoder.cls_token": torch.full((1, 1, 64), torch.nan)}, "no finite"),
        (lambda: published_state() | {"module.encoder.cls_token": torch.ones(1, 1, 64).int()}, "no finite, dense"),
        (lambda: published_state() | {"module.encoder.cls_token": torch.ones(1, 1, 64, dtype=torch.cfloat)}, "dense"),
    ],
)
def test_files_that_do_not_fit_say_why(content, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = save(tmp_path / "bad.pth", content())
    with pytest.raises(InvalidCheckpoint, match=message) as caught:
        import_published(path, tmp_path / "model")
    assert "bad.pth" in caught.value.detail
    assert caught.value.fix
    assert not (tmp_path / "owned").exists()
    assert not (tmp_path / "model").exists()


def test_files_that_are_no_checkpoint(tmp_path):
    empty, text, plain = tmp_path / "empty.pth", tmp_path / "text.pth", tmp_path / "plain.pth"
    empty.write_bytes(b"")
    text.write_text("hello")
    plain.write_bytes(b"PK\x03\x04 and then nothing")
    for path in (empty, text, plain):
        with pytest.raises(InvalidCheckpoint, match="no PyTorch file"):
            read_published(path)
    plain.write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(InvalidCheckpoint):
        read_published(plain)
    with pytest.raises(InvalidCheckpoint, match="cannot be read"):
        read_published(tmp_path / "none.pth")


def test_running_out_of_memory_is_not_called_damage(tmp_path, monkeypatch):
    def no_memory(*_, **__):
        raise MemoryError

    path = save(tmp_path / "a.pth", {})
    monkeypatch.setattr(torch, "load", no_memory)
    with pytest.raises(MemoryError):
        read_published(path)


def test_class_names_must_fit(tmp_path):
    with pytest.raises(InvalidCheckpoint, match="20 classes, 1 names"):
        import_published(save(tmp_path / "a.pth", published_state()), tmp_path / "model", names=["cat"])
