"""What a Label Studio project may ask of the backend, as the JSON of its "extra params"."""

import hashlib
import json
from typing import Annotated, Any

from pydantic import Field, ValidationError

from toco.model.errors import InvalidOption
from toco.model.formats.label_studio import RegionKind
from toco.model.options import Frozen, LabelOptions, PresetName
from toco.model.photos.tag_check import UnknownTags
from toco.model.spec import ModelSpec


class ProjectOptions(Frozen):
    """Settings of one project.

    Attributes:
        model: name; empty means the default model.
        preset: name.
        options: changes to the preset, nested as in `LabelOptions`.
        tags_key: of the tags in a task's data; empty means the service's own setting.
        regions: kinds to make; empty means all that the labelling config takes.
        unknown_tags: what is done about words that are not understood.
        mapping: words and the classes that they stand for, or the name of a kept mapping.
        cams: also return the thresholded CAMs, as a second prediction.
        min_area: regions and holes of fewer pixels are left out of polygons and rectangles.
        tolerance: how far, in pixels, a polygon may stray from the outline.
        max_regions: most regions in one prediction; the largest are kept.
        max_rle_bytes: a brush region is exact up to this length, and smoothed until it fits beyond.
    """

    model: str = ""
    preset: PresetName = "balanced"
    options: dict[str, Any] = {}
    tags_key: str = ""
    regions: tuple[RegionKind, ...] = ()
    unknown_tags: UnknownTags = "open"
    mapping: dict[str, str] | str = {}
    cams: bool = False
    min_area: Annotated[int, Field(ge=0)] = 16
    tolerance: Annotated[float, Field(ge=0, le=100)] = 1.0
    max_regions: Annotated[int, Field(ge=1, le=1000)] = 100
    max_rle_bytes: Annotated[int, Field(ge=1000)] = 100_000

    def version(self, spec: ModelSpec, label: LabelOptions) -> str:
        """Return the model version that Label Studio sees: checkpoint, and a digest of all that changes a prediction.

        Args:
            spec: of the model.
            label: the labelling settings in force.
        """
        said = self.model_dump_json(exclude={"model", "preset", "options"}) + spec.completed(label).model_dump_json()
        return f"{spec.version}+{hashlib.sha256(said.encode()).hexdigest()[:12]}"


def parse_project_options(extra_params: object) -> ProjectOptions:
    """Read extra params: JSON text, an object, or nothing.

    Raises:
        InvalidOption: names the field that does not fit.
    """
    if not extra_params:
        return ProjectOptions()
    try:
        found = json.loads(extra_params) if isinstance(extra_params, str) else extra_params
        return ProjectOptions.model_validate(found)
    except json.JSONDecodeError as error:
        raise InvalidOption(f"The extra params are not JSON: {error}.", fix='Write {"preset": "fast"}.') from None
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "extra params"
        known = ", ".join(ProjectOptions.model_fields)
        raise InvalidOption(f"Extra param {where}: {first['msg'].lower()}.", fix=f"Known are {known}.") from None
