"""Labelled items as Label Studio predictions."""

from typing import Any

from pydantic import BaseModel

from toco.jobs.job import ItemRecord
from toco.jobs.store import ObjectNotFound
from toco.model.formats.item import LabelledItem
from toco.model.formats.label_studio import RegionKind
from toco.model.options import Thresholds
from toco.service.annotation.shared_labels import Place
from toco.service.api.state import AppState
from toco.service.label_studio.labelling_config import parse_labelling_config
from toco.service.label_studio.prediction_regions import RegionBuilder
from toco.service.label_studio.project_options import ProjectOptions

JsonObject = dict[str, Any]

CAM_SUFFIX = "/cam"
"""Ends the model version of the second prediction, which holds the unrefined CAMs."""


class Terms(BaseModel):
    """On what terms a project wants its predictions.

    Attributes:
        label_config: the labelling config.
        options: of the project.
        version: the model version that Label Studio sees.
    """

    label_config: str
    options: ProjectOptions
    version: str


class Predictions:
    """Makes predictions of items that are done.

    Args:
        state: of the application.
    """

    def __init__(self, state: AppState) -> None:
        self._state = state

    def of(
        self, place: Place, record: ItemRecord, terms: Terms, *, without: frozenset[RegionKind] = frozenset()
    ) -> list[JsonObject]:
        """Return the prediction of an item, and that of its CAMs if the project asks for it.

        Args:
            place: the item.
            record: of the item, done.
            terms: of the project.
            without: kinds of regions that are not wanted now.

        Raises:
            InvalidLabellingConfig, ModelNotFound, InvalidArtifact, StorageUnavailable
        """
        job = self._state.records.job(place.job)
        vocabulary = self._state.catalogue.vocabulary_of(job)
        item = LabelledItem(record.name, lambda name: self._load(record, name))
        builder = RegionBuilder(item, parse_labelling_config(terms.label_config), vocabulary, terms.options)
        regions = builder.refined(without=without)
        found = [{"result": regions, "score": round(item.result.score, 4), "model_version": terms.version}]
        if terms.options.cams:
            said = item.result.options.get("thresholds")
            if said is None:  # of a version that did not note those of the model
                thresholds = self._state.catalogue.spec(job.options.model, job.workspace).thresholds
            else:
                thresholds = Thresholds.model_validate(said)
            found.append(
                {
                    "result": builder.unrefined(threshold=thresholds.plain),
                    "score": found[0]["score"],
                    "model_version": terms.version + CAM_SUFFIX,
                }
            )
        return found

    def _load(self, record: ItemRecord, name: str) -> bytes | None:
        try:
            return self._state.store.get(record.key_of(name))
        except ObjectNotFound:
            return None
