"""Multipart jobs: photos, an archive, a manifest and fields, spooled to disk as they come in."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import IO, Any, Final

from starlette.datastructures import FormData, UploadFile
from starlette.requests import Request

from toco.jobs.settings import Settings
from toco.model.errors import InvalidOption, TocoError
from toco.model.formats.artifacts import Output, require_outputs
from toco.model.photos.archives import ArchiveLimits, read_archive
from toco.model.photos.tables.reading import parse_table
from toco.model.photos.tags import TagTable, split_tags
from toco.service.api.submission import JobRequest, Photo, parse_options

_FIELD_BYTES: Final = 1024 * 1024
_OTHER_FIELDS: Final = 100


class UnusedRows(TocoError):
    """The manifest names photos that were not sent."""

    code = "unused_manifest_rows"
    kind = "invalid"


def read_form(request: Request, settings: Settings) -> AbstractAsyncContextManager[FormData]:
    """Parse a multipart body; its temporary files go with the block. Raises HTTPException (400) if it is none."""
    return request.form(
        max_files=settings.max_files_per_job + _OTHER_FIELDS,
        max_fields=settings.max_files_per_job + _OTHER_FIELDS,
        max_part_size=_FIELD_BYTES,
    )


def job_request(form: FormData, *, idempotency_key: str) -> JobRequest:
    """Read the fields of a multipart job beside its photos.

    Raises:
        InvalidOption: names the field that does not fit.
    """
    return JobRequest(
        model=_text(form, "model"),
        preset=_text(form, "preset") or "balanced",
        options=parse_options(_text(form, "options")),
        outputs=output_names(_texts(form, "outputs")),
        unknown_tags=_choice(form, "unknown_tags", ("error", "ignore")),
        name=_text(form, "name")[:200],
        priority=_choice(form, "priority", ("batch", "interactive")),
        webhook=_text(form, "webhook"),
        webhook_secret=_text(form, "webhook_secret"),
        idempotency_key=idempotency_key,
    )


def output_names(values: Sequence[str]) -> tuple[Output, ...]:
    """Read the artifacts wanted: repeated, comma-separated, or both. Raises InvalidOption."""
    return require_outputs(name for value in values for name in split_tags(value))


def tag_field(values: Sequence[str]) -> tuple[str, ...] | None:
    """Read tags: repeated, comma-separated, or both; None where the field is missing or blank."""
    tags = tuple(dict.fromkeys(tag for value in values for tag in split_tags(value)))
    return tags or None


def form_photos(form: FormData, settings: Settings, *, upload: IO[bytes] | None = None) -> Iterator[Photo]:
    """Yield the photos of a multipart job, reading one at a time.

    Args:
        form: fields `images` (repeated) with `tags` (one for all, or one an image), `archive`, `manifest`.
        settings: limits.
        upload: a finished resumable upload: an archive.

    Raises:
        InvalidOption, InvalidTagFile, InvalidArchive, ArchiveTooLarge, UnusedRows
    """
    images = [value for value in form.getlist("images") if isinstance(value, UploadFile)]
    archives = [value.file for value in form.getlist("archive") if isinstance(value, UploadFile)]
    manifest = _manifest(form)
    if len(images) > settings.max_files_per_job:
        images = images[: settings.max_files_per_job + 1]  # the submission says that these are too many
    tags = _texts(form, "tags")
    if len(tags) not in (0, 1, len(images)):
        raise InvalidOption(
            f"{len(tags)} tags fields for {len(images)} images.", fix="Send one for all images, one an image, or none."
        )
    names = [image.filename or f"image_{number}" for number, image in enumerate(images)]
    if manifest is not None and not archives and upload is None:
        _require_used(manifest, names)
    for number, (image, name) in enumerate(zip(images, names, strict=True)):
        own = tag_field([tags[number if len(tags) > 1 else 0]]) if tags else None
        listed = manifest.find(name) if manifest is not None else None
        image.file.seek(0)
        yield Photo(name, listed.tags if listed else own, content=image.file.read(settings.max_image_bytes + 1))
    for archive in [*archives, *([upload] if upload is not None else [])]:
        yield from archive_photos(archive, settings, manifest=manifest, tags=tag_field(tags[:1]))


def archive_photos(
    file: IO[bytes], settings: Settings, *, manifest: TagTable | None, tags: tuple[str, ...] | None
) -> Iterator[Photo]:
    """Yield the photos of an archive; a table of tags inside it counts as the manifest if none came beside it.

    Args:
        file: seekable.
        settings: limits.
        manifest: tags by name, or None.
        tags: of photos that no manifest lists.

    Raises:
        InvalidArchive, ArchiveTooLarge, InvalidTagFile, UnusedRows
    """
    limits = ArchiveLimits(
        files=settings.max_files_per_job, file_bytes=settings.max_image_bytes, ratio=settings.max_archive_ratio
    )
    names = []
    for entry in read_archive(file, limits):  # first for names and tags alone: a manifest may come last
        if not entry.is_manifest:
            names.append(entry.name)
        elif manifest is None:
            manifest = parse_table(entry.content, entry.name).table
    if manifest is not None:
        _require_used(manifest, names)
    for entry in read_archive(file, limits):
        if not entry.is_manifest:
            listed = manifest.find(entry.name) if manifest is not None else None
            yield Photo(entry.name, listed.tags if listed else tags, content=entry.content)


def _manifest(form: FormData) -> TagTable | None:
    value = form.get("manifest")
    if isinstance(value, UploadFile):
        value.file.seek(0)
        return parse_table(value.file.read(), value.filename or "manifest").table
    return parse_table(value.encode(), "manifest").table if value else None


def _require_used(manifest: TagTable, names: Sequence[str]) -> None:
    unused = manifest.unused(names)
    if unused:
        raise UnusedRows(
            f"{len(unused)} rows of the manifest name photos that were not sent: {', '.join(unused[:5])}.",
            fix="Send the photos, or take the rows out.",
        )


def _texts(form: FormData, name: str) -> list[str]:
    return [value for value in form.getlist(name) if isinstance(value, str)]


def _text(form: FormData, name: str) -> str:
    return (_texts(form, name) or [""])[0].strip()


def _choice(form: FormData, name: str, choices: tuple[str, ...]) -> Any:
    value = _text(form, name) or choices[0]
    if value not in choices:
        raise InvalidOption(f"{name} = {value!r}.", fix=f"Use one of {', '.join(choices)}.")
    return value
