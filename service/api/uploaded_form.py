"""Multipart jobs: photos, an archive, a manifest and fields, spooled to disk as they come in."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import IO, Any, Final, cast, get_args

from pydantic import TypeAdapter, ValidationError
from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from toco.jobs.mappings import Mappings
from toco.jobs.settings import Settings
from toco.model.errors import InvalidOption, TocoError
from toco.model.formats.artifacts import Output, require_outputs
from toco.model.photos.archives import ArchiveLimits, ArchiveTooLarge, PhotoArchive, open_archive
from toco.model.photos.assignment import UNTAGGED, Assignment, LeftOut, PlacedTable, Untagged, assign, place_tables
from toco.model.photos.mapping import InvalidMapping, parse_mapping
from toco.model.photos.pages import Pages
from toco.model.photos.tables.reading import MAX_TABLE_BYTES, TableReading, parse_table
from toco.model.photos.tag_check import UnknownTags
from toco.model.photos.tags import split_tags
from toco.service.api.submission import JobRequest, Photo, parse_options

_FIELD_BYTES: Final = 1024 * 1024
_OTHER_FIELDS: Final = 100
_WORDS: Final = TypeAdapter(dict[str, str])

MANIFEST_FIELD: Final[dict[str, Any]] = {
    "manifest": {"type": "string", "format": "binary", "description": "CSV, .xlsx or JSON of tags."}
}
MAPPING_FIELD: Final[dict[str, Any]] = {
    "mapping": {
        "type": "string",
        "description": "Own words: a CSV file of word,class, a JSON object, or a kept mapping's name.",
    }
}
PHOTO_FIELDS: Final[dict[str, Any]] = {
    "images": {"type": "array", "items": {"type": "string", "format": "binary"}},
    "tags": {
        "type": "array",
        "items": {"type": "string"},
        "description": "One for all images or one an image, each comma-separated.",
    },
    "archive": {
        "type": "string",
        "format": "binary",
        "description": "zip or tar; a table in it lists the tags of its own folder's photos.",
    },
    **MANIFEST_FIELD,
    "upload": {"type": "string", "description": "Id of a finished resumable upload (zip or tar)."},
}
"""How OpenAPI describes the fields that `form_photos`, and who calls it, read."""


@dataclass(frozen=True, slots=True)
class Sent:
    """The photos of a request, with what was understood of their tags.

    Attributes:
        photos: taken one by one, so that few are in memory at once.
        names: of all of them.
        tables: those that were read.
        notes: what does not fit, and what was left out.
    """

    photos: Iterator[Photo]
    names: tuple[str, ...] = ()
    tables: tuple[TableReading, ...] = ()
    notes: tuple[str, ...] = ()


def read_form(request: Request, settings: Settings) -> AbstractAsyncContextManager[FormData]:
    """Parse a multipart body; its temporary files go with the block. Raises HTTPException (400) if it is none."""
    return request.form(
        max_files=settings.max_files_per_job + _OTHER_FIELDS,
        max_fields=settings.max_files_per_job + _OTHER_FIELDS,
        max_part_size=_FIELD_BYTES,
    )


def job_request(form: FormData, mappings: Mappings, workspace: str, *, idempotency_key: str) -> JobRequest:
    """Read the fields of a multipart job beside its photos.

    Raises:
        InvalidOption: names the field that does not fit.
        InvalidMapping, MappingNotFound
    """
    return JobRequest(
        model=text_field(form, "model"),
        preset=text_field(form, "preset") or "balanced",
        options=parse_options(text_field(form, "options")),
        outputs=output_names(_texts(form, "outputs")),
        unknown_tags=unknown_tags_field(form),
        mapping=form_mapping(form, mappings, workspace),
        name=text_field(form, "name")[:200],
        priority=_choice(form, "priority", ("batch", "interactive")),
        webhook=text_field(form, "webhook"),
        webhook_secret=text_field(form, "webhook_secret"),
        idempotency_key=idempotency_key,
        learn_as=text_field(form, "learn_as"),
    )


def form_mapping(form: FormData, mappings: Mappings, workspace: str) -> dict[str, str]:
    """Read the field `mapping`: a CSV file, or see `parse_mapping_field`. Raises InvalidMapping, MappingNotFound."""
    value = form.get("mapping")
    if isinstance(value, UploadFile):
        value.file.seek(0)
        return parse_mapping(value.file.read(), name=value.filename or "mapping")
    return mappings.folded(parse_mapping_field(value or ""), workspace)


def parse_mapping_field(text: str) -> dict[str, str] | str:
    """Read a field that holds an object of words and classes as JSON, or the name of a kept mapping.

    Raises:
        InvalidMapping
    """
    if not text.strip().startswith("{"):
        return text.strip()
    try:
        return _WORDS.validate_json(text)
    except ValidationError:
        raise InvalidMapping("mapping is no object of words.", fix='Send an object such as {"Hund": "dog"}.') from None


def output_names(values: Sequence[str]) -> tuple[Output, ...]:
    """Read the artifacts wanted: repeated, comma-separated, or both. Raises InvalidOption."""
    return require_outputs(name for value in values for name in split_tags(value))


def tag_field(values: Sequence[str]) -> tuple[str, ...] | None:
    """Read tags: repeated, comma-separated, or both; None where the field is missing or blank."""
    tags = tuple(dict.fromkeys(tag for value in values for tag in split_tags(value)))
    return tags or None


def unknown_tags_field(form: FormData) -> UnknownTags:
    """Read what is done about words that are not understood. Raises InvalidOption."""
    return cast("UnknownTags", _choice(form, "unknown_tags", get_args(UnknownTags)))


def untagged_field(form: FormData) -> Untagged | None:
    """Read what becomes of photos that nothing lists; None where the field is missing. Raises InvalidOption."""
    return cast("Untagged | None", _choice(form, "untagged", ("", *UNTAGGED)) or None)


def pages_field(form: FormData) -> Pages:
    """Read which pages of a TIFF are labelled. Raises InvalidOption."""
    return cast("Pages", _choice(form, "pages", get_args(Pages)))


@contextmanager
def form_photos(form: FormData, settings: Settings, *, upload: IO[bytes] | None = None) -> Iterator[Sent]:
    """Find the photos of a multipart job and their tags.

    Args:
        form: fields `images` (repeated) with `tags` (one for all, or one an image), `archive`, `manifest`, `untagged`.
        settings: limits.
        upload: a finished resumable upload: an archive.

    Raises:
        InvalidOption, InvalidTagFile, InvalidArchive, ArchiveTooLarge, NoRowMatches
    """
    images = [value for value in form.getlist("images") if isinstance(value, UploadFile)]
    files = [value.file for value in form.getlist("archive") if isinstance(value, UploadFile)]
    if len(images) > settings.max_files_per_job:
        images = images[: settings.max_files_per_job + 1]  # the submission says that these are too many
    tags = _texts(form, "tags")
    if len(tags) not in (0, 1, len(images)):
        raise InvalidOption(
            f"{len(tags)} tags fields for {len(images)} images.", fix="Send one for all images, one an image, or none."
        )
    names = [_name_of(image) or f"image_{number}" for number, image in enumerate(images)]
    own = [tag_field([text]) for text in tags] if len(tags) > 1 else [None] * len(images)
    shared = tag_field(tags) if len(tags) == 1 else None
    with archives(files if upload is None else [*files, upload], settings) as opened:
        table = sent_table(form)
        manifest = None if table is None else PlacedTable("", table)
        known = find_tags(opened, names, manifest, shared=shared)
        of_images = known.pop()
        untagged = untagged_field(form)
        entries = list(zip(images, names, own, strict=False))
        sent = [_image_photos(entries, of_images, untagged, settings.max_image_bytes)]
        sent += [archive_photos(archive, found, untagged) for archive, found in zip(opened, known, strict=True)]
        all_names = (*names, *(name for archive in opened for name in archive.collection.photos))
        yield Sent(
            chain.from_iterable(sent),
            all_names,
            *told([*known, of_images] if manifest is None else [of_images], opened),
        )


@contextmanager
def archives(files: Sequence[IO[bytes]], settings: Settings) -> Iterator[list[PhotoArchive]]:
    """Open archives and list what they hold. Raises InvalidArchive, ArchiveTooLarge."""
    limits = ArchiveLimits(
        files=settings.max_files_per_job, file_bytes=settings.max_image_bytes, ratio=settings.max_archive_ratio
    )
    with ExitStack() as stack:
        yield [stack.enter_context(open_archive(file, limits)) for file in files]


def find_tags(
    opened: Sequence[PhotoArchive],
    names: Sequence[str] = (),
    manifest: PlacedTable | None = None,
    *,
    shared: tuple[str, ...] | None = None,
) -> list[Assignment]:
    """Find the tags of photos: in a manifest beside them, or else in the tables of each archive.

    Args:
        opened: archives.
        names: of photos that came beside them.
        manifest: lists any of these photos.
        shared: tags of photos that nothing lists.

    Returns:
        The tags of each archive's photos, then those of the others.

    Raises:
        InvalidTagFile: a table does not fit.
        NoRowMatches: a table names none of the photos.
    """
    if manifest is not None:
        photos = [name for archive in opened for name in archive.collection.photos]
        found = [assign([*photos, *names], [manifest], others=shared)] * (len(opened) + 1)
    else:
        tables = [place_tables(archive.collection) for archive in opened]
        found = [
            assign(archive.collection.photos, placed, others=shared)
            for archive, placed in zip(opened, tables, strict=True)
        ]
        found.append(assign(names, (), others=shared))
    for assignment in found:
        assignment.require_match()
    return found


def told(
    found: Sequence[Assignment], opened: Sequence[PhotoArchive]
) -> tuple[tuple[TableReading, ...], tuple[str, ...]]:
    """Return the tables that were read, and what does not fit and was left out."""
    tables = tuple(table for assignment in found for table in assignment.tables)
    notes = [note for assignment in found for note in assignment.notes()]
    return tables, (*notes, *(note for archive in opened for note in archive.collection.notes()))


def archive_photos(archive: PhotoArchive, found: Assignment, untagged: Untagged | None) -> Iterator[Photo]:
    """Yield the photos of an archive; what it refuses becomes a photo that fails.

    Raises:
        ArchiveTooLarge: it unpacks to too much.
    """
    for name in archive.collection.photos:
        try:
            tags = found.tags_of(name, untagged)
            photo = Photo(name, tags, content=archive.read(name), part=found.part_of(name))
        except LeftOut:
            continue
        except ArchiveTooLarge:
            raise
        except TocoError as error:
            photo = Photo(name, None, error=error)
        yield photo
    for name, reason in archive.collection.refused.items():
        yield Photo(name, None, error=reason)


def _image_photos(
    images: Sequence[tuple[UploadFile, str, tuple[str, ...] | None]],
    found: Assignment,
    untagged: Untagged | None,
    most_bytes: int,
) -> Iterator[Photo]:
    """Yield the photos of images with their names and own tags; a row of a table goes before these."""
    some = any(own for _, _, own in images)
    for image, name, own in images:
        tags = own if name not in found.tagged else None
        try:
            if tags is None:
                tags = found.tags_of(name, untagged or ("refuse" if some else None))
        except LeftOut:
            continue
        except TocoError as error:
            yield Photo(name, None, error=error)
        else:
            image.file.seek(0)
            yield Photo(name, tags, content=image.file.read(most_bytes + 1), part=found.part_of(name))


def sent_table(form: FormData) -> TableReading | None:
    """Read the field `manifest`: a file, or its text; None where it is missing. Raises InvalidTagFile."""
    value = form.get("manifest")
    if isinstance(value, UploadFile):
        value.file.seek(0)
        return parse_table(value.file.read(MAX_TABLE_BYTES + 1), value.filename or "manifest")
    return parse_table(value.encode(), "manifest") if value else None


def _name_of(image: UploadFile) -> str:
    """Return the name of a file as its sender has it: in a form, `"` is written as `%22` (WHATWG HTML, form data)."""
    return (image.filename or "").replace("%22", '"')


def _texts(form: FormData, name: str) -> list[str]:
    return [value for value in form.getlist(name) if isinstance(value, str)]


def text_field(form: FormData, name: str) -> str:
    """Read a field of text, stripped; empty where it is missing."""
    return (_texts(form, name) or [""])[0].strip()


def _choice(form: FormData, name: str, choices: tuple[str, ...]) -> Any:
    value = text_field(form, name) or choices[0]
    if value not in choices:
        raise InvalidOption(f"{name} = {value!r}.", fix=f"Use one of {', '.join(choices)}.")
    return value
