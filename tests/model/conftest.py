"""Fixtures of the model's tests: the reference arrays, a small network, real photos, devices and tolerances."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from toco.model.method.backbone import Encoder
from toco.model.method.network import ToCoNetwork
from toco.model.photos.images import read_image
from toco.model.reference_check import EXPECTED_FILE, WEIGHTS_FILE
from toco.model.weights_io.published_checkpoint import read_published

REFERENCE = Path(__file__).parents[1] / "reference" / "toco_tiny"
REFERENCE_HEADS = 3  # a state dict does not tell

# (relative, absolute) by dtype, for every comparison of an operator with its oracle.
TOLERANCES = {torch.float64: (1e-9, 1e-9), torch.float32: (1e-4, 1e-5), torch.bfloat16: (3e-2, 3e-2)}

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Tiny arrays gain nothing from threads; runners with several workers lose much by them."""
    torch.set_num_threads(1)
    cv2.setNumThreads(1)


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture(params=DEVICES)
def device(request) -> torch.device:
    return torch.device(request.param)


@pytest.fixture(params=[torch.float32, torch.float64, torch.bfloat16], ids=str)
def dtype(request) -> torch.dtype:
    return request.param


@pytest.fixture(scope="session")
def close() -> Callable[..., None]:
    """Assert that a result equals its oracle within the tolerance of its dtype."""

    def check(actual: Tensor, expected: Tensor | np.ndarray | float) -> None:
        relative, absolute = TOLERANCES[actual.dtype]
        expected = torch.as_tensor(expected if isinstance(expected, Tensor) else np.asarray(expected)).to(actual.dtype)
        torch.testing.assert_close(actual.detach().cpu(), expected, rtol=relative, atol=absolute)

    return check


@pytest.fixture(scope="session")
def expected() -> dict[str, Tensor]:
    """The reference arrays: inputs and outputs of the published code."""
    with np.load(REFERENCE / EXPECTED_FILE) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


@pytest.fixture(scope="session")
def matches() -> Callable[[Tensor, Tensor], None]:
    """Assert that a map, loss or gradient is within the reference's tolerance: 1e-4, relative to the largest value."""

    def check(actual: Tensor, expected: Tensor) -> None:
        assert actual.shape == expected.shape
        assert float((actual.detach().double() - expected.double()).abs().max()) <= 1e-4 * float(expected.abs().max())

    return check


@pytest.fixture(scope="session")
def same_labels() -> Callable[[Tensor, Tensor], None]:
    """Assert that labels are equal on 99.9 % of the pixels (ties at thresholds)."""

    def check(actual: Tensor, expected: Tensor) -> None:
        assert actual.shape == expected.shape
        assert float((actual == expected).double().mean()) >= 0.999

    return check


@pytest.fixture(scope="session")
def reference_network() -> ToCoNetwork:
    """The network whose weights the reference folder holds."""
    checkpoint = read_published(REFERENCE / WEIGHTS_FILE)
    return checkpoint.network(checkpoint.spec("reference", heads=REFERENCE_HEADS))


@pytest.fixture(scope="session")
def network() -> ToCoNetwork:
    """A small network of five classes with random weights and an 80-pixel grid (5 x 5 tokens)."""
    arguments = {"embed_dim": 24, "depth": 4, "num_heads": 2, "mlp_ratio": 2.0}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        encoder = Encoder("vit_tiny_patch16_224", image_size=80, arguments=arguments)
        return ToCoNetwork(encoder, 5).eval()


@pytest.fixture(scope="session")
def photo_folder(samples, tmp_path_factory) -> Path:
    """The five sample photos, shrunk to a long side of 96 pixels: landscape and portrait."""
    folder = tmp_path_factory.mktemp("photos")
    for path in sorted(samples.glob("*.jpg")):
        pixels = read_image(path, long_side=96).pixels
        if path.stem == "cat":
            pixels = np.rot90(pixels)
        cv2.imwrite(str(folder / f"{path.stem}.png"), pixels[..., ::-1])
    return folder
