"""Import of published ToCo checkpoints (.pth) into model folders.

The file is a state dict whose keys start with `module.`; it holds no settings, so they are read off the shapes of its
tensors. Loading takes tensors alone (`weights_only`); nothing in the file is ever executed.
"""

import hashlib
import pickle
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor

from toco.model.method.network import ToCoNetwork
from toco.model.options import COCO_THRESHOLDS, VOC_THRESHOLDS
from toco.model.photos.classes import COCO, VOC, Vocabulary
from toco.model.spec import BackboneSpec, InvalidCheckpoint, ModelSpec
from toco.model.weights_io.checkpoint import fit_state, save_model

LICENCE: Final = "none stated by the authors of the published checkpoints: ask them before redistribution"

_VOCABULARIES: Final = {len(VOC): (VOC, VOC_THRESHOLDS), len(COCO): (COCO, COCO_THRESHOLDS)}
_HEAD_WIDTH: Final = 64  # of every common ViT; the file does not tell
_UNUSED: Final = ("encoder.head.", "proj_head.", "proj_head_t.")
_ROLES: Final = ("encoder", "classifier", "aux_classifier", "decoder")


@dataclass(frozen=True, slots=True)
class PublishedCheckpoint:
    """A published checkpoint as read.

    Attributes:
        source: path, for messages.
        sha256: hex digest of the file.
        state: tensors under the names of `ToCoNetwork`.
    """

    source: str
    sha256: str
    state: dict[str, Tensor]

    @property
    def classes(self) -> int:
        """Number of classes, background not counted."""
        return int(self.state["classifier.weight"].shape[0])

    @property
    def width(self) -> int:
        """Width of the tokens."""
        return int(self.state["classifier.weight"].shape[1])

    def vocabulary(self, names: Sequence[str] | None = None) -> Vocabulary:
        """Return the classes: the names given, else VOC's 20 or COCO's 80 by their number.

        Raises:
            InvalidCheckpoint: names are missing, or of another number.
        """
        if names is not None and len(names) != self.classes:
            raise InvalidCheckpoint(
                f"{self.source!r} has {self.classes} classes, {len(names)} names were given.", fix="Name every class."
            )
        if names is not None:
            return Vocabulary.of_names(names)
        if self.classes not in _VOCABULARIES:
            raise InvalidCheckpoint(
                f"{self.source!r} has {self.classes} classes, neither VOC's 20 nor COCO's 80.", fix="Name the classes."
            )
        return _VOCABULARIES[self.classes][0]

    def spec(self, name: str, *, names: Sequence[str] | None = None, heads: int | None = None) -> ModelSpec:
        """Describe the network that the shapes imply.

        Args:
            name: of the model.
            names: of the classes; see `vocabulary`.
            heads: number of attention heads, which the file does not tell; None takes heads of 64 channels.

        Raises:
            InvalidCheckpoint: the encoder is no plain ViT, or the class names do not fit.
        """
        vocabulary = self.vocabulary(names)
        try:
            width, _, patch, _ = self.state["encoder.vit.patch_embed.proj.weight"].shape
            positions = self.state["encoder.vit.pos_embed"].shape[1] - 1
            hidden = self.state["encoder.vit.blocks.0.mlp.fc1.weight"].shape[0]
        except (KeyError, ValueError, IndexError) as error:
            raise InvalidCheckpoint(
                f"{self.source!r} holds no plain ViT encoder: {error}.", fix="Give a published ToCo checkpoint."
            ) from None
        blocks = {key.split(".")[3] for key in self.state if key.startswith("encoder.vit.blocks.")}
        arguments: dict[str, Any] = {
            "patch_size": int(patch),
            "embed_dim": int(width),
            "depth": len(blocks),
            "num_heads": heads or max(1, int(width) // _HEAD_WIDTH),
            "mlp_ratio": hidden / width,
        }
        return ModelSpec(
            name=name,
            backbone=BackboneSpec(
                name="vit_base_patch16_224", image_size=round(positions**0.5) * int(patch), arguments=arguments
            ),
            classes=vocabulary.classes,
            thresholds=_VOCABULARIES.get(self.classes, (VOC, VOC_THRESHOLDS))[1],
            licence=LICENCE,
            provenance={"imported_from": Path(self.source).name, "sha256": self.sha256},
        )

    def network(self, spec: ModelSpec) -> ToCoNetwork:
        """Build the network of a spec with these weights, in evaluation mode.

        Raises:
            InvalidCheckpoint: a tensor is missing, left over or of another shape.
        """
        network = ToCoNetwork.from_spec(spec)
        fit_state(network, self.state, self.source)
        return network.eval()


def read_published(path: Path) -> PublishedCheckpoint:
    """Read a published checkpoint.

    Raises:
        InvalidCheckpoint: says in one sentence what is wrong with the file.
    """
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise InvalidCheckpoint(f"{str(path)!r} cannot be read: {error.strerror}.", fix="Check the path.") from None
    except pickle.UnpicklingError:
        raise InvalidCheckpoint(
            f"{str(path)!r} holds more than tensors, or is no PyTorch file.",
            fix="Give the state dict as published; files with code in them are not opened.",
        ) from None
    except MemoryError:
        raise
    except Exception as error:  # torch's readers raise whatever they stumble over
        raise InvalidCheckpoint(
            f"{str(path)!r} is no PyTorch file, or damaged ({type(error).__name__}).", fix="Download it again."
        ) from error
    return PublishedCheckpoint(str(path), digest, _renamed(content, str(path)))


def import_published(
    path: Path,
    folder: Path,
    *,
    name: str | None = None,
    names: Sequence[str] | None = None,
    heads: int | None = None,
    half: bool = False,
) -> ModelSpec:
    """Turn a published checkpoint into a model folder.

    Args:
        path: the .pth file.
        folder: where the model goes.
        name: of the model; None takes the file's name.
        names: of the classes; see `PublishedCheckpoint.vocabulary`.
        heads: number of attention heads; see `PublishedCheckpoint.spec`.
        half: store half-precision weights.

    Raises:
        InvalidCheckpoint: says in one sentence what is wrong with the file.
    """
    checkpoint = read_published(path)
    spec = checkpoint.spec(name or path.stem, names=names, heads=heads)
    return save_model(folder, checkpoint.network(spec), spec, half=half)


def _renamed(content: object, source: str) -> dict[str, Tensor]:
    """Map published names to those of `ToCoNetwork`, without the parts that only training needs."""
    if isinstance(content, Mapping):
        # Some files wrap the state dict.
        content = next((content[key] for key in ("state_dict", "model") if key in content), content)
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise InvalidCheckpoint(f"{source!r} is not a state dict.", fix="Give a published ToCo checkpoint.")
    state = {}
    for key, value in content.items():
        short = str(key).removeprefix("module.")
        if not short.startswith(_UNUSED):
            state[f"encoder.vit.{short.removeprefix('encoder.')}" if short.startswith("encoder.") else short] = value
    missing = [role for role in _ROLES if not any(key.startswith(f"{role}.") for key in state)]
    if missing or "classifier.weight" not in state:
        raise InvalidCheckpoint(
            f"{source!r} holds no {', no '.join(missing or ['classifier.weight'])}.",
            fix="Give a published ToCo checkpoint: encoder, classifier, aux_classifier and decoder.",
        )
    if state["classifier.weight"].ndim != 4:
        raise InvalidCheckpoint(
            f"{source!r} has a classifier of shape {tuple(state['classifier.weight'].shape)}, no 1x1 convolution.",
            fix="Give a published ToCo checkpoint.",
        )
    for key, value in state.items():
        if value.layout is not torch.strided or not value.is_floating_point() or not value.float().isfinite().all():
            raise InvalidCheckpoint(
                f"{source!r} has values in {key!r} that are no finite, dense numbers.", fix="Download it again."
            )
    return state
