"""What the client does to bring masks back that were corrected in another tool."""

from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from toco.model.errors import TocoError
from toco.model.formats.annotation_zip import read_annotation_zip
from toco.model.formats.artifacts import encode_mask
from toco.model.photos.classes import IGNORE, ClassName, Vocabulary
from toco.model.photos.images import read_mask
from toco.service.client.corrections import Corrections

JsonObject = dict[str, Any]


class MasksBack(Corrections):
    """The part of `Client` that imports masks; see there."""

    @abstractmethod
    def items(self, /, job: str, **query: Any) -> Iterator[JsonObject]:
        """Yield items; see `Client`."""

    @abstractmethod
    def job(self, job: str) -> JsonObject:
        """Return a job; see `Client`."""

    @abstractmethod
    def models(self) -> JsonObject:
        """Return the models; see `Client`."""

    def import_masks(self, job: str, file: Path | str, *, accept: bool = False) -> JsonObject:
        """Make revisions of the masks in a zip that CVAT exported; photos are found by their names without suffix.

        What the labels leave open and the tool shows as background stays open: such zips hold no open pixels. A mask
        that is what the label is already makes no revision.

        Args:
            job: id.
            file: the zip, "Segmentation mask 1.1" or "CVAT for images 1.1".
            accept: whether the labels are accepted as well.

        Returns:
            `revisions` and `same` (counts), `refused` (why, by photo), `unknown_labels`.

        Raises:
            ServiceError
            InvalidAnnotations: the file is no such zip.
        """
        vocabulary = self._vocabulary(job)
        by_name: dict[str, list[JsonObject]] = {}
        for item in self.items(job, state="done"):
            by_name.setdefault(str(PurePosixPath(item["name"]).with_suffix("")), []).append(item)

        def size_of(name: str) -> tuple[int, int] | None:
            found = by_name.get(name, [])
            return (found[0]["height"], found[0]["width"]) if len(found) == 1 else None

        revisions = same = 0
        refused: dict[str, str] = {}
        unknown: set[str] = set()
        for sent in read_annotation_zip(Path(file), vocabulary, size_of):
            unknown |= set(sent.unknown)
            if sent.mask is None:
                refused[sent.name] = str(sent.error)
                continue
            (item,) = by_name[sent.name]
            current = read_mask(self.mask(job, item["id"]))
            mask = np.where((sent.mask == 0) & (current == IGNORE), np.uint8(IGNORE), sent.mask)
            if np.array_equal(mask, current):
                same += 1
                continue
            try:
                self.put_mask(
                    job, item["id"], encode_mask(mask), how="cvat", expected=item["revision"]["number"], accept=accept
                )
                revisions += 1
            except TocoError as error:
                refused[sent.name] = str(error)
        return {"revisions": revisions, "same": same, "refused": refused, "unknown_labels": sorted(unknown)}

    def _vocabulary(self, job: str) -> Vocabulary:
        """Return the classes of a job's masks: its own where it learnt words, else those of its model."""
        found = self.job(job)
        classes: Sequence[Mapping[str, Any]] = found["classes"]
        if not classes:
            classes = next(entry for entry in self.models()["models"] if entry["name"] == found["model"])["classes"]
        return Vocabulary(ClassName(entry["name"], entry["index"], tuple(entry["synonyms"])) for entry in classes)
