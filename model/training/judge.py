"""Judging a trained model and the one before on photos kept aside, of which tags are known and few masks, or none."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from toco.model.errors import TocoError
from toco.model.evaluation.evaluate import ConfusionMatrix, average_precision
from toco.model.formats.artifacts import encode_jpeg
from toco.model.labelling.labeler import Labeler
from toco.model.labelling.tag_scores import seen
from toco.model.options import preset_options
from toco.model.photos.classes import IGNORE, Vocabulary
from toco.model.photos.images import read_mask
from toco.model.photos.pictures import overlay_picture
from toco.model.training.figures import ClassFigures, ModelFigures, TrainingFigures
from toco.model.whole_file import write_whole

PICTURES = 12  # at most
_PICTURE_SIDE = 480


@dataclass(frozen=True, slots=True)
class KeptPhoto:
    """A photo that was kept aside.

    Attributes:
        path: the file.
        name: as the user calls it.
        tags: classes that it shows.
        complete: whether it shows no others.
        mask: a person's: 0 background, 1 + channel of the trained model, 255 open; None where nobody made one.
    """

    path: Path
    name: str
    tags: tuple[str, ...]
    complete: bool = True
    mask: Path | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a model makes of N photos: (N, C) scores, each mask's classes and open share, and how it fits people's."""

    labeler: Labeler
    scores: npt.NDArray[np.float64]
    shown: list[frozenset[str]]
    open_shares: list[float]
    matrix: ConfusionMatrix


def judge_models(
    before: Path,
    after: Path,
    photos: Sequence[KeptPhoto],
    classes: Vocabulary,
    pictures: Path,
    *,
    device: str = "auto",
    on_photo: Callable[[int, int], None] = lambda _done, _all: None,
) -> TrainingFigures:
    """Judge two models on the same photos, one scale and CRF, tags given.

    Args:
        before: folder of the model before.
        after: folder of the trained one.
        photos: none of which was trained on.
        classes: of the trained model.
        pictures: folder that receives `NN-before.jpg` and `NN-after.jpg` of the first photos.
        device: name as in `choose_device`.
        on_photo: called with photos done and to do, of both models together.
    """
    seen = []
    for turn, (word, folder) in enumerate((("before", before), ("after", after))):
        labeler = Labeler.from_folder(folder, device=device, runtime="torch")  # an export pays after more photos

        def told(done: int, turn: int = turn) -> None:
            on_photo(turn * len(photos) + done, 2 * len(photos))

        seen.append(_look(labeler, photos, classes, pictures / f"NN-{word}.jpg", told))
    rows = []
    for channel, name in enumerate(classes.names):
        found = [_of_class(model, photos, name) for model in seen]
        ious = [_known(model.matrix.iou()[channel + 1], model.matrix.in_truth()[channel + 1]) for model in seen]
        rows.append(
            ClassFigures(
                name=name,
                photos=sum(name in photo.tags for photo in photos),
                recognised_before=found[0][0],
                recognised_after=found[1][0],
                shown_before=found[0][1],
                shown_after=found[1][1],
                iou_before=ious[0],
                iou_after=ious[1],
            )
        )
    figures = [
        ModelFigures(
            model=model.labeler.spec.version,
            recognised=_mean([value for row in rows if (value := getattr(row, f"recognised_{word}")) is not None]),
            open_share=_mean(model.open_shares) or 0.0,
            miou=_known(model.matrix.mean_iou(), model.matrix.judged > 0),
        )
        for word, model in zip(("before", "after"), seen, strict=True)
    ]
    names = tuple(photo.name for photo in photos[:PICTURES])
    return TrainingFigures(
        photos=len(photos),
        masks=sum(photo.mask is not None for photo in photos),
        before=figures[0],
        after=figures[1],
        classes=tuple(rows),
        pictures=names,
    )


def _look(
    labeler: Labeler, photos: Sequence[KeptPhoto], classes: Vocabulary, picture: Path, on_photo: Callable[[int], None]
) -> _Seen:
    options = preset_options("fast")
    matrix = ConfusionMatrix(classes.names)
    rows = _rows(labeler.vocabulary, classes)
    scores = np.zeros((len(photos), len(labeler.vocabulary)))
    shown: list[frozenset[str]] = []
    open_shares: list[float] = []
    for number, photo in enumerate(photos):
        try:
            label = labeler.label_one(photo.path, photo.tags, options)
        except TocoError:  # it was readable at the door; a picture that breaks off later is judged as empty
            shown.append(frozenset())
        else:
            scores[number] = seen(labeler, label.photo.pixels).scores
            shown.append(
                frozenset(tag for tag, row in zip(label.tags, label.class_report(), strict=True) if row["area"])
            )
            open_shares.append(label.ignore_ratio)
            if photo.mask is not None:
                matrix.update(read_mask(photo.mask), rows[label.pseudo_mask])
            if number < PICTURES:
                drawn = overlay_picture(
                    label.photo.pixels, label.pseudo_mask, side=_PICTURE_SIDE, legend=labeler.vocabulary
                )
                write_whole(picture.with_name(picture.name.replace("NN", f"{number:02d}")), encode_jpeg(drawn))
        on_photo(number + 1)
    return _Seen(labeler, scores, shown, open_shares, matrix)


def _rows(own: Vocabulary, classes: Vocabulary) -> npt.NDArray[np.uint8]:
    """Return (256,) the row of the confusion matrix of each value of a model's masks."""
    rows = np.zeros(256, np.uint8)
    rows[IGNORE] = IGNORE
    for entry in own:
        if entry.name in classes:
            rows[entry.index] = 1 + classes.channel(entry.name)
    return rows


def _known(value: float, is_known: bool) -> float | None:
    return float(value) if is_known else None


def _of_class(model: _Seen, photos: Sequence[KeptPhoto], name: str) -> tuple[float | None, float | None]:
    """Return the average precision of a class, and the share of its photos whose mask shows it."""
    tagged = [number for number, photo in enumerate(photos) if name in photo.tags]
    if not tagged or name not in model.labeler.vocabulary:
        return None, None
    channel = model.labeler.vocabulary.channel(name)
    own = model.labeler.vocabulary.names[channel]
    truth = np.asarray([[1 if name in photo.tags else 0 if photo.complete else -1] for photo in photos])
    precision = float(average_precision(model.scores[:, channel : channel + 1], truth)[0])
    return precision, sum(own in model.shown[number] for number in tagged) / len(tagged)


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None
