"""Models: which there are, what they know, which are warm."""

import logging
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from toco.jobs.model_catalogue import KnownModel
from toco.jobs.queue import QueueUnavailable
from toco.model.options import PRESET_TEXTS, PRESETS, LabelOptions, PresetName
from toco.model.training.recipes import RECIPE_TEXTS, RECIPES, RecipeName, TrainingSettings
from toco.service.api.auth import Admin, Reader
from toco.service.api.model_views import ClassView, ModelView
from toco.service.api.problem import problems
from toco.service.api.state import AppState, State

logger = logging.getLogger(__name__)
router = APIRouter(prefix="/v1", tags=["models"])

ModelName = Annotated[str, Path(max_length=200, description="Name of a model.")]


class BrokenModelView(BaseModel):
    """A model folder that cannot be used."""

    name: str = Field(description="Name of the model, or of its folder.")
    reason: str = Field(description="What is wrong with it.")


class ModelList(BaseModel):
    """The models that can be asked for."""

    default: str = Field(description="Used when a request names none.")
    models: list[ModelView]
    broken: list[BrokenModelView] = Field(description="Folders that cannot be used, such as half-copied ones.")


class DefaultModel(BaseModel):
    """Which model is the default."""

    name: str


class OptionsView(BaseModel):
    """What can be set, and the presets to start from."""

    presets: dict[PresetName, LabelOptions]
    texts: dict[PresetName, str] = Field(description="What people choose a preset by.")
    json_schema: dict[str, Any] = Field(description="JSON schema of the settings.")
    training_presets: dict[RecipeName, TrainingSettings] = Field(description="Of `POST /v1/models`.")
    training_texts: dict[RecipeName, str] = Field(description="What people choose one by.")


@router.get("/models", responses=problems(), summary="List the models")
def list_models(state: State, caller: Reader) -> ModelList:
    """List models with their vocabularies and figures."""
    found = state.catalogue.all(caller.workspace)
    default = state.catalogue.default_name(found, caller.workspace)
    warm = _warm(state)
    return ModelList(
        default=default,
        models=[model_view(model, name == default, warm.get(model.key, [])) for name, model in found.known.items()],
        broken=[BrokenModelView(name=model.name, reason=model.reason) for model in found.broken],
    )


@router.put("/models/default", responses=problems(404), summary="Choose the default model")
def set_default_model(state: State, caller: Admin, chosen: DefaultModel) -> ModelView:
    """Use another model when a request names none; a published one for its own workspace alone."""
    state.catalogue.set_default(chosen.name, caller.workspace)
    return shown_model(state, chosen.name, caller.workspace)


@router.get("/models/{name}", responses=problems(404), summary="A model's vocabulary, licence and figures")
def get_model(state: State, caller: Reader, name: ModelName) -> ModelView:
    """Show a model."""
    return shown_model(state, name, caller.workspace)


@router.post("/models/{name}/load", status_code=202, responses=problems(404), summary="Keep a model warm")
def load_model(state: State, caller: Admin, name: ModelName) -> ModelView:
    """Ask the workers to load a model, each before its next shard."""
    return _ask(state, name, caller.workspace, warm=True)


@router.post("/models/{name}/unload", status_code=202, responses=problems(404), summary="Let go of a model")
def unload_model(state: State, caller: Admin, name: ModelName) -> ModelView:
    """Ask the workers to unload a model; a request that names it loads it again."""
    return _ask(state, name, caller.workspace, warm=False)


@router.get("/options", responses=problems(), summary="The presets and every setting")
def list_options(_: Reader) -> OptionsView:
    """Show what can be set on a job, and on a training."""
    return OptionsView(
        presets=PRESETS,
        texts=PRESET_TEXTS,
        json_schema=LabelOptions.model_json_schema(),
        training_presets=RECIPES,
        training_texts=RECIPE_TEXTS,
    )


def _ask(state: AppState, name: str, workspace: str, *, warm: bool) -> ModelView:
    state.catalogue.want(name, workspace, warm=warm)
    try:
        state.queue.sync_models()
    except QueueUnavailable:
        logger.exception("workers will see the wish with their next shard", extra={"model": name})
    return shown_model(state, name, workspace)


def shown_model(state: AppState, name: str, workspace: str) -> ModelView:
    """Show a model that a workspace sees. Raises ModelNotFound or ModelBroken."""
    known = state.catalogue.find(name, workspace)
    is_default = name == state.catalogue.default_name(workspace=workspace)
    return model_view(known, is_default, _warm(state).get(known.key, []))


def _warm(state: AppState) -> dict[str, list[str]]:
    warm: dict[str, list[str]] = {}
    for worker in state.stats.live_workers():
        for name in worker.models:
            warm.setdefault(name, []).append(worker.name)
    return warm


def model_view(model: KnownModel, default: bool, warm_on: list[str]) -> ModelView:
    """Show a model."""
    spec = model.spec
    return ModelView(
        name=spec.name,
        version=spec.version,
        default=default,
        licence=spec.licence,
        classes=list(map(ClassView.of, spec.classes)),
        backbone=spec.backbone.name,
        input_size=spec.input_size,
        thresholds=spec.thresholds.model_dump(),
        figures=spec.figures,
        provenance=spec.provenance,
        warm_on=warm_on,
        kind="learnt" if model.encoder else "whole",
        encoder=model.encoder,
        words=list(model.words),
        published=bool(model.workspace),
        number=model.version.number if model.version else None,
        versions=model.versions,
    )
