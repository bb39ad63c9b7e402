"""Learning again from corrected masks: a small adjustment of a model's maps, fitted to what people drew.

The model's map of a class, read at the places of the tokens, gets a term that is linear in the token. Fitted from
nothing (no correction, no change), it moves borders between classes and background where tokens look like those that
people corrected. Classes that nobody corrected share what holds for all objects.

    scores = strength * (level, map_1 + (shared + w_1) . token, ...)     softmax over background and the tags

The weights are kept small (ridge), and what they add to a map is bounded. What all classes share is kept smallest: the
first photos to be corrected are the ones that the model got most wrong, and no fair sample of the others. For the same
reason there is no constant. One minimum, found by L-BFGS in seconds.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import cv2
import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from toco.model.errors import TocoError
from toco.model.labelling.labeler import Labeler, LabelRequest
from toco.model.labelling.stages import PhotoJob, PhotoMaps
from toco.model.method.label import Label
from toco.model.options import Frozen, LabelOptions
from toco.model.photos.classes import BACKGROUND

Positive = Annotated[float, Field(gt=0.0)]
_METADATA: Final = "adjustment"
_EPSILON: Final = 1e-12


class InvalidAdjustment(TocoError):
    """What was learnt again is damaged, or belongs to another model."""

    code = "invalid_adjustment"
    kind = "invalid"


class NothingToLearn(TocoError):
    """No corrected photo has anything to learn from."""

    code = "nothing_to_learn"
    kind = "conflict"


class AdjustSettings(Frozen):
    """How corrections are learnt from.

    Attributes:
        strength: factor of the scores in the softmax: how sure a map's distance to the background level makes it.
        ridge: weight of the squares of a class's weights against the mean loss of a token.
        shared_ridge: likewise, of the weights that all classes share.
        most: that is added to a map at most, or taken from it.
        balance: exponent of the inverse share by which rare classes weigh more, 0 to 1.
        steps: of L-BFGS at most.
    """

    strength: Positive = 6.0
    ridge: Positive = 1e-3
    shared_ridge: Positive = 1e-2
    most: Positive = 0.4
    balance: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0
    steps: Annotated[int, Field(ge=1)] = 60


@dataclass(frozen=True, slots=True, eq=False)
class Corrected:
    """A photo with a mask that is known.

    Attributes:
        channels: its K tags, 0-based.
        maps: (K, h, w) float32 of the model, at the grid of the tokens.
        tokens: (h, w, d) float.
        labels: (1 + K, h, w) float32, the share of each place that shows background and each tag; what the mask leaves
            open, or gives to other classes, is missing from the sum.
    """

    channels: tuple[int, ...]
    maps: npt.NDArray[np.float32]
    tokens: npt.NDArray[np.floating]
    labels: npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Adjustment:
    """What was learnt again.

    Attributes:
        weight: (C, d) float32 for all classes of the model.
        most: bound of what is added to a map.
        model_version: of the model whose maps it adjusts.
    """

    weight: npt.NDArray[np.float32]
    most: float
    model_version: str

    def added(self, tokens: npt.NDArray[np.floating], channels: Sequence[int]) -> npt.NDArray[np.float32]:
        """Return what is added to the maps of K classes at the places of (h, w, d) tokens: (K, h, w) float32."""
        rows = list(channels)
        raw = _unit(tokens) @ self.weight[rows].T
        return np.asarray(np.clip(raw, -self.most, self.most).transpose(2, 0, 1), np.float32)

    def to_bytes(self) -> bytes:
        """Return the adjustment as safetensors."""
        tensors = {"weight": torch.from_numpy(self.weight)}
        # One entry: safetensors writes several in any order.
        said = {"model_version": self.model_version, "most": self.most}
        return save_tensors(tensors, {_METADATA: json.dumps(said)})

    @classmethod
    def from_bytes(cls, data: bytes, *, model_version: str) -> "Adjustment":
        """Read an adjustment of a model. Raises InvalidAdjustment."""
        try:
            tensors, metadata = load_tensors(data), _metadata(data)
            found = cls(
                tensors["weight"].numpy(),
                float(metadata["most"]),
                str(metadata["model_version"]),
            )
        except (SafetensorError, KeyError, ValueError) as error:
            raise InvalidAdjustment(f"The adjustment cannot be read: {error}.", fix="Learn again.") from None
        if len(tensors) > 1:  # it has constants
            raise InvalidAdjustment("It was learnt in an older way.", fix="Learn again.")
        if found.model_version != model_version:
            raise InvalidAdjustment(
                f"It was learnt on {found.model_version}, not on {model_version}.", fix="Learn again."
            )
        return found


def corrected_photo(maps: PhotoMaps, mask: npt.NDArray[np.uint8], indices: Sequence[int]) -> Corrected | None:
    """Bring a corrected mask and the maps of its photo to the grid of its tokens.

    Args:
        maps: of the photo, as the model makes them.
        mask: (H, W) uint8, as a person drew it, 255 open.
        indices: mask index of each class of the model.

    Returns:
        None where there are no tags or no tokens to learn from.
    """
    if not maps.channels or maps.tokens is None:
        return None
    grid = (int(maps.tokens.shape[1]), int(maps.tokens.shape[0]))  # (w, h), as OpenCV wants it
    wanted = [BACKGROUND, *(indices[channel] for channel in maps.channels)]
    shares = [cv2.resize((mask == index).astype(np.float32), grid, interpolation=cv2.INTER_AREA) for index in wanted]
    small = [cv2.resize(found, grid, interpolation=cv2.INTER_AREA) for found in maps.cams]
    return Corrected(tuple(maps.channels), np.stack(small), maps.tokens, np.stack(shares))


def fit_adjustment(
    photos: Sequence[Corrected],
    *,
    classes: int,
    level: float,
    model_version: str,
    settings: AdjustSettings | None = None,
) -> Adjustment:
    """Fit an adjustment to corrected photos.

    Args:
        photos: at least one.
        classes: C of the model.
        level: score of background against the maps, 0..1.
        model_version: of the model.
        settings: of the fit.

    Raises:
        NothingToLearn: no photo, or nothing but open pixels.
    """
    settings = settings or AdjustSettings()
    if not photos or not any(photo.labels.any() for photo in photos):
        raise NothingToLearn("No corrected mask shows anything.", fix="Correct some photos first.")
    tokens, maps, labels, channels = _stacked(photos, level)
    weights = labels * _importance(labels, channels, classes, settings.balance)
    total = weights.sum()
    shared = torch.zeros(tokens.shape[1], requires_grad=True)
    own = torch.zeros(classes, tokens.shape[1], requires_grad=True)
    optimizer = torch.optim.LBFGS([shared, own], max_iter=settings.steps, line_search_fn="strong_wolfe")

    def loss() -> float:
        optimizer.zero_grad()
        added = (tokens @ (own + shared).T).gather(1, channels)
        scores = settings.strength * torch.cat([maps[:, :1], maps[:, 1:] + added], dim=1)
        ridge = settings.ridge * own.square().sum() + settings.shared_ridge * shared.square().sum()
        value = -(weights * scores.log_softmax(dim=1)).sum() / total + ridge
        value.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        return float(value.detach())

    optimizer.step(loss)  # type: ignore[no-untyped-call]  # torch leaves it untyped
    return Adjustment((own + shared).detach().numpy(), settings.most, model_version)


class AdjustedLabeler(Labeler):
    """Labels as another labeler does, with adjusted maps.

    Args:
        labeler: whose maps are adjusted.
        adjustment: learnt from its maps.
    """

    def __init__(self, labeler: Labeler, adjustment: Adjustment) -> None:
        self._inner, self._adjustment = labeler, adjustment
        self.spec, self.vocabulary = labeler.spec, labeler.vocabulary
        self.device, self.crf, self.threads = labeler.device, labeler.crf, labeler.threads

    def batch_size(self, options: LabelOptions) -> int:
        """Return how many photos go through the device at once."""
        return self._inner.batch_size(options)

    def _decode(self, request: LabelRequest, options: LabelOptions) -> PhotoJob:
        return self._inner._decode(request, options)  # noqa: SLF001 - one labeler around the other

    def _run_network(self, jobs: list[PhotoJob], options: LabelOptions) -> list[PhotoMaps]:
        found = self._inner._run_network(jobs, options)  # noqa: SLF001 - one labeler around the other
        for maps in found:
            maps.cams = adjusted_cams(maps, self._adjustment)
        return found

    def _refine(self, job: PhotoJob, maps: PhotoMaps, options: LabelOptions) -> Label:
        return self._inner._refine(job, maps, options)  # noqa: SLF001 - one labeler around the other


def adjusted_cams(maps: PhotoMaps, adjustment: Adjustment) -> npt.NDArray[np.float32]:
    """Return the maps (K, h, w) of a photo in 0..1 with what was learnt again; the same where there is no tag."""
    if not maps.channels or maps.tokens is None:
        return maps.cams
    added = _at_size(adjustment.added(maps.tokens, maps.channels), maps.cams.shape[1:])
    return np.asarray(np.clip(maps.cams + added, 0.0, 1.0), np.float32)


def read_corrected(
    labeler: Labeler, request: LabelRequest, mask: npt.NDArray[np.uint8], options: LabelOptions
) -> Corrected | None:
    """Run the network on a corrected photo; see `corrected_photo`. Raises TocoError if it cannot be read."""
    job = labeler._decode(request, options)  # noqa: SLF001 - the first half of labelling, without the second
    (maps,) = labeler._run_network([job], options)  # noqa: SLF001 - the first half of labelling, without the second
    return corrected_photo(maps, mask, labeler.vocabulary.indices)


def _stacked(photos: Sequence[Corrected], level: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return tokens (n, d), maps and labels (n, 1 + K) and channels (n, K) of all places; K: most tags of one."""
    most = max(len(photo.channels) for photo in photos)
    tokens, maps, labels, channels = [], [], [], []
    for photo in photos:
        places, tags = photo.tokens.shape[0] * photo.tokens.shape[1], len(photo.channels)
        scores = np.full((places, 1 + most), -1e4, np.float32)  # of tags that the photo does not have
        scores[:, 0] = level
        scores[:, 1 : 1 + tags] = photo.maps.reshape(tags, places).T
        shares = np.zeros((places, 1 + most), np.float32)
        shares[:, : 1 + tags] = photo.labels.reshape(1 + tags, places).T
        rows = np.zeros((places, most), np.int64)
        rows[:, :tags] = photo.channels
        tokens.append(_unit(photo.tokens).reshape(places, -1))
        maps.append(scores)
        labels.append(shares)
        channels.append(rows)
    parts = (np.concatenate(part) for part in (tokens, maps, labels, channels))
    found = [torch.from_numpy(part) for part in parts]
    return found[0], found[1], found[2], found[3]


