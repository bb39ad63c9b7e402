"""Places that commands read and write: folders, or prefixes of a bucket, which stand in a folder meanwhile."""

import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Final

import typer

from toco.jobs.buckets import Bucket, Mirror, is_bucket
from toco.model.errors import InvalidOption
from toco.model.photos.collection import listed
from toco.service.cli.progress_lines import ProgressLines

PLACE: Final = "folder, or s3://bucket/prefix, gs://..., az://..."

ARTIFACTS: Final = "artifacts"  # where `folder_run` writes; importing it would load the export formats
KEEP_SECONDS: Final = 30.0  # of work that a kill may cost

Photos = Annotated[str, typer.Argument(metavar="SRC", help=f"Photos: {PLACE}, or one photo.")]
Zip = Annotated[str, typer.Option(help="Zip to write: a file, or an object such as s3://bucket/labels.zip.")]


def incoming(context: typer.Context, place: str) -> Path:
    """Return the folder of photos; those of a bucket are copied into a temporary one, which goes with the command.

    Args:
        context: of the command.
        place: a path, or an address in a bucket.

    Raises:
        InvalidOption, BucketUnavailable
    """
    if not is_bucket(place):
        return Path(place)
    folder = Path(context.with_resource(TemporaryDirectory(prefix="toco-photos-")))
    folder /= place.rstrip("/").rpartition("/")[2] or "photos"  # what jobs are called by
    folder.mkdir()
    left_out = Bucket(place).fetch(folder, _shown("Fetching"))
    if left_out:
        typer.echo(f"Left out, no names of files: {listed(left_out)}.", err=True)
    return folder


class Outgoing:
    """Where results go.

    Args:
        context: of the command.
        place: a path, or an address in a bucket, under which there must be nothing but what an earlier run left.

    Attributes:
        folder: to write into.
        place: as the user calls it.

    Raises:
        InvalidOption: there is something else.
        BucketUnavailable
    """

    def __init__(self, context: typer.Context, place: str) -> None:
        self.place = place
        self._mirror: Mirror | None = None
        if not is_bucket(place):
            self.folder = Path(place)
            return
        from toco.model.formats.artifacts import RESULT

        bucket = Bucket(place)
        there = bucket.names()
        if there and not any(name.startswith(f"{ARTIFACTS}/") for name in there):
            raise InvalidOption(
                f"There is something under {bucket.url!r} already, and it is no result of labelling.",
                fix="Choose a prefix of its own.",
            )
        self.folder = Path(context.with_resource(TemporaryDirectory(prefix="toco-results-")))
        self._mirror = Mirror(bucket, self.folder, last=RESULT)
        if there:
            self._mirror.fetch(_shown("Fetching results"))

    def keeping(self, finished: Callable[[], None]) -> Callable[[object], None]:
        """Return what to call after each photo: it calls `finished`, and at times copies what is new into the bucket.

        What it returns raises BucketUnavailable.
        """
        kept_at = time.monotonic()

        def keep(_: object) -> None:
            nonlocal kept_at
            finished()
            if self._mirror is not None and time.monotonic() - kept_at >= KEEP_SECONDS:
                self._mirror.send_whole(ARTIFACTS)
                kept_at = time.monotonic()

        return keep

    def deliver(self) -> None:
        """Make the bucket hold what was written, if it goes into one. Raises BucketUnavailable."""
        if self._mirror is not None:
            self._mirror.send(_shown("Sending"))


class OutgoingFile:
    """Where a file goes.

    Args:
        context: of the command.
        place: a path, or an address in a bucket, whose object it replaces.

    Attributes:
        path: of the file to write.
        place: as the user calls it.

    Raises:
        InvalidOption: it names no object.
    """

    def __init__(self, context: typer.Context, place: str) -> None:
        self.place = place
        self.path = Path(place)
        self._bucket: Bucket | None = None
        if is_bucket(place):
            prefix, _, name = place.rpartition("/")
            if not name or prefix.endswith(":/"):
                raise InvalidOption(f"{place!r} names no object.", fix="Write for example s3://bucket/labels.zip.")
            self._bucket = Bucket(prefix)
            self.path = Path(context.with_resource(TemporaryDirectory(prefix="toco-export-"))) / name

    def deliver(self) -> None:
        """Copy the file into the bucket, if it goes into one. Raises BucketUnavailable."""
        if self._bucket is not None:
            self._bucket.put(self.path.name, self.path)


def _shown(title: str) -> Callable[[int, int], None]:
    lines: list[ProgressLines] = []

    def show(done: int, total: int) -> None:
        if not lines:
            lines.append(ProgressLines(title, total))
        lines[0].show(done)

    return show
