"""Words that no model knows, learnt from the photos of the job that uses them, and used beside what the model knows.

    model = learn_job(labeler, photos, folder, mapping=mapping)
    JobLabeler(labeler, model).label(...)       # like any `Labeler`

Photos of known words alone are labelled as ever. Where a learnt word takes part, the fit tells all words of the photo
apart. Words that could not be learnt are not understood: what may show them is left open, as with `open`.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from toco.model.labelling.labeler import Labeler
from toco.model.labelling.plan import PlannedPhoto
from toco.model.labelling.sources import load_source
from toco.model.labelling.stages import PhotoJob, PhotoMaps
from toco.model.learning.label import LearntLabeler
from toco.model.learning.learn import learn_words
from toco.model.learning.learnt_model import LearntModel, load_learnt_model, save_learnt_model
from toco.model.learning.learnt_spec import is_learnt_model, job_vocabulary, numbered_words, read_learnt_spec
from toco.model.learning.planning import job_words
from toco.model.learning.settings import FitSettings
from toco.model.learning.tokens import ModelTokens
from toco.model.method.label import Label
from toco.model.options import LabelOptions
from toco.model.photos.understanding import NO_MAPPING, Mapped

LEARNT_FOLDER = "learnt"
_JOB = "job"  # in `learnt_from`: digest of what was learnt, so that a second run does not learn it anew


def learn_job(
    labeler: Labeler,
    photos: Sequence[PlannedPhoto],
    folder: Path,
    *,
    mapping: Mapped = NO_MAPPING,
    on_photo: Callable[[int, int], None] = lambda _done, _all: None,
) -> LearntModel:
    """Learn all words of a job, or read what an earlier run learnt from the same photos, tags and model.

    Args:
        labeler: whose frozen encoder is used.
        photos: of the job; those without tags teach nothing.
        folder: where the learnt model is kept.
        mapping: see `mapping.fold_mapping`.
        on_photo: called with the number of photos read and to read.

    Raises:
        CannotLearn: no photo can be read, or there are more words than a mask can hold.
    """
    tagged = [photo for photo in photos if photo.tags]
    words = job_words((photo.tags for photo in tagged), labeler.vocabulary, mapping)
    asked = [labeler.spec.version, FitSettings().model_dump(mode="json"), [photo.name for photo in tagged], words]
    digest = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    if is_learnt_model(folder) and read_learnt_spec(folder).learnt_from.get(_JOB) == digest:
        return load_learnt_model(folder)
    reader = ModelTokens(labeler.network, labeler.spec, labeler.device)
    found = learn_words(
        f"{labeler.spec.name}-words",
        words,
        lambda position: load_source(tagged[position].source, reader.side).pixels,
        reader,
        on_photo=on_photo,
    )
    spec = found.spec.model_copy(update={"learnt_from": found.spec.learnt_from | {_JOB: digest}})
    return save_learnt_model(folder, LearntModel(spec, found.weight, found.bias))


class JobLabeler(Labeler):
    """Labels with a model's classes and with words that were learnt beside them.

    Known classes keep their mask indices; learnt words take those that are free after them, in the order of the fit.

    Args:
        labeler: the model.
        model: words that were learnt on its encoder.
        reader: of that encoder, where there is one that others share.

    Raises:
        InvalidLearntModel: they were learnt on another encoder.
        InvalidOption: a mask cannot hold that many classes.
    """

    def __init__(self, labeler: Labeler, model: LearntModel, reader: ModelTokens | None = None) -> None:
        self._known = labeler
        self._learnt = LearntLabeler(reader or ModelTokens(labeler.network, labeler.spec, labeler.device), model)
        self._learnt.vocabulary = numbered_words(model.spec, labeler.vocabulary)
        # What the model knows by itself needs no fit that found it.
        self._learnt.trusted = model.spec.usable | {
            name for name in labeler.vocabulary.names if name in model.spec.vocabulary
        }
        self._learnt.weak = model.spec.weak - set(labeler.vocabulary.names)
        self.spec = labeler.spec.model_copy(
            update={
                "classes": job_vocabulary(model.spec, labeler.vocabulary).classes,
                "name": model.spec.name,
                "weights_sha256": model.spec.weights_sha256,
            }
        )
        self.vocabulary = self.spec.vocabulary
        self.network, self.device, self.crf, self.threads = (
            labeler.network,
            labeler.device,
            labeler.crf,
            labeler.threads,
        )

    def _run_network(self, jobs: list[PhotoJob], options: LabelOptions) -> list[PhotoMaps]:
        maps: dict[int, PhotoMaps] = {}
        for labeler in (self._known, self._learnt):
            mine = [position for position, job in enumerate(jobs) if self._labeler_of(job) is labeler]
            if mine:
                found = labeler._run_network([self._as_asked_of(labeler, jobs[k]) for k in mine], options)  # noqa: SLF001 - both are parts of this labeler
                maps |= dict(zip(mine, found, strict=True))
        return [maps[position] for position in range(len(jobs))]

    def _refine(self, job: PhotoJob, maps: PhotoMaps, options: LabelOptions) -> Label:
        labeler = self._labeler_of(job)
        label = labeler._refine(self._as_asked_of(labeler, job), maps, options)  # noqa: SLF001 - both are parts of this labeler
        return dataclasses.replace(label, vocabulary=self.vocabulary)

    def _labeler_of(self, job: PhotoJob) -> Labeler:
        channels = job.asked.channels or ()
        return self._learnt if any(channel >= len(self._known.vocabulary) for channel in channels) else self._known

    def _as_asked_of(self, labeler: Labeler, job: PhotoJob) -> PhotoJob:
        if labeler is self._known or job.asked.channels is None:
            return job
        channels = labeler.vocabulary.channels(self.vocabulary.names[channel] for channel in job.asked.channels)
        return dataclasses.replace(job, asked=dataclasses.replace(job.asked, channels=channels))
