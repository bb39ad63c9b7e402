"""Who may do what: API keys, their scopes, and their limits."""

import time
from collections.abc import Callable
from typing import Annotated, Final
from urllib.parse import SplitResult, urlsplit

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from toco.jobs.api_keys import SCOPES, ApiKey, InvalidKey, Scope
from toco.jobs.keys import quota_key, rate_key
from toco.jobs.settings import is_loopback
from toco.jobs.uploads import Uploads
from toco.model.errors import TocoError
from toco.service.api.problem import LimitReached
from toco.service.api.state import AppState, State

_DAY_SECONDS: Final = 86_400
# Who calls while keys are off, which is possible on a loopback address alone.
LOCAL_USER: Final = ApiKey(id="", name="local user", scopes=frozenset(SCOPES), created_at=0.0)

_bearer = HTTPBearer(auto_error=False, description="An API key made with `toco keys create`.")


class ScopeMissing(TocoError):
    """The API key may not do this."""

    code = "scope_missing"
    kind = "forbidden"


class ForeignOrigin(TocoError):
    """A web page of another host asks while API keys are off."""

    code = "foreign_origin"
    kind = "forbidden"


def _caller(
    request: Request, state: State, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]
) -> ApiKey:
    return identify(request, state, credentials.credentials if credentials else None)


def identify(request: Request, state: AppState, token: str | None) -> ApiKey:
    """Return the API key that a request comes with, its rate counted.

    Args:
        request: says from where it comes.
        state: of the application.
        token: as it was sent, or None.

    Raises:
        InvalidKey, LimitReached
        ForeignOrigin: keys are off, and the request may come from another site's page.
    """
    if not state.settings.auth_required:
        _refuse_foreign_pages(request, state)
        return LOCAL_USER
    if token is None:
        raise InvalidKey("No API key.", fix="Send `Authorization: Bearer KEY`; `toco keys create` makes one.")
    key = state.keys.check(token)
    rate = key.rate_per_minute or state.settings.rate_per_minute
    _, wait = state.records.take_tokens(rate_key(key.id), most=rate, per_second=rate / 60)
    if wait:
        raise LimitReached(f"The API key may make {rate} requests a minute.", retry_seconds=wait)
    return key


def _refuse_foreign_pages(request: Request, state: AppState) -> None:
    """Refuse what a web page of another host may have sent through a user's browser.

    Without keys, being on this machine is the only credential, and a browser lends it to any page: by a form sent
    across origins, or by a host name that resolves to this machine (DNS rebinding).
    """
    allowed = state.settings.allowed_hosts
    host = _split(f"//{request.headers.get('host', '')}").hostname or ""
    if not is_loopback(host) and host not in allowed:
        raise ForeignOrigin(f"Requests for the host {host!r} are not served.", fix="Use localhost, or API keys.")
    origin = request.headers.get("origin")
    if origin is None or origin in state.settings.cors_origins:
        return
    if _split(origin).netloc != request.headers.get("host"):
        raise ForeignOrigin(f"The web origin {origin!r} is not allowed.", fix="List it in TOCO_CORS_ORIGINS.")


def _split(address: str) -> SplitResult:
    """Split an address that a header names; one that is none (`[`) has no parts."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def require(scope: Scope) -> Callable[..., ApiKey]:
    """Return a dependency that demands a scope, hides what other workspaces have, and gives the caller's key."""

    def demand(request: Request, state: State, key: Annotated[ApiKey, Depends(_caller)]) -> ApiKey:
        if not key.may(scope):
            raise ScopeMissing(
                f"The API key {key.name!r} lacks the scope {scope!r}.", fix="Use a key that has it: `toco keys create`."
            )
        job = request.path_params.get("job")
        if key.sees is not None and job is not None:
            state.records.require_seen(job, key.sees)
        training = request.path_params.get("training")
        if key.sees is not None and training is not None:
            state.trainings.require_seen(training, key.sees)
        return key

    return demand


def seen_uploads(state: AppState, key: ApiKey) -> Uploads:
    """Return the uploads that a key sees."""
    return Uploads(state.settings, state.records, state.store, sees=key.sees)


def use_quota(state: AppState, key: ApiKey, images: int) -> None:
    """Count images against a key's quota of the day (UTC). Raises LimitReached, and then counts nothing."""
    if not key.id:
        return
    quota = key.quota_images_per_day or state.settings.quota_images_per_day
    now = time.time()
    counter = quota_key(key.id, int(now // _DAY_SECONDS))
    used = int(state.records.redis.incrby(counter, images))
    state.records.redis.expire(counter, 2 * _DAY_SECONDS)
    if used > quota:
        state.records.redis.decrby(counter, images)
        raise LimitReached(
            f"{images} images more would pass the quota of {quota} images a day.",
            retry_seconds=_DAY_SECONDS - now % _DAY_SECONDS,
        )


Labeller = Annotated[ApiKey, Depends(require("label"))]
Reader = Annotated[ApiKey, Depends(require("read"))]
Admin = Annotated[ApiKey, Depends(require("admin"))]
