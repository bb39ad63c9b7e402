"""Which models there are: folders with a spec, and what was published. Reading them needs no torch."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError, safe_open

from toco.jobs.job import DEFAULT_WORKSPACE, JobRecord
from toco.jobs.keys import DEFAULT_MODEL_NAME, MODEL_WISHES, MODELS_COLD, MODELS_WARM, workspace_default
from toco.jobs.published_models import PublishedModel, PublishedModels, PublishedVersion
from toco.jobs.records import Records
from toco.jobs.settings import Settings
from toco.model.errors import TocoError
from toco.model.learning.learnt_spec import (
    LEARNT_FILE,
    WORDS_FILE,
    WordReport,
    encoder_digest,
    is_learnt_model,
    labeler_spec,
    read_learnt_spec,
)
from toco.model.photos.classes import Vocabulary
from toco.model.spec import DEFAULT_MODEL, SPEC_FILE, WEIGHTS_FILE, InvalidCheckpoint, ModelSpec, read_spec

_FILES = (SPEC_FILE, WEIGHTS_FILE, LEARNT_FILE, WORDS_FILE)


class ModelNotFound(TocoError):
    """No model has this name."""

    code = "model_not_found"
    kind = "not_found"


class ModelBroken(TocoError):
    """The model's folder is not whole; it may be on its way."""

    code = "model_broken"
    kind = "unavailable"


