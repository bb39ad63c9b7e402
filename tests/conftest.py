"""Fixtures that several floors share."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from toco.service.one_machine.embedded import EmbeddedServer

SAMPLES = Path(__file__).parents[1] / "samples"


@pytest.fixture(scope="session")
def samples() -> Path:
    return SAMPLES


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedServer]:
    """One real server for the whole session; tests keep apart by flushing or by their own job ids."""
    server = EmbeddedServer(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder: three small blocks, random weights, four classes with VOC's indices and synonyms."""
    import torch

    from toco.model.method.network import ToCoNetwork
    from toco.model.photos.classes import VOC
    from toco.model.spec import BackboneSpec, ModelSpec
    from toco.model.weights_io.checkpoint import save_model

    arguments = {"embed_dim": 32, "depth": 3, "num_heads": 2, "mlp_ratio": 2.0}
    spec = ModelSpec(
        name="tiny",
        backbone=BackboneSpec(name="vit_base_patch16_224", image_size=64, arguments=arguments),
        classes=VOC.subset(("cat", "dog", "horse", "person")).classes,
        input_size=64,
    )
    folder = tmp_path_factory.mktemp("tiny-model")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        save_model(folder, ToCoNetwork.from_spec(spec), spec)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of four photos of 48 x 64 pixels, one of them broken, one in a folder of its own."""
    rng = np.random.default_rng(0)
    folder = tmp_path / "photos"
    (folder / "farm").mkdir(parents=True)
    for name in ("a.jpg", "b.png", "farm/c.jpg"):
        blocks = Image.fromarray(rng.integers(0, 256, (4, 4, 3), np.uint8))
        blocks.resize((64, 48), Image.Resampling.NEAREST).save(folder / name)
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 and no more")
    return folder
