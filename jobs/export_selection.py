"""The items that an export holds: of one job, or of all jobs of a data set, under one vocabulary and in its parts."""

from collections.abc import Iterator, Sequence

from toco.jobs.data_sets import Member
from toco.jobs.item_index import ItemIndex
from toco.jobs.job import ItemRecord
from toco.jobs.model_catalogue import ModelCatalogue
from toco.jobs.records import Records
from toco.jobs.store import Store
from toco.model.errors import TocoError
from toco.model.formats.item import LabelledItem
from toco.model.formats.joined_vocabulary import join_vocabularies
from toco.model.formats.splits import ListedPhoto, Split, split_photos
from toco.model.formats.writer import ExportOptions
from toco.model.photos.fingerprint import fingerprint
from toco.model.photos.images import read_image
from toco.model.photos.names import UniqueNames

_CHOSEN = {
    "all": "all labelled photos",
    "accepted": "the photos that a person accepted",
    "not_rejected": "the photos that nobody rejected",
}


class ExportSelection:
    """Items in the order of their jobs.

    Args:
        members: the jobs, and which of their items.
        options: of the export.
        records, store, catalogue: where they are kept.

    Attributes:
        vocabulary: of all masks that are exported.
        vocabularies: of each job's own masks, beside its id.

    Raises:
        JobNotFound, ModelNotFound
        InvalidOption: the jobs have more classes together than masks can hold.
    """

    def __init__(
        self,
        members: Sequence[Member],
        options: ExportOptions,
        *,
        records: Records,
        store: Store,
        catalogue: ModelCatalogue,
    ) -> None:
        self._members = members
        self._options = options
        self._index = ItemIndex(records)
        self._store = store
        self._jobs = [records.job(member.job) for member in members]
        own = [catalogue.vocabulary_of(job) for job in self._jobs]
        self.vocabularies = [(job.id, vocabulary) for job, vocabulary in zip(self._jobs, own, strict=True)]
        self.vocabulary, self._recodes = join_vocabularies(own)
        self._names: dict[tuple[str, str], str] = {}

    def split(self) -> Split:
        """Divide the photos into the parts that are asked for, by what their records say."""
        options, listed, unique = self._options, [], UniqueNames()
        for _, item in self._each():
            # Photos of several jobs may have one name.
            name = self._names[item.job, item.id] = unique.take(item.name)
            summary = item.summary
            if summary is not None and (options.open_photos or summary.ignore_ratio < 1.0):
                look = summary.fingerprint or (self._fingerprint(item) if options.makes_parts else "")
                listed.append(ListedPhoto(name, frozenset((*summary.tags, *summary.open_tags)), look, item.part))
        return split_photos(listed, options.split, seed=options.seed, subset=options.subset)

    def items(self, split: Split) -> Iterator[LabelledItem]:
        """Yield the items of the last `split`; what came or went since is left out."""
        for position, item in self._each():
            name = self._names.get((item.job, item.id))
            if name is not None:
                yield self._labelled(item, name, split.parts.get(name, ""), position)

    def about(self, data_set: str) -> list[str]:
        """Return what the data sheet says of where the photos come from."""
        lines = [f"Data set `{data_set}`, of {len(self._jobs)} jobs."] if data_set else []
        for job, member in zip(self._jobs, self._members, strict=True):
            named = f" ({job.name})" if job.name else ""
            chosen = _CHOSEN[member.decisions] + (f" among {len(member.items)} chosen ones" if member.items else "")
            lines.append(f"Job `{job.id}`{named}: {chosen}.")
        return lines

    def _each(self) -> Iterator[tuple[int, ItemRecord]]:
        for position, member in enumerate(self._members):
            for item in self._index.each(member.job, member.query()):
                if member.takes(item):
                    yield position, item

    def _fingerprint(self, item: ItemRecord) -> str:
        """Look at a photo that an older version labelled; one that cannot be read is alike to none."""
        try:
            return fingerprint(read_image(self._store.get(item.image_key)).pixels)
        except TocoError:
            return ""

    def _labelled(self, item: ItemRecord, name: str, part: str, position: int) -> LabelledItem:
        artifacts = item.summary.artifacts if item.summary else {}

        def load(artifact: str) -> bytes | None:
            return self._store.get(item.key_of(artifact)) if artifact in artifacts else None

        return LabelledItem(
            name,
            load,
            load_image=lambda: self._store.get(item.image_key),
            part=part,
            recode=self._recodes[position],
        )
