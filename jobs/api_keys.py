"""API keys: made once, shown once, kept as hashes."""

import hashlib
import hmac
import re
import secrets
import time
from dataclasses import dataclass
from typing import Any, Final, Literal, get_args

from toco.jobs.ids import new_id
from toco.jobs.job import DEFAULT_WORKSPACE
from toco.jobs.keys import API_KEYS, api_key_record
from toco.jobs.migrations import SCHEMA
from toco.jobs.records import Records
from toco.model.errors import InvalidOption, TocoError, shown

Scope = Literal["label", "read", "admin"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
_WORKSPACE: Final = re.compile(r"[a-z0-9_-]{1,40}")
_TOKEN_PREFIX: Final = "toco"  # noqa: S105 - marks a key as ours; secret scanners look for such marks


class InvalidKey(TocoError):
    """No key, or one that we did not make, revoked or let expire."""

    code = "invalid_key"
    kind = "unauthorized"


class KeyNotFound(TocoError):
    """No API key has this id."""

    code = "key_not_found"
    kind = "not_found"


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key without its secret.

    Attributes:
        id: names it in logs and lists.
        name: whose it is, or what for.
        scopes: what it may do; `admin` includes the others, `label` includes `read`.
        created_at: seconds since 1970.
        expires_at: seconds since 1970, or 0 for never.
        rate_per_minute: requests, or 0 for the service's default.
        quota_images_per_day: images, or 0 for the service's default.
        workspace: whose jobs and uploads it sees; with `admin` it sees those of all.
    """

    id: str
    name: str
    scopes: frozenset[Scope]
    created_at: float
    expires_at: float = 0.0
    rate_per_minute: int = 0
    quota_images_per_day: int = 0
    workspace: str = DEFAULT_WORKSPACE

    @property
    def sees(self) -> str | None:
        """The workspace that it sees, or None for all."""
        return None if "admin" in self.scopes else self.workspace

    def inputs(self, prefix: str) -> str:
        """Return where photos lie that it may label in place: under the prefix, or there in its workspace's folder."""
        own = prefix and self.sees not in (None, DEFAULT_WORKSPACE)
        return f"{prefix.rstrip('/')}/{self.workspace}/" if own else prefix

    def may(self, scope: Scope) -> bool:
        """Say whether the key may do what needs a scope."""
        return "admin" in self.scopes or scope in self.scopes or (scope == "read" and "label" in self.scopes)


class ApiKeys:
    """The keys in the records. The secret has 256 random bits, so one round of SHA-256 keeps it."""

    def __init__(self, records: Records) -> None:
        self._redis = records.redis

    def create(
        self,
        name: str,
        scopes: frozenset[Scope],
        *,
        days: float = 0,
        rate_per_minute: int = 0,
        quota_images_per_day: int = 0,
        workspace: str = DEFAULT_WORKSPACE,
    ) -> tuple[ApiKey, str]:
        """Make a key.

        Returns:
            The key and its token, which cannot be had again.

        Raises:
            InvalidOption: no scope, an unknown one, or a workspace of other signs than a-z, 0-9, - and _.
        """
        if not _WORKSPACE.fullmatch(workspace):
            raise InvalidOption(f"Workspace {shown(workspace)}.", fix="Use up to 40 of a-z, 0-9, - and _.")
        if not scopes or not scopes <= set(SCOPES):
            raise InvalidOption(f"Scopes {sorted(scopes)}.", fix=f"Give some of {', '.join(SCOPES)}.")
        now = time.time()
        key = ApiKey(
            id=new_id(),
            name=name,
            scopes=scopes,
            created_at=now,
            expires_at=now + days * 86_400 if days else 0.0,
            rate_per_minute=rate_per_minute,
            quota_images_per_day=quota_images_per_day,
            workspace=workspace,
        )
        secret = secrets.token_urlsafe(32)
        self._redis.hset(
            api_key_record(key.id),
            mapping={
                "schema": SCHEMA,
                "name": name,
                "scopes": ",".join(sorted(scopes)),
                "hash": _hash(secret),
                "created_at": key.created_at,
                "expires_at": key.expires_at,
                "rate_per_minute": rate_per_minute,
                "quota_images_per_day": quota_images_per_day,
                "workspace": workspace,
            },
        )
        self._redis.zadd(API_KEYS, {key.id: now})
        return key, f"{_TOKEN_PREFIX}_{key.id}_{secret}"

    def check(self, token: str) -> ApiKey:
        """Return the key of a token. Raises InvalidKey."""
        prefix, _, rest = token.partition("_")
        key_id, _, secret = rest.partition("_")
        found = (
            self._redis.hgetall(api_key_record(key_id))
            if prefix == _TOKEN_PREFIX and key_id.isalnum() and secret
            else {}
        )
        if not hmac.compare_digest(found.get("hash", ""), _hash(secret)) or not found:
            raise InvalidKey("The API key is not valid.", fix="Make one with `toco keys create`.")
        key = _read(key_id, found)
        if key.expires_at and key.expires_at < time.time():
            raise InvalidKey("The API key has expired.", fix="Make a new one with `toco keys create`.")
        return key

    def all(self) -> list[ApiKey]:
        """Return all keys in the order of their making."""
        ids = self._redis.zrange(API_KEYS, 0, -1)
        return [_read(key_id, found) for key_id in ids if (found := self._redis.hgetall(api_key_record(key_id)))]

    def revoke(self, key_id: str) -> None:
        """Remove a key; requests with it fail from now on. Raises KeyNotFound."""
        if not self._redis.delete(api_key_record(key_id)):
            raise KeyNotFound(f"No API key {key_id!r}.", fix="`toco keys list` shows them.")
        self._redis.zrem(API_KEYS, key_id)


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _read(key_id: str, found: dict[str, Any]) -> ApiKey:
    return ApiKey(
        id=key_id,
        name=found["name"],
        scopes=frozenset(scope for scope in SCOPES if scope in found["scopes"].split(",")),
        created_at=float(found["created_at"]),
        expires_at=float(found["expires_at"]),
        rate_per_minute=int(found["rate_per_minute"]),
        quota_images_per_day=int(found["quota_images_per_day"]),
        workspace=found.get("workspace", DEFAULT_WORKSPACE),
    )
