"""Label a folder of photos into a folder of artifacts: resumable, and no bad photo stops the others.

    OUT/artifacts/<photo>/...          artifacts (`formats.artifacts`), among them `result.json`
    OUT/artifacts/<photo>/asked.json   what was asked: digest of the photo, its tags, model and options
    OUT/failures.jsonl                 photos that failed in the last run, and why

A photo is finished when its `result.json` is there; it is written last, and whole or not at all.
"""

import hashlib
import json
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePath
from typing import Any, Final, Literal, Protocol

from toco.model.errors import TocoError
from toco.model.formats.artifacts import (
    CAMS,
    OVERLAY,
    PSEUDO_MASK,
    RESULT,
    TOKENS,
    Output,
    encode_artifacts,
    encode_result,
)
from toco.model.formats.artifacts import SEGMENTATION as SEGMENTATION_FILE
from toco.model.formats.export import ExportReport, export_items
from toco.model.formats.item import LabelledItem
from toco.model.formats.mask_files import digest_of, read_masks
from toco.model.formats.result import result_of
from toco.model.formats.sink import FolderSink
from toco.model.formats.splits import Split, split_photos
from toco.model.formats.writer import ExportOptions
from toco.model.labelling.labeler import LabelRequest
from toco.model.labelling.plan import PlannedPhoto
from toco.model.method.label import Label
from toco.model.options import LabelOptions
from toco.model.photos.understanding import NO_MAPPING, Mapped, UnderstoodTag, understand_all
from toco.model.spec import ModelSpec
from toco.model.whole_file import write_whole

ARTIFACTS: Final = "artifacts"
ASKED: Final = "asked.json"
FAILURES: Final = "failures.jsonl"

Event = Literal["done", "resumed", "failed"]

_FILE_OF: Final[dict[Output, str]] = {"cam": CAMS, "pseudo_mask": PSEUDO_MASK, "overlay": OVERLAY, "tokens": TOKENS}


_Asked = tuple[PlannedPhoto, dict[str, Any]]


class SupportsLabel(Protocol):
    """The part of `Labeler` that a run needs."""

    spec: ModelSpec

    def label(
        self, requests: Iterable[LabelRequest], options: LabelOptions | None = None
    ) -> Iterator[tuple[LabelRequest, Label | TocoError]]:
        """Label photos in order; see `Labeler.label`."""
        ...


@dataclass(slots=True)
class RunSummary:
    """What became of a run's photos.

    Attributes:
        done: labelled now.
        resumed: finished by an earlier run with the same model, options, tags and photo.
        skipped: left out for want of tags.
        failures: error by name of photo.
        photos_with_class: in how many finished photos a class is among the tags.
        pixels_of_class: its pixels in their pseudo masks.
        open_tags: words that were not understood, by number of finished photos.
        open_photos: photos with such words.
        wholly_open: photos of whose mask every pixel is open; exports leave them out.
        empty_tags: tagged classes that a mask does not show, by number of photos.
        tagged_by_model: photos whose tags the classifier chose.
        with_masks: photos that masks from elsewhere were merged into.
        capped: photos that were shrunk for refinement, their masks mapped back to their own size.
        of_several: files of several pictures (frames, pages), of which the first is labelled.
        pixels, ignored_pixels: of all finished pseudo masks.
        seconds: wall time.
    """

    done: int = 0
    resumed: int = 0
    skipped: int = 0
    failures: dict[str, TocoError] = field(default_factory=dict)
    photos_with_class: Counter[str] = field(default_factory=Counter)
    pixels_of_class: Counter[str] = field(default_factory=Counter)
    open_tags: Counter[str] = field(default_factory=Counter)
    open_photos: int = 0
    wholly_open: int = 0
    empty_tags: Counter[str] = field(default_factory=Counter)
    tagged_by_model: int = 0
    with_masks: int = 0
    capped: int = 0
    of_several: int = 0
    pixels: int = 0
    ignored_pixels: float = 0.0
    seconds: float = 0.0

    @property
    def ignore_ratio(self) -> float:
        """Share (0..1) of all pixels that the pseudo masks leave open."""
        return self.ignored_pixels / self.pixels if self.pixels else 0.0

    def as_json(self) -> dict[str, Any]:
        """Return the summary as JSON values, without the failures' reasons (see `failures.jsonl`)."""
        return {
            "done": self.done,
            "resumed": self.resumed,
            "skipped": self.skipped,
            "failed": len(self.failures),
            "ignore_ratio": self.ignore_ratio,
            "classes": {
                name: {"photos": photos, "area_ratio": self.pixels_of_class[name] / self.pixels}
                for name, photos in self.photos_with_class.most_common()
            },
            "open_tags": dict(self.open_tags.most_common()),
            "open_photos": self.open_photos,
            "wholly_open_photos": self.wholly_open,
            "empty_tags": dict(self.empty_tags.most_common()),
            "tagged_by_model": self.tagged_by_model,
            "with_masks": self.with_masks,
            "capped": self.capped,
            "of_several": self.of_several,
            "seconds": self.seconds,
        }

    def count(self, item: LabelledItem) -> None:
        """Add a finished photo."""
        result = item.result
        pixels = result.size.height * result.size.width
        self.pixels += pixels
        self.ignored_pixels += result.ignore_ratio * pixels
        self.open_tags.update(result.open_tags)
        self.open_photos += bool(result.open_tags)
        self.wholly_open += result.ignore_ratio == 1.0
        self.empty_tags.update(result.empty_tags)
        self.tagged_by_model += result.tag_source == "model"
        self.with_masks += result.masks is not None
        self.capped += result.capped
        self.of_several += result.pictures > 1
        for entry in result.classes:
            self.photos_with_class[entry.name] += 1
            self.pixels_of_class[entry.name] += entry.area


