"""Training from a model that is there already, as the service offers it: few settings, a configuration of them all.

The recipe is that of the default model (docs/training.md, "Rounds of self-training"): a fit on the photos' own tokens
says what each place may show, and the network is trained on that.
"""

from typing import Annotated, Final, Literal

from pydantic import Field

from toco.model.errors import InvalidOption
from toco.model.options import Frozen, Share
from toco.model.photos.classes import Vocabulary
from toco.model.spec import ModelSpec
from toco.model.training.config import (
    AugmentationConfig,
    BackboneConfig,
    CamConfig,
    ContrastConfig,
    LossConfig,
    RoundsConfig,
    ScheduleConfig,
    TrainConfig,
)

RecipeName = Literal["quick", "standard", "thorough"]

LEAST_PHOTOS: Final = 4
_CROP: Final = 224
_SIDE: Final = 280
_BATCH: Final = 8
_USUAL_DEPTH: Final = 12  # blocks of the ViTs that timm names, where their arguments say nothing else
_CACHED_PHOTOS: Final = 4_000  # decoded and kept in memory, 0.3 MB each; more are read every time


class TrainingSettings(Frozen):
    """What can be set of a training, beside its classes and photos.

    Attributes:
        steps: of the optimizer, in each round.
        rounds: of soft labels and training on them; from the second on, the network of the round before labels.
        learning_rate: of the encoder; classifiers and decoder get ten times as much.
        kept_aside: share of the photos that are not trained on, to judge the model by.
        seed: of everything random, and of the choice of the photos that are kept aside.
    """

    steps: Annotated[int, Field(ge=1, le=100_000)] = 150
    rounds: Annotated[int, Field(ge=1, le=5)] = 1
    learning_rate: Annotated[float, Field(gt=0.0, le=1e-2)] = 3e-5
    kept_aside: Annotated[Share, Field(le=0.5)] = 0.15
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0

    @property
    def all_steps(self) -> int:
        """Steps of all rounds together."""
        return self.rounds * self.steps


RECIPES: Final[dict[RecipeName, TrainingSettings]] = {
    "quick": TrainingSettings(),
    "standard": TrainingSettings(steps=600),
    "thorough": TrainingSettings(steps=800, rounds=2),
}

RECIPE_TEXTS: Final[dict[RecipeName, str]] = {
    "quick": "150 steps. For a first look at whether the tags suffice.",
    "standard": "600 steps. For most work.",
    "thorough": "Two rounds of 800 steps: the second learns from what the first one sees. For the last bit.",
}
"""What people choose by, a line a recipe."""


def training_config(
    name: str,
    start: ModelSpec,
    classes: tuple[str, ...],
    settings: TrainingSettings,
    *,
    photos: int,
    checkpoint_minutes: float,
) -> TrainConfig:
    """Return the configuration of a training whose photos lie in the folder that it runs in.

    Args:
        name: of the model that comes out.
        start: the model that it starts from, in the folder `start` beside the photos.
        classes: of the model that comes out.
        settings: chosen.
        photos: how many there are to train on.
        checkpoint_minutes: between checkpoints.
    """
    arguments = start.backbone.arguments
    return TrainConfig(
        name=name,
        classes=classes,
        backbone=BackboneConfig(
            name=start.backbone.name,
            image_size=start.backbone.image_size,
            arguments=arguments,
            initial="start",
            aux_layer=start.aux_layer,
            frozen_blocks=int(arguments.get("depth", _USUAL_DEPTH)) // 2,
        ),
        schedule=ScheduleConfig(
            steps=settings.steps,
            warmup_steps=settings.steps // 20,
            learning_rate=settings.learning_rate,
            batch_size=_BATCH,
            average=0.99,
        ),
        loss=LossConfig(energy=0.0, ctc=0.0, segmentation=1.0, segmentation_start=0.0),
        augmentation=AugmentationConfig(crop=min(_CROP, start.input_size), rescale=(0.5, 1.2), input_jitter=True),
        # Without CTC there are no local crops; heads that nobody asks need no room in checkpoints either.
        contrast=ContrastConfig(
            local_crops=1, local_size=16, border=8, extra_views=False, hidden=16, bottleneck=8, outputs=8
        ),
        cam=CamConfig(scales=(1.0,), flip=False, refine_downscale=1, label_downscale=4),
        rounds=RoundsConfig(count=settings.rounds, side=min(_SIDE, start.input_size)),
        thresholds=start.thresholds,
        seed=settings.seed,
        workers=0,
        cache_side=352 if photos <= _CACHED_PHOTOS else None,
        checkpoint_minutes=checkpoint_minutes,
        evaluate_every=0,
    )


def require_trainable(classes: tuple[str, ...], photos: int, tagged: dict[str, int]) -> None:
    """Refuse what nothing can be learnt from, before any work.

    Args:
        classes: of the model that shall come out.
        photos: how many there are.
        tagged: photos by class.

    Raises:
        InvalidOption: too few photos, too many classes, or classes that no photo shows; names them.
    """
    Vocabulary.of_names(classes)
    if photos < LEAST_PHOTOS:
        raise InvalidOption(f"{photos} photos to train on.", fix=f"Send at least {LEAST_PHOTOS}, better hundreds.")
    missing = [name for name in classes if not tagged.get(name)]
    if missing:
        raise InvalidOption(
            f"No photo shows {', '.join(map(repr, missing))}.", fix="Tag some, or leave these classes out."
        )
