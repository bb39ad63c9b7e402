"""Every constant of the paper and every setting of a labelling run, with the three presets.

References:
    ToCo (Ru, Zheng, Zhan, Du; CVPR 2023, arXiv 2303.01267), sections 3 and 4.1 and the published defaults for VOC.
"""

import hashlib
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from toco.model.crf.settings import CrfSettings
from toco.model.errors import InvalidOption, shown

Unit = Annotated[float, Field(gt=0.0, lt=1.0)]
Share = Annotated[float, Field(ge=0.0, le=1.0)]
Scale = Annotated[float, Field(ge=0.1, le=4.0)]
PresetName = Literal["fast", "balanced", "paper"]

GPU_BATCH_PIXELS = 8 * 448 * 448


class Frozen(BaseModel):
    """A settings value: immutable, and strict about names."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Thresholds(Frozen):
    """The score thresholds of the label rules (paper, section 3.2), all in 0..1.

    Attributes:
        high: above it a CAM score is the tagged class for sure.
        low: at or under it a pixel is background for sure; between the two it is ignored.
        plain: the single threshold of the rule without an ignored band.
    """

    high: Unit = 0.7
    low: Unit = 0.25
    plain: Unit = 0.5

    @model_validator(mode="after")
    def _ordered(self) -> "Thresholds":
        if self.low >= self.high:
            raise ValueError(f"low ({self.low}) must be under high ({self.high})")
        return self


VOC_THRESHOLDS = Thresholds()
COCO_THRESHOLDS = Thresholds(high=0.65, plain=0.45)


class Affinity(Frozen):
    """Spreading of CAMs over the patch grid by the affinity of the auxiliary tokens.

    Attributes:
        power: exponent of the clamped cosine similarity; higher keeps to more alike patches.
        rounds: how often the row-normalised affinity is applied.
    """

    power: Annotated[float, Field(ge=1.0, le=32.0)] = 8.0
    rounds: Annotated[int, Field(ge=1, le=8)] = 2


class Doubted(Frozen):
    """Tags that the classifier doubts: their maps are the decoder's more than the CAM's. Not in the paper.

    A CAM that hardly rises, scaled to 0..1 as the others are, gives such a tag much of a photo.

    Attributes:
        under: probability of the classifier under which a tag is doubted.
        decoder_weight: share (0..1) of the decoder in the map of such a tag; where the decoder has none, it gets none.
        full_belief: the decoder's belief in such a tag is divided by its largest in the photo, as CAMs are scaled too,
            but by no less than this. 1 leaves it as it is, and may leave a tag without a pixel that both doubt.
    """

    under: Share = 0.73
    decoder_weight: Share = 0.6
    full_belief: Annotated[float, Field(ge=0.01, le=1.0)] = 1.0


class CamOptions(Frozen):
    """How CAMs are computed.

    Attributes:
        size: side in pixels of the square that the image is resized to (aspect ratio not kept); None takes that of the
            model's spec.
        scales: factors of `size` at which the network runs; the maps are summed.
        flip: also run the mirrored image and keep the elementwise maximum.
        auxiliary: use the CAMs of the auxiliary classifier instead of the final ones.
        affinity: spread the maps by auxiliary-token affinity; None as in the paper.
        lift: from which place between a map's minimum (0) and maximum (1) on its scores count even if they are under 0
            (see `cams.lifted`); None as in the paper.
        decoder_weight: share (0..1) of the decoder in the map: its probability of each tagged class against the others
            and background; 0 as in the paper, None takes that of the model's spec.
        doubted: what changes for tags that the classifier doubts; None, as in the paper: nothing.
    """

    size: Annotated[int, Field(ge=64, le=2048)] | None = None
    scales: Annotated[tuple[Scale, ...], Field(min_length=1, max_length=8)] = (1.0, 0.5, 1.5)
    flip: bool = True
    auxiliary: bool = False
    affinity: Affinity | None = None
    lift: Share | None = None
    decoder_weight: Share | None = None
    doubted: Doubted | None = None


class SegmentationOptions(Frozen):
    """How the decoder's segmentation map is computed.

    Attributes:
        scales: factors of the working image at which the decoder runs; the maximum over them is kept.
        flip: also run the mirrored image and add its logits.
        gate: drop the channels of classes that are not among the tags.
        refine: `crf` is the published recipe; `none` takes the plain argmax.
        crf: settings of the dense CRF; None takes those of the model's spec.
    """

    scales: Annotated[tuple[Scale, ...], Field(min_length=1, max_length=8)] = (1.0, 1.25, 1.5)
    flip: bool = True
    gate: bool = True
    refine: Literal["crf", "none"] = "crf"
    crf: CrfSettings | None = None


class MaskMerge(Frozen):
    """Which masks that come from elsewhere, without classes, belong to which class of a label.

    Attributes:
        within: more than this share (0..1) of the mask lies in the class's region,
        covers: or it covers this share of it, and of no other class's,
        filled: while this share of the mask lies in it: a mask of nearly the whole photo covers everything.
        rest: what becomes of pixels of a class that has masks, but none there: `keep` them, or leave them `open`.
    """

    within: Share = 0.5
    covers: Share = 0.85
    filled: Share = 0.25
    rest: Literal["keep", "open"] = "open"


class LabelOptions(Frozen):
    """All settings of one labelling run.

    Attributes:
        preset: the preset that these settings started from.
        thresholds: of the label rules; None takes those of the model's spec.
        cam: how CAMs are computed.
        refine: `crf` is the published pseudo-mask recipe; `none` applies the `with ignore` rule to the CAMs.
        ignore_band: leave doubtful pixels open (255) as the published recipe does; without it every pixel is decided,
            with the background score at the `plain` threshold.
        crf: settings of the pseudo-mask CRF; None takes those of the model's spec.
        segmentation: how the segmentation map is computed; None leaves it out.
        long_side: largest side in pixels at which refinement works; larger photos are shrunk for it and the
            result is mapped back to the photo's own size.
        batch_pixels: how many network input pixels go through the device at once; None takes `GPU_BATCH_PIXELS`, and a
            photo at a time on a processor, which gains nothing from more.
        tag_threshold: probability from which the classifier's own tags are taken when an image has none.
        precision: `float32` as published, or `auto`: bfloat16 where the device has it.
        masks: how masks that come from elsewhere are merged; without such masks it plays no part.
    """

    preset: PresetName = "balanced"
    thresholds: Thresholds | None = None
    cam: CamOptions = CamOptions()
    refine: Literal["crf", "none"] = "crf"
    ignore_band: bool = True
    crf: CrfSettings | None = None
    segmentation: SegmentationOptions | None = None
    long_side: Annotated[int, Field(ge=64, le=8192)] = 1024
    batch_pixels: Annotated[int, Field(ge=64 * 64)] | None = None
    tag_threshold: Unit = 0.5
    precision: Literal["auto", "float32"] = "auto"
    masks: MaskMerge = MaskMerge()

    def digest(self) -> str:
        """Return 12 hex digits that change with any setting."""
        usual = {"masks"} if self.masks == MaskMerge() else None  # older versions, which had none, give the same
        return hashlib.sha256(self.model_dump_json(exclude=usual).encode()).hexdigest()[:12]


class CompleteCamOptions(CamOptions):
    """`CamOptions` of which none is left to the model."""

    size: Annotated[int, Field(ge=64, le=2048)]
    decoder_weight: Share


class CompleteSegmentationOptions(SegmentationOptions):
    """`SegmentationOptions` of which none is left to the model."""

    crf: CrfSettings


class CompleteOptions(LabelOptions):
    """`LabelOptions` of which none is left to the model; `ModelSpec.completed` fills them in."""

    thresholds: Thresholds
    cam: CompleteCamOptions
    crf: CrfSettings
    segmentation: CompleteSegmentationOptions | None


_DOUBTED = Doubted(full_belief=0.2)
PRESETS: dict[PresetName, LabelOptions] = {
    "fast": LabelOptions(preset="fast", cam=CamOptions(scales=(1.0,), flip=False, lift=0.1, doubted=_DOUBTED)),
    "balanced": LabelOptions(
        preset="balanced",
        cam=CamOptions(scales=(0.5, 0.75, 1.0), flip=False, affinity=Affinity(), lift=0.1, doubted=_DOUBTED),
        segmentation=None,
    ),
    "paper": LabelOptions(
        preset="paper",
        cam=CamOptions(size=448, decoder_weight=0.0),
        segmentation=SegmentationOptions(),
    ),
}


PRESET_TEXTS: dict[PresetName, str] = {
    "fast": "One scale. For a first look.",
    "balanced": "Three scales, spread over similar patches. For most work.",
    "paper": "Three scales, mirrored, with a segmentation map, as published. Slowest.",
}
"""What people choose by, a line a preset."""


def preset_options(name: str, /, **changes: object) -> LabelOptions:
    """Return the options of a preset with some settings replaced.

    Where some thresholds or CRF settings alone are to change, `ModelSpec.label_options` fills in the model's others.

    Args:
        name: one of `PRESETS`.
        changes: fields of `LabelOptions` but `preset`; nested ones as mappings (`cam={"scales": [1.0]}`) that are
            merged in.

    Raises:
        InvalidOption: unknown preset, unknown field or a value out of range.
    """
    if name not in PRESETS:
        raise InvalidOption(f"Unknown preset {shown(name)}.", fix=f"Use one of {', '.join(PRESETS)}.")
    if "preset" in changes:
        raise InvalidOption("The options hold a preset.", fix=f"Name it beside them: preset={'|'.join(PRESETS)}.")
    base = PRESETS[name].model_dump()
    try:
        return LabelOptions.model_validate(merge_settings(base, changes))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"])[:100] or "options"
        raise InvalidOption(
            f"Option {where} = {shown(first['input'])}: {first['msg'].lower()}.", fix="See the labelling options."
        ) from None


def merge_settings(base: Mapping[str, object], changes: Mapping[str, object]) -> dict[str, object]:
    """Return nested settings with some replaced: mappings are merged, anything else takes the place of the old."""
    merged = dict(base)
    for key, value in changes.items():
        current = merged.get(key)
        if isinstance(current, Mapping) and isinstance(value, Mapping):
            merged[key] = merge_settings(current, value)
        else:
            merged[key] = value
    return merged
