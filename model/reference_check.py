"""The reference check: every array of a folder laid out like `reference/toco_tiny`, computed anew and compared.

The folder holds `official_layout.pth` (weights in the published layout) and `expected.npz` (inputs and outputs of the
published code). Each step starts from the reference's own inputs, so that one miss does not spread to the next.
"""

import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from toco.model.errors import TocoError
from toco.model.method.cams import gate, label_with_ignore, multi_scale_cams, plain_label, region_mask, resize
from toco.model.method.network import Classified, ToCoNetwork, normalise_images
from toco.model.method.par import par
from toco.model.method.refined_label import refined_label
from toco.model.spec import IMAGENET_MEAN, IMAGENET_STD
from toco.model.training.config import ScheduleConfig
from toco.model.training.losses import class_token_contrast, patch_token_contrast, segmentation_loss
from toco.model.training.schedule import learning_rate_factor
from toco.model.weights_io.published_checkpoint import PublishedCheckpoint, read_published

WEIGHTS_FILE: Final = "official_layout.pth"
EXPECTED_FILE: Final = "expected.npz"

TOLERANCE: Final = 1e-4
"""Largest difference of maps, losses and gradients, as a share of the largest magnitude of the expected array."""

LABEL_TOLERANCE: Final = 1e-3
"""Largest share of pixels whose label differs (ties at thresholds)."""

_LABELS: Final = frozenset({"cam_label", "cam_label_boxed", "roi_mask", "refined_label", "ptc_label"})

Arrays = dict[str, npt.NDArray[Any]]


class InvalidReference(TocoError):
    """A folder is not laid out like the reference."""

    code = "invalid_reference"
    kind = "invalid"


@dataclass(frozen=True, slots=True)
class Comparison:
    """One array against its expectation.

    Attributes:
        name: of the array.
        error: largest difference as a share of the largest magnitude; for labels the share of pixels that differ.
        tolerance: the most that `error` may be.
    """

    name: str
    error: float
    tolerance: float

    @property
    def passed(self) -> bool:
        """Whether the array matches; NaN does not."""
        return self.error <= self.tolerance


def check_reference(folder: Path, *, heads: int | None = None) -> list[Comparison]:
    """Compare every output array that a reference folder holds.

    Args:
        folder: laid out like `reference/toco_tiny`.
        heads: number of attention heads, which a state dict does not tell; None tries the divisors of the width and
            takes the one whose outputs come closest.

    Raises:
        InvalidReference: files or input arrays are missing.
        InvalidCheckpoint: the weights do not fit the published layout.
    """
    expected = _read(folder / EXPECTED_FILE)
    checkpoint = read_published(folder / WEIGHTS_FILE)
    with torch.random.fork_rng(devices=[]):  # building a network draws random numbers
        network = _network(checkpoint, expected, heads)
    found = [
        Comparison(name, _difference(name, value, expected[name]), LABEL_TOLERANCE if name in _LABELS else TOLERANCE)
        for name, value in _computed(network, expected)
        if name in expected
    ]
    if not found:
        raise InvalidReference(f"{str(folder / EXPECTED_FILE)!r} holds no known array.", fix="Check the folder.")
    return found


def _read(path: Path) -> Arrays:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InvalidReference(
            f"{str(path)!r} cannot be read: {error}.", fix=f"Give a folder with {EXPECTED_FILE} and {WEIGHTS_FILE}."
        ) from None


def _network(checkpoint: PublishedCheckpoint, expected: Arrays, heads: int | None) -> ToCoNetwork:
    names = [f"class {channel}" for channel in range(checkpoint.classes)]

    def build(count: int | None) -> ToCoNetwork:
        return checkpoint.network(checkpoint.spec("reference", names=names, heads=count))

    if heads is not None:
        return build(heads)
    images = _images(expected)

    def error(network: ToCoNetwork) -> float:
        found = _classified(_classify(network, images))
        return max((_difference(name, value, expected[name]) for name, value in found if name in expected), default=0.0)

    # Random weights attend almost evenly: another number of heads may come close, but not as close.
    return min((build(count) for count in range(1, checkpoint.width + 1) if checkpoint.width % count == 0), key=error)


def _images(expected: Arrays) -> Tensor:
    return normalise_images(_tensor(expected, "image_uint8"), IMAGENET_MEAN, IMAGENET_STD)


