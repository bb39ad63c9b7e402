r"""A CVAT auto-annotation function: run by `cvat-cli task auto-annotate`, or by an agent, on the user's machine.

    cvat-cli task auto-annotate 7 --function-module toco.service.cvat.function \
        -p url=str:http://127.0.0.1:8000 -p tags=str:tags.csv

`--function-file` with this file's path does the same. Without `url` the model runs in this very process.

References:
    docs.cvat.ai, "Auto-annotation API"; cvat-sdk 2.80, `cvat_sdk.auto_annotation`.
"""

import io
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast, get_args

import cvat_sdk.auto_annotation as cvataa
import numpy as np
import numpy.typing as npt
from cvat_sdk import models
from PIL import Image

from toco.model.errors import InvalidOption, TocoError
from toco.model.formats.artifacts import PSEUDO_MASK, RESULT, read_result
from toco.model.formats.cvat import encode_runs
from toco.model.formats.polygons import mask_to_polygons
from toco.model.formats.regions import classes_in
from toco.model.formats.result import ItemResult
from toco.model.options import preset_options
from toco.model.photos.classes import ClassName, Vocabulary
from toco.model.photos.images import read_mask
from toco.model.photos.mapping import read_mapping
from toco.model.photos.tables.reading import read_tags
from toco.model.photos.tag_check import UnknownTags, check_tags, settle_unknown
from toco.model.photos.tags import TagTable
from toco.model.photos.understanding import Mapped

if TYPE_CHECKING:
    from toco.service.client.client import Client

logger = logging.getLogger(__name__)

_DEFAULT_TAG_THRESHOLD: Final = 0.5
_POLYGON_TOLERANCE: Final = 1.0  # pixels
_POLYGON_MIN_AREA: Final = 16  # pixels


class ModelUnknown(TocoError):
    """The service has no model of this name."""

    code = "model_unknown"
    kind = "not_found"


@dataclass(frozen=True, slots=True)
class Labelled:
    """A labelled frame.

    Attributes:
        mask: (H, W) uint8 mask indices.
        result: its description.
    """

    mask: npt.NDArray[np.uint8]
    result: ItemResult


LabelFrame = Callable[[Image.Image, tuple[str, ...] | None, float], Labelled]
"""Labels an RGB frame from its tags (None lets the classifier find them, from a probability up)."""


class TagToMask:
    """A detection function: masks of the classes that a frame is tagged with.

    Args:
        vocabulary: of the model.
        label_frame: makes the masks.
        tags: by frame name; frames that it does not list get the classifier's tags.
        close: lets go of what `label_frame` holds.
    """

    def __init__(
        self,
        vocabulary: Vocabulary,
        label_frame: LabelFrame,
        tags: TagTable | None = None,
        *,
        close: Callable[[], None] = lambda: None,
    ) -> None:
        self.close = close
        self._vocabulary = vocabulary
        self._label_frame = label_frame
        self._tags = tags
        labels = [cvataa.label_spec(entry.name, entry.index) for entry in vocabulary]
        self.spec = cvataa.DetectionFunctionSpec(labels=labels)

    def detect(self, context: cvataa.DetectionFunctionContext, image: Image.Image) -> list[models.LabeledShapeRequest]:
        """Return a mask for each class that the frame shows, or polygons where CVAT asks for those.

        The confidence is the mean CAM score of the mask, or, where the classifier found the tags, its probability.
        """
        found = self._tags.find(context.frame_name) if self._tags is not None else None
        if found is not None and not found.tags:
            return []  # somebody looked, and nothing of interest is on it
        threshold = context.conf_threshold
        labelled = self._label_frame(image.convert("RGB"), found.tags if found else None, _open_unit(threshold))
        rows = {row.name: row for row in labelled.result.classes}
        shapes: list[models.LabeledShapeRequest] = []
        for entry, region in classes_in(labelled.mask, self._vocabulary):
            row = rows[entry.name]
            score = row.tag_probability if labelled.result.tag_source == "model" else row.score
            if threshold is None or score >= threshold:
                shapes += _shapes(entry, region, score, polygons=context.conv_mask_to_poly)
        return shapes


