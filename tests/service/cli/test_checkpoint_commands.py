"""`toco import-checkpoint` and `toco verify` on a tiny network in the published layout."""

import numpy as np
import pytest
import torch

from toco.model.spec import read_spec
from toco.model.weights_io.checkpoint import load_model


@pytest.fixture
def published(tiny_model, tmp_path):
    """The tiny model as its authors would have published it."""
    network, _ = load_model(tiny_model)
    state = {f"module.{key.replace('encoder.vit.', 'encoder.')}": value for key, value in network.state_dict().items()}
    folder = tmp_path / "reference"
    folder.mkdir()
    torch.save(state, folder / "official_layout.pth")
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (1, 3, 64, 64), np.uint8)
    mean, std = (np.array(v, np.float32)[:, None, None] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.no_grad():
        classified, seg = network(torch.from_numpy((images / np.float32(255) - mean) / std))
    np.savez(
        folder / "expected.npz",
        image_uint8=images,
        tags=np.ones((1, 4), np.float32),
        cls=classified.logits.numpy(),
        seg=seg.numpy(),
    )
    return folder


def test_verify_prints_each_array_and_passes(toco, published):
    result = toco("verify", published)
    assert result.exit_code == 0, result.output
    assert "2 of 2 arrays match." in result.output
    assert "ok" in result.output


def test_verify_misses(toco, published):
    with np.load(published / "expected.npz") as arrays:
        content = dict(arrays)
    content["seg"] = content["seg"] * 1.01
    np.savez(published / "expected.npz", **content)
    result = toco("verify", published, "--heads", 2)
    assert result.exit_code == 1
    assert "MISS" in result.output
    assert "1 of 2 arrays match." in result.output


def test_verify_of_another_folder(toco, tmp_path):
    result = toco("verify", tmp_path)
    assert result.exit_code == 2
    assert "expected.npz" in result.stderr


def test_import(toco, published, tmp_path):
    path, out = published / "official_layout.pth", tmp_path / "model"
    result = toco(
        "import-checkpoint", path, "--out", out, "--classes", "cat, dog, horse, person", "--heads", 2, "--half"
    )
    assert result.exit_code == 0, result.output
    assert "4 classes" in result.output
    assert read_spec(out).vocabulary.names == ("cat", "dog", "horse", "person")


def test_import_says_what_is_wrong(toco, published, tmp_path):
    result = toco("import-checkpoint", published / "official_layout.pth", "--out", tmp_path / "model")
    assert result.exit_code == 2
    assert "has 4 classes, neither VOC's 20 nor COCO's 80" in result.stderr
    assert len(result.stderr.splitlines()) == 1