def _importance(labels: Tensor, channels: Tensor, classes: int, balance: float) -> Tensor:
    """Return the weight of each label (n, 1 + K): classes with few places weigh more."""
    mass = torch.zeros(1 + classes)
    mass[0] = labels[:, 0].sum()
    mass.index_add_(0, channels.flatten() + 1, labels[:, 1:].flatten())
    weight = (mass.clamp_min(1.0) / mass.sum()) ** -balance
    return torch.cat([weight[:1].expand(len(labels), 1), weight[channels + 1]], dim=1)


def _unit(tokens: npt.NDArray[np.floating]) -> npt.NDArray[np.float32]:
    """Return tokens (..., d) float32 of length 1."""
    found = tokens.astype(np.float32)
    return np.asarray(found / np.maximum(np.linalg.norm(found, axis=-1, keepdims=True), _EPSILON), np.float32)


def _at_size(maps: npt.NDArray[np.float32], size: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Return maps (K, h, w) at (H, W)."""
    found = [cv2.resize(values, size[::-1], interpolation=cv2.INTER_LINEAR) for values in maps]
    return np.asarray(np.stack(found), np.float32)


def _metadata(data: bytes) -> Mapping[str, Any]:
    """Return what `to_bytes` said of the tensors: a length of 8 bytes, then the header as JSON."""
    length = int.from_bytes(data[:8], "little")
    found: Mapping[str, Any] = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_METADATA])
    return found
