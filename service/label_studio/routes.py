"""Label Studio's protocol for backends, under `/labelstudio` or at the root of a port of its own.

Every path exists twice: plain, and after a secret (`/labelstudio/SECRET/webhook`). Label Studio derives the address of
its webhook from that of the backend and calls it without credentials, so the secret has to be in the address.

References:
    Label Studio 1.23.2, `ml/api_connector.py` and `ml/models.py` (requests and time-outs, observed).
"""

import hmac
import json
from dataclasses import asdict
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPBasic, HTTPBasicCredentials

from toco.jobs.api_keys import ApiKey, InvalidKey
from toco.service.api.auth import ScopeMissing, identify
from toco.service.api.state import State
from toco.service.label_studio.backend import LabelStudioBackend
from toco.service.label_studio.schemas import Predict, Pull, Setup, Webhook

MODEL_CLASS: Final = "ToCo"

_basic = HTTPBasic(auto_error=False, description="Any user name; the password is an API key.")


def _check_secret(request: Request, state: State) -> None:
    """Refuse an address with a wrong secret at once, so that connecting such a backend fails where it is seen."""
    secret = request.path_params.get("secret")
    wanted = state.settings.label_studio_webhook_secret
    if secret is not None and (
        wanted is None or not hmac.compare_digest(secret.encode(), wanted.get_secret_value().encode())
    ):
        raise InvalidKey(
            "The secret in the address is not TOCO_LABEL_STUDIO_WEBHOOK_SECRET.",
            fix="Connect the backend again: `toco labelstudio connect`.",
        )


router = APIRouter(include_in_schema=False, dependencies=[Depends(_check_secret)])


def label_studio_backend(request: Request) -> LabelStudioBackend:
    """Return the backend of the application that serves a request."""
    backend: LabelStudioBackend = request.app.state.label_studio
    return backend


Backend = Annotated[LabelStudioBackend, Depends(label_studio_backend)]
Credentials = Annotated[HTTPBasicCredentials | None, Depends(_basic)]


def _caller(request: Request, state: State, credentials: Credentials) -> ApiKey:
    key = identify(request, state, credentials.password if credentials else _bearer(request))
    if not key.may("label"):
        raise ScopeMissing(f"The API key {key.name!r} lacks the scope 'label'.", fix="Use a key that has it.")
    return key


Caller = Annotated[ApiKey, Depends(_caller)]


@router.get("/health", summary="Is there a backend")
@router.get("/{secret}/health")
def health() -> dict[str, str]:
    """Answer at once: Label Studio asks before every prediction and waits for one second."""
    return {"status": "UP", "model_class": MODEL_CLASS}


@router.post("/setup", summary="Take a project's settings")
@router.post("/{secret}/setup")
def setup(backend: Backend, caller: Caller, body: Setup) -> dict[str, str]:
    """Answer with the model version that the settings give, without waiting for a warm model."""
    return {"model_version": backend.set_up(body, caller.workspace)}


@router.get("/versions", summary="Which model versions there are")
@router.get("/{secret}/versions")
def versions(backend: Backend, caller: Caller) -> dict[str, list[str]]:
    """Name the version of a project without settings of its own."""
    return {"versions": [backend.version(caller.workspace)]}


@router.post("/predict", summary="Predict tasks")
@router.post("/{secret}/predict")
async def predict(request: Request, backend: Backend, caller: Caller, body: Predict) -> Response:
    """Answer with an entry a task, in order; see `LabelStudioBackend.predict`."""
    results = await backend.predict(body, caller, request_id=request.state.request_id)
    # Brush regions are lists of many thousand numbers: no encoder but the plain one is quick enough.
    return Response(json.dumps({"results": results}), media_type="application/json")


def _knows_secret_or_key(request: Request, state: State, credentials: Credentials) -> None:
    if "secret" not in request.path_params:  # one that is there has been checked
        _caller(request, state, credentials)


@router.post("/webhook", status_code=201, dependencies=[Depends(_knows_secret_or_key)], summary="Hear of annotations")
@router.post("/{secret}/webhook", status_code=201, dependencies=[Depends(_knows_secret_or_key)])
async def webhook(state: State, backend: Backend, body: Webhook) -> dict[str, str]:
    """Take an event. It comes with the secret in its address, or with credentials."""
    await state.threads.tools.run(backend.note, body)
    return {"status": "noted"}


@router.post("/pull", summary="Fetch a project's annotations")
async def pull(state: State, backend: Backend, caller: Caller, body: Pull) -> dict[str, object]:
    """Make revisions of the annotations that are not yet."""
    return asdict(await state.threads.submissions.run(backend.corrections.pull, body.project, caller, job=body.job))


def _bearer(request: Request) -> str | None:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" and token.strip() else None
