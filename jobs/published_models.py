"""Models that jobs and trainings made: whole in the object store, in versions with records in Redis, by workspace.

A version is one zip, so that it is there whole or not at all; unpacked into a models folder it is a model as any other.
Its object is named by what is in it: what is published twice is there once.
"""

import json
import os
import re
import shutil
import time
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryFile, mkdtemp
from typing import Annotated, Final, Literal

from pydantic import Field

from toco.jobs.keys import published_model, published_names
from toco.jobs.model_archive import named_model, pack, unpack
from toco.jobs.model_names import require_name
from toco.jobs.publishing import Publishing
from toco.jobs.records import Records
from toco.jobs.settings import Settings
from toco.jobs.store import ObjectNotFound, Store, model_key
from toco.model.errors import TocoError
from toco.model.learning.learnt_spec import WordReport
from toco.model.options import Frozen
from toco.model.spec import MODEL_NAME, ModelSpec

Kind = Literal["learnt", "trained"]

_UNUSED_SECONDS: Final = 7 * 86_400.0  # after which a copy in the cache goes


class VersionNotFound(TocoError):
    """A published model has no such version."""

    code = "model_version_not_found"
    kind = "not_found"


class NotPublished(TocoError):
    """No published model has this name; one that lies in a folder cannot be changed over the API."""

    code = "model_not_published"
    kind = "not_found"


class PublishedVersion(Frozen):
    """One version of a published model; never changed once it is there.

    Attributes:
        number: 1, 2, ... in the order of publication.
        kind: `learnt`: words on an encoder that it names; `trained`: a whole network.
        digest: of its files; names its object.
        size: of its zip in bytes.
        spec: as lists of models show it.
        encoder: of learnt words: which model they stand on, see `learnt_spec.encoder_digest`.
        words: of learnt words: how well each was learnt.
        job: the job or training that made it.
        created_at: seconds since 1970.
    """

    number: int = 0
    kind: Kind
    digest: str
    size: int
    spec: ModelSpec
    encoder: str = ""
    words: tuple[WordReport, ...] = ()
    job: str = ""
    created_at: Annotated[float, Field(ge=0)]


class PublishedModel(Frozen):
    """A published model.

    Attributes:
        name, workspace: which.
        current: number of the version that its name stands for.
        earlier: numbers that were current before, the last one last.
        versions: the newest first.
    """

    name: str
    workspace: str
    current: int
    earlier: tuple[int, ...]
    versions: tuple[PublishedVersion, ...]

    def version(self, number: int | None = None) -> PublishedVersion:
        """Return a version; None means the current one. Raises VersionNotFound."""
        wanted = self.current if number is None else number
        for version in self.versions:
            if version.number == wanted:
                return version
        raise VersionNotFound(
            f"The model {self.name!r} has no version {wanted}.",
            fix=f"Its versions: {', '.join(str(version.number) for version in self.versions)}.",
        )


