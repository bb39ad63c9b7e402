"""How good a trained model is on photos kept aside, beside the model before: what is told of it."""

from typing import Annotated

from pydantic import Field

from toco.model.options import Frozen, Share


class ModelFigures(Frozen):
    """One model on the photos kept aside.

    Attributes:
        model: its version.
        recognised: mean over classes of the average precision (0..1) by which its classifier ranks the photos that
            show the class before those that do not; None where no class can be judged.
        open_share: mean share of the pixels of a mask that is left open.
        miou: mean IoU (0..1) over background and the classes that people's masks show, pixels left open counting as
            missed, and so a class that the model does not know; None without such masks.
    """

    model: str
    recognised: Share | None
    open_share: Share
    miou: Share | None = None


class ClassFigures(Frozen):
    """A class on the photos kept aside; `before` and `after` are the two models.

    Attributes:
        name: of the class.
        photos: kept aside that show it.
        recognised_before, recognised_after: average precision (0..1) of the classifier; None where the model does not
            know the class, or no photo kept aside shows it.
        shown_before, shown_after: share of those photos whose mask has any pixel of it; None likewise.
        iou_before, iou_after: IoU (0..1) with people's masks; None where these do not show it.
    """

    name: str
    photos: Annotated[int, Field(ge=0)]
    recognised_before: Share | None = None
    recognised_after: Share | None = None
    shown_before: Share | None = None
    shown_after: Share | None = None
    iou_before: Share | None = None
    iou_after: Share | None = None


class TrainingFigures(Frozen):
    """Two models on the same photos, none of which was trained on.

    How well outlines fit is only known of photos that people made masks of: for the others, look at the pictures.

    Attributes:
        photos: how many.
        masks: of how many of them people made masks.
        before, after: the model before, and the trained one.
        classes: a row a class of the trained model.
        pictures: names of photos of which there are pictures of both models' masks, in their order.
    """

    photos: Annotated[int, Field(ge=0)]
    masks: Annotated[int, Field(ge=0)] = 0
    before: ModelFigures
    after: ModelFigures
    classes: tuple[ClassFigures, ...]
    pictures: tuple[str, ...] = ()