@torch.no_grad()
def _classify(network: ToCoNetwork, images: Tensor) -> Classified:
    return network.classify(network.encoder(images))


def _tensor(expected: Arrays, name: str) -> Tensor:
    try:
        return torch.from_numpy(expected[name])
    except KeyError:
        raise InvalidReference(f"The reference lacks the array {name!r}.", fix="Compute it again.") from None


def _computed(network: ToCoNetwork, expected: Arrays) -> Iterator[tuple[str, Tensor]]:
    """Compute each array from the reference's inputs to that step."""

    def given(name: str) -> Tensor:
        return _tensor(expected, name)

    images, tags = _images(expected), given("tags")
    classified = _classify(network, images)
    yield from _classified(classified)
    with torch.no_grad():
        yield "seg", network.decoder(classified.patches)

    def raw_cams(batch: Tensor) -> tuple[Tensor, Tensor]:
        output = _classify(network, batch)
        return output.cam, output.aux_cam

    yield from zip(("cam", "cam_aux"), multi_scale_cams(raw_cams, images), strict=True)
    if "cam" in expected:
        yield from _labels(expected, given, tags)
    if "par_in" in expected:
        yield "par_out", par(given("image_uint8").float() / 255.0, given("par_in"))
    yield from _losses(expected, given, images)


def _classified(found: Classified) -> Iterator[tuple[str, Tensor]]:
    yield "cls", found.logits
    yield "cls_aux", found.aux_logits
    yield "fmap", found.patches
    yield "cam_raw", found.cam
    yield "cam_aux_raw", found.aux_cam


def _labels(expected: Arrays, given: Callable[[str], Tensor], tags: Tensor) -> Iterator[tuple[str, Tensor]]:
    cams, aux = given("cam"), given("cam_aux")
    yield "cam_label", plain_label(cams, tags)
    yield "roi_mask", region_mask(gate(aux, tags).amax(dim=1))
    if "valid_box" in expected:
        boxes = given("valid_box")
        yield "cam_label_boxed", label_with_ignore(cams, tags, boxes=boxes)
        yield "refined_label", refined_label(given("image_uint8").float() / 255.0, cams, tags, boxes=boxes)
    if "ptc_box" in expected:
        small = resize(aux, given("fmap").shape[-2:])
        yield "ptc_label", label_with_ignore(small, tags, boxes=given("ptc_box"))


def _losses(expected: Arrays, given: Callable[[str], Tensor], images: Tensor) -> Iterator[tuple[str, Tensor]]:
    if "ptc_label" in expected:
        patches = given("fmap").requires_grad_()
        loss = patch_token_contrast(patches, given("ptc_label"))
        yield "ptc_loss", loss.detach()
        yield "ptc_grad", torch.autograd.grad(loss, patches)[0]
    if "refined_label" in expected:
        logits = resize(given("seg"), images.shape[-2:]).requires_grad_()
        loss = segmentation_loss(logits, given("refined_label").long())
        yield "seg_loss", loss.detach()
        yield "seg_grad_norm", torch.autograd.grad(loss, logits)[0].norm()
    if "ctc_student" in expected:
        student = given("ctc_student").requires_grad_()
        loss = class_token_contrast(student, given("ctc_teacher"), given("ctc_flags"))
        yield "ctc_loss", loss.detach()
        yield "ctc_grad", torch.autograd.grad(loss, student)[0]
    if "lr_step" in expected:
        schedule = ScheduleConfig()
        factors = [learning_rate_factor(int(step), schedule) for step in expected["lr_step"]]
        yield "lr_used", torch.tensor(factors, dtype=torch.float64) * schedule.learning_rate


def _difference(name: str, value: Tensor, expected: npt.NDArray[Any]) -> float:
    """Return the error of an array as `Comparison` defines it; infinite if the shapes differ."""
    found = value.detach().numpy()
    if found.shape != expected.shape:
        return float("inf")
    if name in _LABELS:
        return float(np.mean(found != expected))
    scale = float(np.abs(expected).max(initial=0.0))
    largest = float(np.abs(found.astype(np.float64) - expected.astype(np.float64)).max(initial=0.0))
    return largest / scale if scale else largest