class PublishedModels:
    """Models of all workspaces. Safe to use from several threads.

    Args:
        settings: `data_dir` holds the copies that this machine uses.
        records: where versions are noted.
        store: where their files are.
    """

    def __init__(self, settings: Settings, records: Records, store: Store) -> None:
        self._redis = records.redis
        self._store = store
        self._scripts = Publishing(records.redis)
        self._cache = settings.data_dir.expanduser() / "cache" / "models"

    def publish(
        self, name: str, folder: Path, *, workspace: str, job: str = "", promote: bool = True
    ) -> PublishedVersion:
        """Publish a model folder as a new version; one that is there already stays the version that it is.

        Args:
            name: of the model; the spec in the copy bears it, whatever the folder's own says.
            folder: of a whole model, or of learnt words.
            workspace: whose keys see it.
            job: the job or training that made it.
            promote: whether its name stands for this version from now on; that of a new model always does.

        Raises:
            InvalidOption: no model can have this name.
            InvalidCheckpoint, InvalidLearntModel: the folder is none.
            StorageFull, StorageUnavailable
        """
        new = self.store(name, folder, workspace=workspace, job=job)
        number = self._scripts.publish(workspace, name, new.digest, new.model_dump_json(), promote=promote)
        return self.get(name, workspace).version(number)

    def store(self, name: str, folder: Path, *, workspace: str, job: str = "") -> PublishedVersion:
        """Put a model folder into the object store, and describe the version that it would be; see `publish`.

        Nothing lists it before its record is written, by `publish` or by what does so together with its own records.
        """
        require_name(name)
        model = named_model(name, folder)
        with TemporaryFile() as packed:
            pack(model, packed)
            size = packed.tell()
            packed.seek(0)
            with self._store.writer(model_key(workspace, name, model.digest)) as stream:
                shutil.copyfileobj(packed, stream)
        return PublishedVersion(
            kind="learnt" if model.encoder else "trained",
            digest=model.digest,
            size=size,
            spec=model.spec,
            encoder=model.encoder,
            words=model.words,
            job=job,
            created_at=time.time(),
        )

    def withdraw(self, name: str, workspace: str, new: PublishedVersion) -> None:
        """Delete what `store` stored and nothing came of, unless a version has the same files."""
        if not self._redis.hexists(published_model(workspace, name), f"digest:{new.digest}"):
            self._store.delete([model_key(workspace, name, new.digest)])

    def names(self, workspace: str) -> list[str]:
        """Return the names of a workspace's models, sorted."""
        return sorted(self._redis.smembers(published_names(workspace)))

    def all(self, workspace: str) -> list[PublishedModel]:
        """Return the models of a workspace, sorted by name."""
        names = self.names(workspace)
        pipeline = self._redis.pipeline(transaction=False)
        for name in names:
            pipeline.hgetall(published_model(workspace, name))
        found = zip(names, pipeline.execute(), strict=True)
        return [_model(name, workspace, fields) for name, fields in found if fields]

    def find(self, name: str, workspace: str) -> PublishedModel | None:
        """Return a model, or None if the workspace has none of this name."""
        fields = self._redis.hgetall(published_model(workspace, name)) if re.fullmatch(MODEL_NAME, name) else {}
        return _model(name, workspace, fields) if fields else None

    def get(self, name: str, workspace: str) -> PublishedModel:
        """Return a model. Raises NotPublished."""
        found = self.find(name, workspace)
        if found is None:
            raise NotPublished(
                f"No published model {name!r}.", fix="GET /v1/models lists them; those in folders are changed there."
            )
        return found

    def versions(self, name: str, workspace: str) -> tuple[PublishedVersion, ...]:
        """Return the versions of a model, the newest first. Raises NotPublished."""
        return self.get(name, workspace).versions

    def promote(self, name: str, number: int, workspace: str) -> PublishedModel:
        """Let a name stand for another of its versions. Raises NotPublished, VersionNotFound."""
        self.get(name, workspace).version(number)
        self._scripts.promote(workspace, name, number)
        return self.get(name, workspace)

    def rollback(self, name: str, workspace: str) -> PublishedModel:
        """Let a name stand for the version again that it stood for before.

        Raises:
            NotPublished
            VersionNotFound: there was none.
        """
        if not self._scripts.rollback(workspace, name):
            self.get(name, workspace)
            raise VersionNotFound(f"No version of {name!r} was current before this one.", fix="Promote one by number.")
        return self.get(name, workspace)

    def delete(self, name: str, workspace: str, number: int | None = None) -> None:
        """Delete a model, or one version; where that was current, the one before it is again.

        Jobs that are done keep their labels, and can be exported; one at work that needs the model fails.

        Raises:
            NotPublished, VersionNotFound, StorageUnavailable
        """
        model = self.get(name, workspace)
        gone = model.versions if number is None else (model.version(number),)
        # Objects first: what is listed can be deleted again, what is not listed would stay for ever.
        self._store.delete([model_key(workspace, name, version.digest) for version in gone])
        for version in gone:
            self._scripts.delete(workspace, name, version.number, version.digest)

    def local_folder(self, name: str, version: PublishedVersion, workspace: str) -> Path:
        """Return a folder of this machine with a version's files; filled once, and whole.

        Raises:
            VersionNotFound: it was deleted.
            StorageFull, StorageUnavailable
        """
        target = self._cache / version.digest
        if not target.is_dir():
            self._fetch(name, version, workspace, target)
        os.utime(target)
        return target

    def _fetch(self, name: str, version: PublishedVersion, workspace: str, target: Path) -> None:
        self._cache.mkdir(parents=True, exist_ok=True)
        self._forget_unused()
        partial = Path(mkdtemp(prefix=".", dir=self._cache))
        try:
            with TemporaryFile() as packed:
                try:
                    packed.write(self._store.get(model_key(workspace, name, version.digest)))
                except ObjectNotFound:
                    raise VersionNotFound(
                        f"Version {version.number} of {name!r} was deleted.", fix="Name another model."
                    ) from None
                unpack(packed, partial)
            with suppress(OSError):  # another process of this machine was faster
                partial.rename(target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)

    def _forget_unused(self) -> None:
        for folder in self._cache.iterdir():
            with suppress(FileNotFoundError):  # another thread or process of this machine filled one meanwhile
                if folder.is_dir() and time.time() - folder.stat().st_mtime > _UNUSED_SECONDS:
                    shutil.rmtree(folder, ignore_errors=True)


def _model(name: str, workspace: str, fields: dict[str, str]) -> PublishedModel:
    versions = [
        _version(text).model_copy(update={"number": int(field.removeprefix("version:"))})
        for field, text in fields.items()
        if field.startswith("version:")
    ]
    return PublishedModel(
        name=name,
        workspace=workspace,
        current=int(fields["current"]),
        earlier=tuple(json.loads(fields.get("earlier", "[]"))),
        versions=tuple(sorted(versions, key=lambda version: -version.number)),
    )


@lru_cache(maxsize=256)
def _version(text: str) -> PublishedVersion:
    return PublishedVersion.model_validate_json(text)