class FolderRun:
    """One run over a folder of photos.

    Args:
        labeler: the model.
        options: of the labels.
        out: folder of the results.
        outputs: artifacts wanted beside `result.json`.
        mapping: the user's own words; see `mapping.fold_mapping`.
        writers: threads that encode and write artifacts.
    """

    def __init__(
        self,
        labeler: SupportsLabel,
        options: LabelOptions,
        out: Path,
        *,
        outputs: frozenset[Output] = frozenset({"cam", "pseudo_mask", "segmentation"}),
        mapping: Mapped = NO_MAPPING,
        writers: int = 2,
    ) -> None:
        self._labeler = labeler
        self._options = options
        self._out = out
        always: frozenset[Output] = frozenset({"pseudo_mask"})  # without it no photo can be exported
        self._outputs = outputs | always
        self._mapping = mapping
        self._writers = writers

    def label(
        self, photos: Sequence[PlannedPhoto], summary: RunSummary, *, on_event: Callable[[Event], None] = lambda _: None
    ) -> None:
        """Label the photos that are not finished yet, and note what became of each.

        Memory does not grow with the number of photos.

        Args:
            photos: see `plan.plan_photos`.
            summary: counts are added here.
            on_event: called after each photo.
        """
        started = time.perf_counter()
        asked: dict[str, _Asked] = {}
        requests = self._requests(photos, asked, summary, on_event)
        writing: deque[tuple[str, Future[TocoError | None]]] = deque()
        with ThreadPoolExecutor(self._writers, thread_name_prefix="artifacts") as pool:
            for request, label in self._labeler.label(requests, self._options):
                photo, question = asked.pop(request.name)
                if isinstance(label, TocoError):
                    _settle(photo.name, label, summary, on_event)
                    continue
                writing.append((photo.name, pool.submit(self._write, photo, label, question)))
                if len(writing) > 2 * self._writers:
                    name, future = writing.popleft()
                    _settle(name, future.result(), summary, on_event)
            for name, future in writing:
                _settle(name, future.result(), summary, on_event)
        summary.seconds += time.perf_counter() - started

    def finished_items(
        self, photos: Iterable[PlannedPhoto], failures: Iterable[str] = (), parts: Mapping[str, str] = NO_MAPPING
    ) -> Iterator[LabelledItem]:
        """Read the finished photos back, in order, failed ones left out; `parts` are those of the data set by name."""
        failed = set(failures)
        for photo in photos:
            if photo.name not in failed:
                load, load_image = _loader(self._folder(photo)), photo.content
                yield LabelledItem(photo.name, load, load_image=load_image, part=parts.get(photo.name, ""))

    def export(
        self, photos: Sequence[PlannedPhoto], formats: Sequence[str], summary: RunSummary, options: ExportOptions
    ) -> None:
        """Write the finished photos in each format to `OUT/<format>/`, and count them.

        Args:
            photos: those of the run; failed ones are left out, and those that cannot be exported become failures.
            formats: names of export formats.
            summary: finished photos are counted here.
            options: of the exports.

        Raises:
            UnknownFormat
            TocoError: a format can take none of the photos; the reason of the first.
        """
        failed = frozenset(summary.failures)
        if all(photo.name in failed for photo in photos):
            return

        def count(item: LabelledItem, report: ExportReport) -> None:
            if item.name in report.errors:
                summary.failures[item.name] = report.errors[item.name]
            else:
                summary.count(item)

        with ExitStack() as stack:
            sinks = {name: stack.enter_context(FolderSink(self._out / name)) for name in formats}
            split = self._split(photos, failed, options)
            items = self.finished_items(photos, failed, split.parts)
            export_items(items, sinks, self._labeler.spec.vocabulary, options, split=split, on_item=count)

    def _split(self, photos: Sequence[PlannedPhoto], failed: frozenset[str], options: ExportOptions) -> Split:
        """Divide the photos that will be exported into the parts that the options ask for."""
        listed = []
        parts = {photo.name: photo.part for photo in photos}
        for item in self.finished_items(photos, failed):
            try:
                if options.open_photos or item.result.ignore_ratio < 1.0:
                    listed.append(item.listed(parts[item.name], look=options.makes_parts))
            except TocoError:
                continue  # the export says what is wrong with it
        return split_photos(listed, options.split, seed=options.seed, subset=options.subset)

    def write_failures(self, summary: RunSummary) -> None:
        """Write `failures.jsonl`, or remove it where nothing failed."""
        path = self._out / FAILURES
        if not summary.failures:
            path.unlink(missing_ok=True)
            return
        lines = (
            json.dumps({"image": name, "code": error.code, "detail": error.detail, "fix": error.fix})
            for name, error in summary.failures.items()
        )
        write_whole(path, "".join(f"{line}\n" for line in lines).encode())

    def _requests(
        self,
        photos: Iterable[PlannedPhoto],
        asked: dict[str, _Asked],
        summary: RunSummary,
        on_event: Callable[[Event], None],
    ) -> Iterator[LabelRequest]:
        """Ask for the photos that are not finished; note in `asked` what was asked."""
        for photo in photos:
            try:
                question = self._question(photo)
            except OSError:
                question = {}  # reading the photo will tell what is wrong with it
            if question and self._finished(photo, question):
                summary.resumed += 1
                on_event("resumed")
                continue
            asked[photo.name] = photo, question
            masks = partial(read_masks, photo.masks) if photo.masks else None
            yield LabelRequest(photo.source, photo.tags, photo.name, mapping=self._mapping, masks=masks)

    def _folder(self, photo: PlannedPhoto) -> Path:
        return self._out / ARTIFACTS / photo.name

    def _question(self, photo: PlannedPhoto) -> dict[str, Any]:
        with photo.path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return (
            {
                "image_sha256": digest,
                "tags": None if photo.tags is None else list(photo.tags),
                "meanings": None if photo.tags is None else [word.understood for word in self._words(photo.tags)],
                "model_version": self._labeler.spec.version,
                "normalisation": [*self._labeler.spec.mean, *self._labeler.spec.std],
                "options_digest": self._labeler.spec.completed(self._options).digest(),
            }
            | ({"masks": digest_of(photo.masks)} if photo.masks else {})
            | ({} if photo.page is None else {"page": photo.page})
        )

    def _words(self, tags: Sequence[str]) -> tuple[UnderstoodTag, ...]:
        return understand_all(tags, self._labeler.spec.vocabulary, self._mapping)

    def _finished(self, photo: PlannedPhoto, question: dict[str, Any]) -> bool:
        folder = self._folder(photo)
        try:
            if json.loads((folder / ASKED).read_bytes()) != question:
                return False
        except (OSError, ValueError):
            return False
        wanted = [_FILE_OF[output] for output in self._outputs if output in _FILE_OF]
        if "segmentation" in self._outputs and self._options.segmentation is not None:
            wanted.append(SEGMENTATION_FILE)
        shows_classes = question["meanings"] is None or any(question["meanings"])
        heat = "heat" not in self._outputs or not shows_classes or any(folder.glob("heat_*.jpg"))
        return heat and all((folder / name).is_file() for name in (RESULT, *wanted))

    def _write(self, photo: PlannedPhoto, label: Label, question: dict[str, Any]) -> TocoError | None:
        """Write the artifacts of a photo, `result.json` last. Runs in a thread of its own."""
        try:
            artifacts = encode_artifacts(label, outputs=self._outputs)
            result = result_of(label, self._labeler.spec, self._options)
        except TocoError as error:
            return error
        folder = self._folder(photo)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / RESULT).unlink(missing_ok=True)
        for old in (
            *folder.glob("heat_*.jpg"),
            *(folder / name for name in (CAMS, SEGMENTATION_FILE, OVERLAY, TOKENS)),
        ):
            old.unlink(missing_ok=True)  # of an earlier run with other tags or outputs
        for name, data in artifacts.items():
            write_whole(folder / name, data)
        write_whole(folder / ASKED, json.dumps(question).encode())
        write_whole(folder / RESULT, encode_result(result))
        return None


def _settle(name: str, error: TocoError | None, summary: RunSummary, on_event: Callable[[Event], None]) -> None:
    if error is None:
        summary.done += 1
    else:
        summary.failures[name] = error
    on_event("done" if error is None else "failed")


def _loader(folder: Path) -> Callable[[str], bytes | None]:
    def load(name: str | PurePath) -> bytes | None:
        try:
            return (folder / name).read_bytes()
        except FileNotFoundError:
            return None

    return load
