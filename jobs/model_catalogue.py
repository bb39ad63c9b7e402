"""Which models there are: folders with a spec. Reading them needs no torch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from toco.jobs.keys import DEFAULT_MODEL_NAME, MODELS_UNWANTED, MODELS_WANTED
from toco.jobs.records import Records
from toco.jobs.settings import Settings
from toco.model.errors import TocoError
from toco.model.spec import DEFAULT_MODEL, SPEC_FILE, ModelSpec, read_spec


class ModelNotFound(TocoError):
    """No model has this name."""

    code = "model_not_found"
    kind = "not_found"


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model that can be asked for.

    Attributes:
        folder: where its weights are.
        spec: what travels with them.
    """

    folder: Path
    spec: ModelSpec


def known_models(models_dir: Path | None, *, read: Callable[[Path], ModelSpec] = read_spec) -> dict[str, KnownModel]:
    """Return the model that ships, and those in a folder, by name.

    Raises:
        InvalidCheckpoint: a folder's spec does not fit its layout.
    """
    folders = [DEFAULT_MODEL] if (DEFAULT_MODEL / SPEC_FILE).is_file() else []
    if models_dir is not None and models_dir.is_dir():
        folders += sorted(path.parent for path in models_dir.glob(f"*/{SPEC_FILE}"))
    return {spec.name: KnownModel(folder, spec) for folder in folders for spec in (read(folder),)}


class ModelCatalogue:
    """The model that ships and those in `models_dir`; new folders are seen at once."""

    def __init__(self, settings: Settings, records: Records) -> None:
        self._settings = settings
        self._records = records
        self._cache: dict[Path, tuple[int, ModelSpec]] = {}

    def all(self) -> dict[str, KnownModel]:
        """Return the models by name. A folder that does not fit its layout raises InvalidCheckpoint."""
        return known_models(self._settings.models_dir, read=self._spec)

    def find(self, name: str = "") -> KnownModel:
        """Return a model by name; empty means the default. Raises ModelNotFound."""
        known = self.all()
        wanted = name or self.default_name(known)
        if wanted not in known:
            raise ModelNotFound(
                f"No model {wanted!r}.", fix=f"Known models: {', '.join(sorted(known)) or 'none: set TOCO_MODELS_DIR'}."
            )
        return known[wanted]

    def default_name(self, known: dict[str, KnownModel] | None = None) -> str:
        """Return the name of the default model: chosen over the API, by the settings, or the first one."""
        chosen = self._records.redis.get(DEFAULT_MODEL_NAME) or self._settings.default_model
        return str(chosen or next(iter(known if known is not None else self.all()), ""))

    def set_default(self, name: str) -> None:
        """Make a model the default. Raises ModelNotFound."""
        self.find(name)
        self._records.redis.set(DEFAULT_MODEL_NAME, name)

    def wanted(self) -> frozenset[str]:
        """Return the models that every worker is asked to keep warm."""
        return frozenset(self._records.redis.smembers(MODELS_WANTED))

    def want(self, name: str, *, warm: bool) -> None:
        """Ask workers to load a model, or to let go of it. Raises ModelNotFound."""
        self.find(name)
        if warm:
            self._records.redis.sadd(MODELS_WANTED, name)
            self._records.redis.srem(MODELS_UNWANTED, name)
        else:
            self._records.redis.srem(MODELS_WANTED, name)
            self._records.redis.sadd(MODELS_UNWANTED, name)

    def unwanted(self) -> frozenset[str]:
        """Return the models that workers are asked to let go of; loading one again takes it off this list."""
        return frozenset(self._records.redis.smembers(MODELS_UNWANTED))

    def _spec(self, folder: Path) -> ModelSpec:
        changed = (folder / SPEC_FILE).stat().st_mtime_ns
        cached = self._cache.get(folder)
        if cached is None or cached[0] != changed:
            cached = self._cache[folder] = (changed, read_spec(folder))
        return cached[1]
