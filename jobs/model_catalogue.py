"""Which models there are: folders with a spec. Reading them needs no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError, safe_open

from toco.jobs.keys import DEFAULT_MODEL_NAME, MODEL_WISHES, MODELS_COLD, MODELS_WARM
from toco.jobs.records import Records
from toco.jobs.settings import Settings
from toco.model.errors import TocoError
from toco.model.spec import DEFAULT_MODEL, SPEC_FILE, WEIGHTS_FILE, InvalidCheckpoint, ModelSpec, read_spec


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
        folder: where its weights are.
        spec: what travels with them.
    """

    folder: Path
    spec: ModelSpec


@dataclass(frozen=True, slots=True)
class BrokenModel:
    """A model folder that cannot be used; the others can.

    Attributes:
        name: of the model, or of its folder where that is all that can be read.
        folder: where it is.
        reason: what is wrong with it.
    """

    name: str
    folder: Path
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


def read_whole(folder: Path) -> ModelSpec:
    """Read a model folder's spec, and see that its weights are all there.

    Raises:
        InvalidCheckpoint: no spec, one that does not fit its layout, or weights that are missing or cut off.
    """
    spec = read_spec(folder)
    weights = folder / WEIGHTS_FILE
    try:
        with safe_open(weights, framework="numpy"):
            return spec
    except (OSError, SafetensorError) as error:
        raise InvalidCheckpoint(
            f"{str(weights)!r} is missing or cut off: {error}.", fix="Copy the whole folder."
        ) from None


def find_models(models_dir: Path | None, *, read: Callable[[Path], ModelSpec] = read_whole) -> FoundModels:
    """Return the model that ships, and those in a folder.

    Args:
        models_dir: folder of model folders, or None; those with a dot before their name are on their way.
        read: reads one.
    """
    folders = [DEFAULT_MODEL] if (DEFAULT_MODEL / SPEC_FILE).is_file() else []
    if models_dir is not None and models_dir.is_dir():
        files = [path for name in (SPEC_FILE, WEIGHTS_FILE) for path in models_dir.glob(f"*/{name}")]
        folders += sorted({path.parent for path in files if not path.parent.name.startswith(".")})
    found = FoundModels({}, [])
    for folder in folders:
        try:
            spec = read(folder)
        except (TocoError, OSError) as error:
            found.broken.append(BrokenModel(_name_at_least(folder), folder, str(error)))
            continue
        if spec.name in found.known:
            first = found.known[spec.name].folder
            found.broken.append(BrokenModel(spec.name, folder, f"{str(first)!r} has the name {spec.name!r} already."))
        else:
            found.known[spec.name] = KnownModel(folder, spec)
    return found


def _name_at_least(folder: Path) -> str:
    try:
        return read_spec(folder).name
    except (TocoError, OSError):
        return folder.name


class ModelCatalogue:
    """The model that ships and those in `models_dir`; new folders are seen at once."""

    def __init__(self, settings: Settings, records: Records) -> None:
        self._settings = settings
        self._records = records
        self._cache: dict[Path, tuple[tuple[int, ...], ModelSpec]] = {}

    def all(self) -> FoundModels:
        """Return the models, and the folders that are broken."""
        return find_models(self._settings.models_dir, read=self._read)

    def find(self, name: str = "") -> KnownModel:
        """Return a model by name; empty means the default.

        Raises:
            ModelNotFound, ModelBroken
        """
        found = self.all()
        return found.named(name or self.default_name(found))

    def spec(self, name: str) -> ModelSpec:
        """Return the spec of a model, which may lack its weights: exports of its labels need none.

        Raises:
            ModelNotFound, ModelBroken
        """
        found = self.all()
        try:
            return found.named(name).spec
        except ModelBroken:
            for model in found.broken:
                if model.name == name and (model.folder / SPEC_FILE).is_file():
                    return read_spec(model.folder)
            raise

    def default_name(self, found: FoundModels | None = None) -> str:
        """Return the name of the default model: chosen over the API, by the settings, or the first one."""
        chosen = self._records.redis.get(DEFAULT_MODEL_NAME) or self._settings.default_model
        return str(chosen or next(iter((found or self.all()).known), ""))

    def set_default(self, name: str) -> None:
        """Make a model the default. Raises ModelNotFound."""
        self.find(name)
        self._records.redis.set(DEFAULT_MODEL_NAME, name)

    def want(self, name: str, *, warm: bool) -> None:
        """Ask workers to load a model, or to let go of it. Raises ModelNotFound or ModelBroken."""
        self.find(name)
        redis = self._records.redis
        number = int(redis.incr(MODEL_WISHES))
        pipeline = redis.pipeline(transaction=True)
        pipeline.hset(MODELS_WARM if warm else MODELS_COLD, name, number)
        pipeline.hdel(MODELS_COLD if warm else MODELS_WARM, name)
        pipeline.execute()

    def wishes(self) -> "Wishes":
        """Return what the workers are asked to keep warm and to let go of."""
        pipeline = self._records.redis.pipeline(transaction=True)
        pipeline.get(MODEL_WISHES)
        pipeline.hgetall(MODELS_WARM)
        pipeline.hgetall(MODELS_COLD)
        number, warm, cold = pipeline.execute()
        return Wishes(int(number or 0), {k: int(v) for k, v in warm.items()}, {k: int(v) for k, v in cold.items()})

    def _read(self, folder: Path) -> ModelSpec:
        stats = [(folder / name).stat() for name in (SPEC_FILE, WEIGHTS_FILE) if (folder / name).exists()]
        state = tuple(number for stat in stats for number in (stat.st_mtime_ns, stat.st_size))
        cached = self._cache.get(folder)
        if cached is None or cached[0] != state:
            cached = self._cache[folder] = (state, read_whole(folder))
        return cached[1]