def create(
    *,
    url: str = "",
    key: str = "",
    model: str = "",
    preset: str = "balanced",
    tags: str = "",
    unknown_tags: str = "open",
    map: str = "",  # noqa: A002 - as `--map` of the command line
    device: str = "auto",
) -> TagToMask:
    """Make the function from the parameters of `cvat-cli -p NAME=str:VALUE`.

    Args:
        url: of a running service; empty runs the model here.
        key: API key of the service.
        model: its name at the service, or the folder of a model here; empty means the default.
        preset: `fast`, `balanced` or `paper`.
        tags: file of tags by frame name: CSV, JSON Lines or COCO JSON.
        unknown_tags: `learn`, `open` or `refuse`: what is done about words that are not understood.
        map: CSV of word and class: the user's own words.
        device: where the model runs, without `url`.

    Raises:
        InvalidTagFile, InvalidMapping, UnknownTag, InvalidOption, InvalidCheckpoint, DeviceUnavailable, ModelUnknown,
        ServiceError
    """
    table = read_tags(Path(tags)) if tags else None
    mapping = read_mapping(Path(map)) if map else {}
    if not url:
        vocabulary, label_frame = _local(model, preset, device, mapping)
        _settle(unknown_tags, table, vocabulary, mapping)
        return TagToMask(vocabulary, label_frame, table)
    from toco.service.client.client import Client  # noqa: PLC0415 - only where a service is asked

    client = Client(url, key=key)
    vocabulary, label_frame = _remote(client, model, preset, mapping)
    _settle(unknown_tags, table, vocabulary, mapping)
    return TagToMask(vocabulary, label_frame, table, close=client.close)


def _settle(policy: str, table: TagTable | None, vocabulary: Vocabulary, mapping: Mapped) -> None:
    """Say what is done about words that are not understood, or refuse them before CVAT sends a frame."""
    if policy not in get_args(UnknownTags):
        raise InvalidOption(f"unknown_tags = {policy!r}.", fix=f"Use one of {', '.join(get_args(UnknownTags))}.")
    check = check_tags((row.tags for row in (table or {}).values()), vocabulary, mapping)
    for note in settle_unknown(cast("UnknownTags", policy), check):
        logger.warning(note)


def _remote(client: "Client", model: str, preset: str, mapping: Mapped) -> tuple[Vocabulary, LabelFrame]:
    listed = client.models()["models"]
    known = {entry["name"]: entry for entry in listed}
    chosen = known.get(model) if model else next((entry for entry in listed if entry["default"]), None)
    if chosen is None:
        raise ModelUnknown(f"The service has no model {model!r}.", fix=f"It has {', '.join(known) or 'none'}.")
    vocabulary = Vocabulary(ClassName(e["name"], e["index"], tuple(e["synonyms"])) for e in chosen["classes"])

    def label_frame(frame: Image.Image, tags: tuple[str, ...] | None, tag_threshold: float) -> Labelled:
        file = io.BytesIO()
        frame.save(file, "PNG", compress_level=1)
        settings: dict[str, Any] = {
            "model": chosen["name"],
            "preset": preset,
            "options": {"tag_threshold": tag_threshold},
            "outputs": ["pseudo_mask"],
            "unknown_tags": "open",
            "mapping": dict(mapping),
        }
        found: Mapping[str, Any] = client.label(file.getvalue(), tags, **settings)["item"]
        return Labelled(
            mask=read_mask(client.artifact(found["job"], found["id"], PSEUDO_MASK)),
            result=read_result(client.artifact(found["job"], found["id"], RESULT)),
        )

    return vocabulary, label_frame


def _local(model: str, preset: str, device: str, mapping: Mapped) -> tuple[Vocabulary, LabelFrame]:
    from toco.model.formats.result import result_of  # noqa: PLC0415 - only needed here
    from toco.model.labelling.labeler import Labeler  # noqa: PLC0415 - imports torch: only where the model runs here

    labeler = Labeler.from_folder(Path(model), device=device) if model else Labeler.from_folder(device=device)

    def label_frame(frame: Image.Image, tags: tuple[str, ...] | None, tag_threshold: float) -> Labelled:
        options = preset_options(preset, tag_threshold=tag_threshold)
        label = labeler.label_one(np.array(frame), tags, options, mapping=mapping)
        return Labelled(label.pseudo_mask, result_of(label, labeler.spec, options))

    return labeler.spec.vocabulary, label_frame


def _open_unit(threshold: float | None) -> float:
    """Return CVAT's threshold as a probability that tags are taken from: inside 0..1, ends excluded."""
    return min(max(_DEFAULT_TAG_THRESHOLD if threshold is None else threshold, 1e-6), 1 - 1e-6)


def _shapes(
    entry: ClassName, region: npt.NDArray[np.bool_], score: float, *, polygons: bool
) -> list[models.LabeledShapeRequest]:
    if not polygons:
        return [cvataa.mask(entry.index, encode_runs(region), score=score)]
    found = mask_to_polygons(region, tolerance=_POLYGON_TOLERANCE, min_area=_POLYGON_MIN_AREA)
    return [
        cvataa.polygon(entry.index, polygon.bridged().astype(float).ravel().tolist(), score=score) for polygon in found
    ]
