"""Label Studio's labelling config: which regions it takes, and how its labels and a model's classes go together.

References:
    labelstud.io/tags (Image, Label, Choice, BrushLabels, PolygonLabels, RectangleLabels, KeyPointLabels).
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from toco.model.errors import TocoError
from toco.model.formats.label_studio import RegionKind
from toco.model.photos.classes import Vocabulary, fold

_KINDS: Final[dict[str, RegionKind]] = {
    "brushlabels": "brush",
    "polygonlabels": "polygon",
    "rectanglelabels": "rectangle",
    "keypointlabels": "keypoint",
}
_DATA_KEY: Final = re.compile(r"\$([\w.\-]+)")
_MAX_CONFIG: Final = 1_000_000  # characters


class InvalidLabellingConfig(TocoError):
    """The labelling config is no XML, or shows no image."""

    code = "invalid_labelling_config"
    kind = "invalid"


@dataclass(frozen=True, slots=True)
class ConfigLabel:
    """One `<Label>` or `<Choice>`.

    Attributes:
        value: what regions carry: the alias where there is one.
        spellings: value and alias.
        predicted: the classes of a model that it stands for, as `predicted_values` lists them.
    """

    value: str
    spellings: tuple[str, ...]
    predicted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Control:
    """A tag that draws regions on the image.

    Attributes:
        kind: of its regions.
        name: its `name`, the `from_name` of its regions.
        labels: in the config's order.
    """

    kind: RegionKind
    name: str
    labels: tuple[ConfigLabel, ...]

    def label_of_class(self, vocabulary: Vocabulary) -> dict[str, str]:
        """Return the label value for each class that the control has a label for.

        What `predicted_values` says goes before what labels are called.
        """
        found: dict[str, str] = {}
        for label in self.labels:
            for name in _known(label.predicted, vocabulary):
                found.setdefault(name, label.value)
        for label in self.labels:
            if not label.predicted:
                for name in _known(label.spellings, vocabulary):
                    found.setdefault(name, label.value)
        return found


@dataclass(frozen=True, slots=True)
class LabellingConfig:
    """What of a labelling config matters here.

    Attributes:
        image_name: `name` of the image tag, the `to_name` of regions.
        image_key: key of the photo's address in a task's data.
        controls: that draw on this image, of the kinds that we make regions for.
        labels: every label and choice of the config.
    """

    image_name: str
    image_key: str
    controls: tuple[Control, ...]
    labels: tuple[ConfigLabel, ...] = field(default=())

    def classes_of_tag(self, tag: str, vocabulary: Vocabulary) -> tuple[str, ...]:
        """Return the classes that a tag means: by the labels of the config, else by the model's own names.

        A tag that means none is returned as it is, for the labelling to report.
        """
        wanted = fold(tag)
        for label in self.labels:
            if wanted in {fold(spelling) for spelling in label.spellings}:
                known = tuple(_known(label.predicted or label.spellings, vocabulary))
                if known:
                    return known
        return (vocabulary.classes[vocabulary.channel(tag)].name,) if tag in vocabulary else (tag,)


def parse_labelling_config(text: str) -> LabellingConfig:
    """Read a labelling config.

    Raises:
        InvalidLabellingConfig: no XML, too large, or without an image.
    """
    if len(text) > _MAX_CONFIG:
        raise InvalidLabellingConfig(f"A labelling config of {len(text):,} characters.", fix="Send a smaller one.")
    try:
        root = ET.fromstring(text)  # noqa: S314 - expat has bounded entity expansion since 2.4.1
    except ET.ParseError as error:
        raise InvalidLabellingConfig(
            f"The labelling config is no XML: {error}.", fix="Save it again in Label Studio's editor."
        ) from None
    image_name, image_key = _image(root)
    controls = tuple(
        Control(kind, element.get("name", ""), tuple(_labels(element)))
        for element in root.iter()
        if (kind := _KINDS.get(element.tag.lower())) and image_name in element.get("toName", "").split(",")
    )
    return LabellingConfig(image_name, image_key, controls, tuple(_labels(root)))


def _image(root: ET.Element) -> tuple[str, str]:
    for element in root.iter():
        key = _DATA_KEY.fullmatch(element.get("value", ""))
        if element.tag.lower() == "image" and key is not None:
            return element.get("name", ""), key[1]
    raise InvalidLabellingConfig(
        "The labelling config shows no image.", fix='It needs a tag such as <Image name="image" value="$image"/>.'
    )


def _labels(parent: ET.Element) -> Iterator[ConfigLabel]:
    for element in parent.iter():
        value = element.get("value", "")
        if element.tag.lower() in ("label", "choice") and value:
            alias = element.get("alias", "")
            predicted = tuple(part.strip() for part in element.get("predicted_values", "").split(",") if part.strip())
            yield ConfigLabel(alias or value, (value, alias) if alias else (value,), predicted)


def _known(spellings: tuple[str, ...], vocabulary: Vocabulary) -> Iterator[str]:
    for spelling in spellings:
        if spelling in vocabulary:
            yield vocabulary.classes[vocabulary.channel(spelling)].name
