"""The spec that travels with a model's weights: everything needed to use them without guessing."""

import re
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator

from toco.model.crf.settings import PSEUDO_MASK_CRF, SEGMENTATION_CRF, CrfSettings
from toco.model.errors import InvalidOption, TocoError, shown
from toco.model.options import (
    VOC_THRESHOLDS,
    CompleteCamOptions,
    CompleteOptions,
    CompleteSegmentationOptions,
    Frozen,
    LabelOptions,
    Share,
    Thresholds,
    merge_settings,
    preset_options,
)
from toco.model.photos.classes import ClassName, Vocabulary

DEFAULT_MODEL = Path(__file__).parent / "weights" / "default"
"""The model folder that comes with the package."""

SPEC_FILE = "spec.json"
WEIGHTS_FILE = "weights.safetensors"

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


MODEL_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""What a model may be called: a name that is also one of a folder, and that is read back in an address."""


def checked_model_name(name: str) -> str:
    """Return a name that someone gives to a model.

    Raises:
        InvalidOption: it does not fit `MODEL_NAME`.
    """
    if re.fullmatch(MODEL_NAME, name) is None:
        raise InvalidOption(
            f"A model cannot be called {shown(name)}.",
            fix="Use up to 64 letters, digits, '.', '_' and '-', the first a letter or digit.",
        )
    return name


class InvalidCheckpoint(TocoError):
    """A model folder or file does not fit."""

    code = "invalid_checkpoint"
    kind = "invalid"


class BackboneSpec(Frozen):
    """Which timm ViT, and how it was built.

    Attributes:
        name: timm model name.
        image_size: side in pixels of the square whose patch grid the position embedding has.
        arguments: further keyword arguments of `timm.create_model`.
    """

    name: str
    image_size: Annotated[int, Field(ge=16)] = 224
    arguments: dict[str, Any] = {}


class ModelSpec(Frozen):
    """Describes one set of weights.

    Attributes:
        format: version of this layout.
        name: short name under which the model is listed.
        backbone: the encoder.
        aux_layer: block whose patch tokens feed the auxiliary classifier, negative from the end.
        classes: vocabulary in classifier-channel order.
        mean, std: per-channel normalisation of RGB in 0..1.
        input_size: side in pixels at which CAMs are made.
        thresholds: of the label rules.
        decoder_weight: share (0..1) of the decoder in the maps that labels are made of (see `CamOptions`); what it
            learnt from a saliency cue or from soft labels reaches the labels that way. 0 as in the paper.
        pseudo_mask_crf, segmentation_crf: dense CRF settings.
        licence: SPDX id or a sentence.
        provenance: how and on what the weights were trained (free-form).
        figures: measured quality (free-form, written by `toco evaluate`).
        weights_sha256: hex digest of the weights file.
    """

    format: Literal[1] = 1
    name: str
    backbone: BackboneSpec
    aux_layer: Annotated[int, Field(le=-1)] = -3
    classes: tuple[ClassName, ...]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    input_size: Annotated[int, Field(ge=64, le=2048)] = 448
    thresholds: Thresholds = VOC_THRESHOLDS
    decoder_weight: Share = 0.0
    pseudo_mask_crf: CrfSettings = PSEUDO_MASK_CRF
    segmentation_crf: CrfSettings = SEGMENTATION_CRF
    licence: str = "unknown"
    provenance: dict[str, Any] = {}
    figures: dict[str, Any] = {}
    weights_sha256: str = ""

    @field_validator("classes")
    @classmethod
    def _valid_vocabulary(cls, classes: tuple[ClassName, ...]) -> tuple[ClassName, ...]:
        return Vocabulary(classes).classes

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes as a vocabulary."""
        return Vocabulary(self.classes)

    @property
    def version(self) -> str:
        """Model version: the name and the first 12 hex digits of the weights' digest."""
        return f"{self.name}@{self.weights_sha256[:12]}"

    def completed(self, options: LabelOptions) -> CompleteOptions:
        """Return options with what they leave to the model filled in: what a photo is labelled with in fact."""
        cam, segmentation = dict(options.cam), options.segmentation
        cam["size"] = options.cam.size or self.input_size
        if options.cam.decoder_weight is None:
            cam["decoder_weight"] = self.decoder_weight
        own = {
            "thresholds": options.thresholds or self.thresholds,
            "cam": CompleteCamOptions(**cam),
            "crf": options.crf or self.pseudo_mask_crf,
            "segmentation": segmentation
            and CompleteSegmentationOptions(**dict(segmentation) | {"crf": segmentation.crf or self.segmentation_crf}),
        }
        return CompleteOptions(**dict(options) | own)

    def label_options(self, preset: str, /, **changes: object) -> LabelOptions:
        """Return the options of a preset with some settings replaced, for this model.

        Args:
            preset: its name.
            changes: see `preset_options`; thresholds and CRF settings that are given in part are completed by the
                model's own.

        Raises:
            InvalidOption: as `preset_options`.
        """
        own: dict[str, object] = {
            "thresholds": self.thresholds.model_dump(),
            "crf": asdict(self.pseudo_mask_crf),
            "segmentation": {"crf": asdict(self.segmentation_crf)},
        }
        partly = {key: own[key] for key, value in changes.items() if key in own and isinstance(value, dict)}
        return preset_options(preset, **merge_settings(partly, changes))


def read_spec(folder: Path) -> ModelSpec:
    """Read a model folder's spec without touching its weights.

    Raises:
        InvalidCheckpoint: the folder has no spec, or the spec does not fit the layout.
    """
    path = folder / SPEC_FILE
    try:
        return ModelSpec.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise InvalidCheckpoint(
            f"No {SPEC_FILE} in {str(folder)!r}.",
            fix="Name a folder made by `toco train` or `toco import-checkpoint`.",
        ) from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise InvalidCheckpoint(
            f"{str(path)!r} does not fit at {where!r}: {first['msg']}.", fix="Make the model folder again."
        ) from None
    except InvalidOption as error:  # of classes and CRF settings, which check themselves
        raise InvalidCheckpoint(
            f"{str(path)!r} does not fit: {error.detail}", fix="Make the model folder again."
        ) from None