@dataclass(frozen=True, slots=True)
class Wishes:
    """What people asked for over the API, each wish with its number.

    Attributes:
        number: of the newest.
        warm: models that every worker shall keep loaded, if it has room.
        cold: models that every worker shall let go of, once: whoever uses one later has it loaded again.
    """

    number: int
    warm: dict[str, int]
    cold: dict[str, int]


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that can be asked for.

    Attributes:
        spec: what travels with it.
        folder: where its files are; None for a published one, see `ModelCatalogue.folder_of`.
        encoder: of learnt words: the encoder that they stand on, see `learnt_spec.encoder_digest`.
        words: of learnt words: how well each was learnt.
        workspace: of a published one; empty for those that all see.
        version: of a published one.
        versions: of a published one, how many there are.
    """

    spec: ModelSpec
    folder: Path | None = None
    encoder: str = ""
    words: tuple[WordReport, ...] = ()
    workspace: str = ""
    version: PublishedVersion | None = None
    versions: int = 0

    @property
    def key(self) -> str:
        """What tells it from models of the same name in other workspaces."""
        return f"{self.workspace}/{self.spec.name}" if self.workspace else self.spec.name

    @classmethod
    def published(cls, model: PublishedModel, version: PublishedVersion) -> "KnownModel":
        """Describe a version of a published model."""
        return cls(
            spec=version.spec,
            encoder=version.encoder,
            words=version.words,
            workspace=model.workspace,
            version=version,
            versions=len(model.versions),
        )


@dataclass(frozen=True, slots=True)
class BrokenModel:
    """A model folder that cannot be used; the others can.

    Attributes:
        name: of the model, or of its folder where that is all that can be read.
        folder: where it is; None for a published one.
        reason: what is wrong with it.
    """

    name: str
    folder: Path | None
    reason: str


@dataclass(frozen=True, slots=True)
class FoundModels:
    """What there is.

    Attributes:
        known: models that can be used, by name; the one that ships comes first.
        broken: the other folders.
    """

    known: dict[str, KnownModel]
    broken: list[BrokenModel]

    def named(self, name: str) -> KnownModel:
        """Return a model by name; empty means the first.

        Raises:
            ModelNotFound, ModelBroken
        """
        wanted = name or next(iter(self.known), "")
        if wanted in self.known:
            return self.known[wanted]
        broken = next((model for model in self.broken if model.name == wanted), None)
        if broken is not None:
            raise ModelBroken(f"The model {wanted!r} cannot be used: {broken.reason}", fix="Copy its folder again.")
        known = ", ".join(sorted(self.known)) or "none: set TOCO_MODELS_DIR"
        raise ModelNotFound(f"No model {wanted!r}.", fix=f"Known models: {known}.")


def read_whole(folder: Path) -> KnownModel:
    """Read a model folder's description, and see that its weights are all there.

    Raises:
        InvalidCheckpoint, InvalidLearntModel: no spec, one that does not fit its layout, or weights that are missing
            or cut off.
    """
    known = _described(folder)
    weights = folder / (WORDS_FILE if known.encoder else WEIGHTS_FILE)
    try:
        with safe_open(weights, framework="numpy"):
            return known
    except (OSError, SafetensorError) as error:
        raise InvalidCheckpoint(
            f"{str(weights)!r} is missing or cut off: {error}.", fix="Copy the whole folder."
        ) from None


def _described(folder: Path) -> KnownModel:
    if is_learnt_model(folder):
        learnt = read_learnt_spec(folder)
        return KnownModel(labeler_spec(learnt), folder, learnt.encoder, learnt.words)
    return KnownModel(read_spec(folder), folder)


def find_models(models_dir: Path | None, *, read: Callable[[Path], KnownModel] = read_whole) -> FoundModels:
    """Return the model that ships, and those in a folder.

    Args:
        models_dir: folder of model folders, or None; those with a dot before their name are on their way.
        read: reads one.
    """
    folders = [DEFAULT_MODEL] if (DEFAULT_MODEL / SPEC_FILE).is_file() else []
    if models_dir is not None and models_dir.is_dir():
        files = [path for name in _FILES for path in models_dir.glob(f"*/{name}")]
        folders += sorted({path.parent for path in files if not path.parent.name.startswith(".")})
    found = FoundModels({}, [])
    for folder in folders:
        try:
            known = read(folder)
        except (TocoError, OSError) as error:
            found.broken.append(BrokenModel(_name_at_least(folder), folder, str(error)))
            continue
        _add(found, known)
    for known in list(found.known.values()):
        _settle_encoder(found, known, found.known.values())
    return found


def model_at(folder: Path, models_dir: Path | None = None) -> tuple[KnownModel, KnownModel]:
    """Return the model of a folder, and the one whose network it labels with: itself, or what its words stand on.

    Args:
        folder: of a whole model, or of learnt words.
        models_dir: where the model may lie on which words were learnt, beside the one that ships.

    Raises:
        InvalidCheckpoint, InvalidLearntModel: no spec, or one that does not fit its layout; weights are not looked at.
        ModelBroken: the model on which the words were learnt is not here.
    """
    known = _described(folder)
    if not known.encoder:
        return known, known
    encoder = encoder_among(find_models(models_dir).known.values(), known.encoder)
    if encoder is None:
        raise _not_here(known)
    return on_encoder(known, encoder), encoder


def encoder_among(models: Iterable[KnownModel], digest: str) -> KnownModel | None:
    """Return the model whose encoder learnt words name, or None."""
    return next((model for model in models if not model.encoder and encoder_digest(model.spec) == digest), None)


def _add(found: FoundModels, known: KnownModel) -> None:
    """Add a model, unless its name is taken."""
    name = known.spec.name
    if name in found.known:
        where = found.known[name].folder
        found.broken.append(BrokenModel(name, known.folder, f"{str(where)!r} has the name {name!r} already."))
    else:
        found.known[name] = known


def _settle_encoder(found: FoundModels, known: KnownModel, models: Iterable[KnownModel]) -> None:
    """Complete what is known of learnt words by their encoder; without it they are broken."""
    if not known.encoder:
        return
    encoder = encoder_among(models, known.encoder)
    if encoder is not None:
        found.known[known.spec.name] = on_encoder(known, encoder)
        return
    del found.known[known.spec.name]
    found.broken.append(BrokenModel(known.spec.name, known.folder, _no_encoder(known)))


def on_encoder(known: KnownModel, encoder: KnownModel) -> KnownModel:
    """Return learnt words with the backbone of their encoder, by which their cost is estimated."""
    return replace(known, spec=known.spec.model_copy(update={"backbone": encoder.spec.backbone}))


def _no_encoder(known: KnownModel) -> str:
    return f"The model on whose encoder ({known.encoder[:12]}...) its words were learnt is not here."


def _not_here(known: KnownModel) -> ModelBroken:
    return ModelBroken(
        f"The model {known.spec.name!r} cannot be used: {_no_encoder(known)}",
        fix="Put that model into the models folder, or learn the words again.",
    )


def _name_at_least(folder: Path) -> str:
    try:
        return read_learnt_spec(folder).name if is_learnt_model(folder) else read_spec(folder).name
    except (TocoError, OSError):
        return folder.name


class ModelCatalogue:
    """The model that ships, those in `models_dir` and the published ones of a workspace; new ones are seen at once.

    A published model cannot take the name of one in a folder: that one is found.

    Args:
        settings: name the folder.
        records: hold the defaults and wishes.
        published: the published models, or None where there are none.
    """

    def __init__(self, settings: Settings, records: Records, published: PublishedModels | None = None) -> None:
        self._settings = settings
        self._records = records
        self._published = published
        self._cache: dict[Path, tuple[tuple[int, ...], KnownModel]] = {}

    def all(self, workspace: str = DEFAULT_WORKSPACE) -> FoundModels:
        """Return the models that a workspace sees, and those that are broken."""
        found = self._in_folders()
        published = self._published.all(workspace) if self._published else []
        current = [KnownModel.published(model, model.version()) for model in published]
        for known in current:
            _add(found, known)
        encoders = [*found.known.values(), *_versions(published)]
        for known in current:
            if found.known.get(known.spec.name) is known:
                _settle_encoder(found, known, encoders)
        return found

    def find(self, name: str = "", workspace: str = DEFAULT_WORKSPACE, *, version: str = "") -> KnownModel:
        """Return a model by name; empty means the default.

        Args:
            name: of the model.
            workspace: who asks.
            version: that of its spec; empty means the current one. A model in a folder has no other.

        Raises:
            ModelNotFound, ModelBroken
        """
        found = self._in_folders()
        name = name or self.default_name(found, workspace)
        model = self._published.find(name, workspace) if self._published and name not in found.known else None
        if model is None:
            return found.named(name)
        chosen = next((one for one in model.versions if one.spec.version == version), None) if version else None
        known = KnownModel.published(model, chosen or model.version())
        if not known.encoder:
            return known
        return on_encoder(known, self.encoder_of(known, found))

    def encoder_of(self, known: KnownModel, found: FoundModels | None = None) -> KnownModel:
        """Return the model on whose encoder words were learnt. Raises ModelBroken: it is not here."""
        found = found or self._in_folders()
        published = self._published.all(known.workspace) if self._published and known.workspace else []
        encoder = encoder_among((*found.known.values(), *_versions(published)), known.encoder)
        if encoder is None:
            raise _not_here(known)
        return encoder

    def folder_of(self, known: KnownModel) -> Path:
        """Return the folder with a model's files on this machine, fetched if need be.

        Raises:
            VersionNotFound: it was deleted.
            StorageFull, StorageUnavailable
        """
        if known.folder is not None:
            return known.folder
        if self._published is None or known.version is None:
            raise ModelBroken(f"The model {known.spec.name!r} is in no folder.", fix="Publish it again.")
        return self._published.local_folder(known.spec.name, known.version, known.workspace)

    def _in_folders(self) -> FoundModels:
        return find_models(self._settings.models_dir, read=self._read)

    def spec(self, name: str, workspace: str = DEFAULT_WORKSPACE) -> ModelSpec:
        """Return the spec of a model, which may lack its weights: exports of its labels need none.

        Raises:
            ModelNotFound, ModelBroken
        """
        try:
            return self.find(name, workspace).spec
        except ModelBroken:
            for model in self._in_folders().broken:
                if model.name == name and model.folder is not None and (model.folder / SPEC_FILE).is_file():
                    return read_spec(model.folder)
            raise

    def vocabulary_of(self, job: JobRecord) -> Vocabulary:
        """Return the classes of a job's labels. Raises ModelNotFound or ModelBroken."""
        if job.classes:
            return Vocabulary(job.classes)
        return self.spec(job.options.model, job.workspace).vocabulary

    def default_name(self, found: FoundModels | None = None, workspace: str = DEFAULT_WORKSPACE) -> str:
        """Return the name of the default model: chosen over the API, by the settings, or the first one."""
        own, shared = self._records.redis.mget(workspace_default(workspace), DEFAULT_MODEL_NAME)
        chosen = own or shared or self._settings.default_model
        return str(chosen or next(iter((found or self._in_folders()).known), ""))

    def set_default(self, name: str, workspace: str = DEFAULT_WORKSPACE) -> None:
        """Make a model the default: a published one of its workspace, any other of all. Raises ModelNotFound."""
        known = self.find(name, workspace)
        if known.workspace:
            self._records.redis.set(workspace_default(workspace), name)
        else:
            self._records.redis.delete(workspace_default(workspace))
            self._records.redis.set(DEFAULT_MODEL_NAME, name)

    def want(self, name: str, workspace: str = DEFAULT_WORKSPACE, *, warm: bool) -> None:
        """Ask workers to load a model, or to let go of it. Raises ModelNotFound or ModelBroken."""
        key = self.find(name, workspace).key
        redis = self._records.redis
        number = int(redis.incr(MODEL_WISHES))
        pipeline = redis.pipeline(transaction=True)
        pipeline.hset(MODELS_WARM if warm else MODELS_COLD, key, number)
        pipeline.hdel(MODELS_COLD if warm else MODELS_WARM, key)
        pipeline.execute()

    def wishes(self) -> "Wishes":
        """Return what the workers are asked to keep warm and to let go of."""
        pipeline = self._records.redis.pipeline(transaction=True)
        pipeline.get(MODEL_WISHES)
        pipeline.hgetall(MODELS_WARM)
        pipeline.hgetall(MODELS_COLD)
        number, warm, cold = pipeline.execute()
        return Wishes(int(number or 0), {k: int(v) for k, v in warm.items()}, {k: int(v) for k, v in cold.items()})

    def _read(self, folder: Path) -> KnownModel:
        state: tuple[int, ...] = ()
        for name in _FILES:
            with suppress(FileNotFoundError):
                stat = (folder / name).stat()
                state += (stat.st_mtime_ns, stat.st_size)
        cached = self._cache.get(folder)
        if cached is None or cached[0] != state:
            cached = self._cache[folder] = (state, read_whole(folder))
        return cached[1]


def _versions(models: Iterable[PublishedModel]) -> Iterator[KnownModel]:
    for model in models:
        for version in model.versions:
            yield KnownModel.published(model, version)
