"""Every setting of the service and its workers: environment variables `TOCO_...` or a `.env` file."""

import ipaddress
import re
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from toco.model.errors import TocoError
from toco.model.runtimes import AskedRuntime, cache_folder, choose_runtime
from toco.model.threads import threads

MEBI = 1024 * 1024
# In the name of a URL's query field: password, secret_access_key, access_key, sas_token, sig, credential, ...
_SECRET: Final = re.compile(r"pass|secret|key|token|sig|credential|auth", re.IGNORECASE)
PLACEHOLDERS = frozenset({"change-me", "changeme", "secret", "password", "todo"})


class InvalidSettings(TocoError):
    """The configuration contradicts itself or is out of range."""

    code = "invalid_settings"
    kind = "invalid"


def is_loopback(host: str) -> bool:
    """Say whether a bind address reaches this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def masked_url(url: str) -> str:
    """Return a URL with its password, and whatever in its query names a secret, replaced by `***`."""
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    name, colon, _ = user.partition(":")
    shown = f"{name}{colon}{'***' if colon else ''}{at}{host}"
    query = "&".join(
        f"{field.partition('=')[0]}=***" if _SECRET.search(field.partition("=")[0]) else field
        for field in parts.query.split("&")
    )
    return parts._replace(netloc=shown, query=query).geturl()


class Settings(BaseSettings):
    """All settings; names carry their units.

    Attributes:
        data_dir: where `toco up` keeps its queue, its objects and its state.
        redis_url: broker and records (any Redis-protocol server; must be persistent and `noeviction`).
        store_url: object store: `file:///folder`, `s3://bucket/prefix`, `gs://...`, `az://...` or `memory://`;
            empty means a folder under `data_dir`.
        store_options: further options of the store by obstore's names, as JSON: endpoint, region, keys.
        store_timeout_seconds: how long the API waits for one operation of the store.
        input_prefix: keys under it may be labelled in place, without uploading; empty turns that off.
        presign: answer artifact requests with a redirect to a signed URL where the store can sign.
        host, port: where the API listens.
        auth: whether API keys are demanded; unset means always, except on a loopback address.
        allowed_hosts: further host names that a request may name while keys are off.
        cors_origins: web origins that may call the API; none by default.
        rate_per_minute, quota_images_per_day: of one API key, unless the key carries its own.
        max_body_bytes: largest request body; larger archives go through resumable uploads.
        max_upload_bytes: largest resumable upload.
        max_files_per_job: most images in one job.
        max_image_bytes, max_image_pixels: largest single image, checked before it is decoded.
        max_photo_memory_bytes: most memory that labelling one photo may take, as estimated from its settings.
        max_photo_seconds: most time likewise, in seconds of one processor core.
        max_archive_ratio: largest ratio of unpacked to packed bytes of an archive.
        label_wait_seconds: how long `POST /v1/label` waits before it answers 202.
        models_dir: folder of further model folders beside the one that ships.
        default_model: name of the model used when a request names none; empty means the one that ships.
        max_loaded_models: how many models one worker process keeps warm.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        threads: of the processor, for a worker or a command that labels; 0 takes `OMP_NUM_THREADS`, or else a thread a
            core that the process may use (its affinity, and the quota of its container).
        runtime: what the encoder runs on: `auto`, `torch`, `openvino` or `openvino-int8`; see docs/performance.md.
        cache_dir: where exported encoders are kept; each is about as large as its model in float32.
        max_training_steps: most steps that one training may take, over all its rounds.
        training_limit_hours: time after which a training is stopped and fails; it keeps its last checkpoint.
        training_checkpoint_minutes: how often a training puts a checkpoint into the object store, from which it goes on
            after its worker died.
        shard_seconds: how much work one queue message should carry.
        max_shard_images: most images in one queue message.
        max_attempts: how often an image is tried before it fails.
        retry_delay_seconds: wait before the second attempt after a storage fault; doubles each time.
        lease_seconds: how long an image stays with a silent worker.
        heartbeat_seconds: how often workers renew their leases and report themselves.
        visibility_timeout_seconds: when the broker gives an unacknowledged message to another worker.
        task_limit_seconds: when a worker kills a task; must be under the visibility time-out.
        broker_patience_seconds: how long a worker waits for an absent Redis before it gives up the work in hand.
        sweep_seconds: how often lost work, due webhooks and old jobs are looked for.
        retention_days: age at which finished jobs are deleted; 0 keeps them.
        upload_expiry_hours: age at which unfinished uploads are deleted.
        webhook_secret: key of the HMAC signature of webhooks, unless the job brings its own.
        webhook_attempts: how often a webhook is tried.
        outbound_timeout_seconds: of one outgoing request.
        outbound_allow_private: networks that outgoing requests may reach although they are private (CIDR).
        label_studio_url: address of the Label Studio that uses this service; its photos are fetched from there.
        label_studio_token: its access token, legacy or personal; sent to that address only.
        label_studio_webhook_secret: lets Label Studio's webhooks in, which carry no credentials.
        label_studio_tags_key: where a task's data has its tags, unless the project's own settings say otherwise.
        annotation_wait_seconds: how long an annotation tool waits for predictions; Label Studio gives up after 100 s.
        min_free_bytes: room on its disks below which `toco up` warns.
        log_level: of the JSON logs.
        log_file_bytes: size at which `toco up` puts a log file aside; it keeps three older ones of each.
    """

    model_config = SettingsConfigDict(env_prefix="TOCO_", env_file=".env", extra="ignore", frozen=True)

    data_dir: Path = Path.home() / ".local" / "share" / "toco"
    redis_url: SecretStr = SecretStr("redis://127.0.0.1:6379/0")
    store_url: str = ""
    store_options: dict[str, SecretStr] = {}
    store_timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 30.0
    input_prefix: str = "inputs/"
    presign: bool = False

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    auth: bool | None = None
    allowed_hosts: Annotated[tuple[str, ...], NoDecode] = ()
    cors_origins: Annotated[tuple[str, ...], NoDecode] = ()
    rate_per_minute: Annotated[int, Field(ge=1)] = 600
    quota_images_per_day: Annotated[int, Field(ge=1)] = 100_000

    max_body_bytes: Annotated[int, Field(ge=1024)] = 512 * MEBI
    max_upload_bytes: Annotated[int, Field(ge=1024)] = 16 * 1024 * MEBI
    max_files_per_job: Annotated[int, Field(ge=1)] = 10_000
    max_image_bytes: Annotated[int, Field(ge=1024)] = 256 * MEBI
    max_image_pixels: Annotated[int, Field(ge=1024)] = 400_000_000
    max_photo_memory_bytes: Annotated[int, Field(ge=MEBI)] = 4 * 1024 * MEBI
    max_photo_seconds: Annotated[float, Field(gt=0)] = 300.0
    max_archive_ratio: Annotated[float, Field(ge=1)] = 20.0
    label_wait_seconds: Annotated[float, Field(ge=0, le=300)] = 30.0

    models_dir: Path | None = None
    default_model: str = ""
    max_loaded_models: Annotated[int, Field(ge=1)] = 2
    device: Annotated[str, Field(pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$")] = "auto"
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    runtime: AskedRuntime = "auto"
    cache_dir: Path = Field(default_factory=cache_folder)

    max_training_steps: Annotated[int, Field(ge=1)] = 20_000
    training_limit_hours: Annotated[float, Field(gt=0, le=1000)] = 24.0
    training_checkpoint_minutes: Annotated[float, Field(gt=0, le=60)] = 5.0

    shard_seconds: Annotated[float, Field(gt=0, le=300)] = 8.0
    max_shard_images: Annotated[int, Field(ge=1, le=1024)] = 64
    max_attempts: Annotated[int, Field(ge=1, le=10)] = 3
    retry_delay_seconds: Annotated[float, Field(ge=0)] = 5.0
    lease_seconds: Annotated[float, Field(gt=0)] = 60.0
    heartbeat_seconds: Annotated[float, Field(gt=0)] = 5.0
    visibility_timeout_seconds: Annotated[int, Field(ge=1)] = 900
    task_limit_seconds: Annotated[int, Field(ge=1)] = 600
    broker_patience_seconds: Annotated[float, Field(gt=0)] = 20.0
    sweep_seconds: Annotated[float, Field(gt=0)] = 10.0
    retention_days: Annotated[float, Field(ge=0)] = 0.0
    upload_expiry_hours: Annotated[float, Field(gt=0)] = 48.0

    webhook_secret: SecretStr | None = None
    webhook_attempts: Annotated[int, Field(ge=1, le=20)] = 8
    outbound_timeout_seconds: Annotated[float, Field(gt=0, le=120)] = 10.0
    outbound_allow_private: Annotated[tuple[str, ...], NoDecode] = ()

    label_studio_url: str = ""
    label_studio_token: SecretStr | None = None
    label_studio_webhook_secret: SecretStr | None = None
    label_studio_tags_key: Annotated[str, Field(min_length=1)] = "tags"
    annotation_wait_seconds: Annotated[float, Field(ge=0, le=90)] = 75.0

    min_free_bytes: Annotated[int, Field(ge=0)] = 2 * 1024 * MEBI
    log_file_bytes: Annotated[int, Field(ge=1024)] = 16 * MEBI
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("cors_origins", "allowed_hosts", "outbound_allow_private", mode="before")
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("outbound_allow_private")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for network in value:
            ipaddress.ip_network(network)
        return value

    @field_validator("label_studio_url")
    @classmethod
    def _http_address(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in ("http", "https") or not parts.hostname or parts.username):
            raise ValueError(f"{value!r} is no http:// or https:// address without credentials")
        return value.rstrip("/")

    @field_validator("store_url")
    @classmethod
    def _known_store(cls, value: str) -> str:
        known = ("", "file", "memory", "s3", "gs", "az", "azure", "abfs")
        if value and urlsplit(value).scheme not in known[1:]:
            raise ValueError(
                f"{masked_url(value)!r} is no store; use one of {', '.join(f'{name}://' for name in known[1:])}"
            )
        return value

    @field_validator("redis_url")
    @classmethod
    def _known_broker(cls, value: SecretStr) -> SecretStr:
        if urlsplit(value.get_secret_value()).scheme not in ("redis", "rediss"):
            raise ValueError("must start with redis:// or rediss://")
        return value

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.auth is False and not is_loopback(self.host):
            raise ValueError(f"auth may be off only on a loopback address, not on {self.host!r}")
        if self.task_limit_seconds >= self.visibility_timeout_seconds:
            raise ValueError(
                "task_limit_seconds must be under visibility_timeout_seconds, or a task runs twice at once"
            )
        if self.shard_seconds >= self.task_limit_seconds:
            raise ValueError("shard_seconds must be under task_limit_seconds")
        if self.heartbeat_seconds * 2 > self.lease_seconds:
            raise ValueError("lease_seconds must be at least twice heartbeat_seconds, or leases run out at work")
        for name in ("webhook_secret", "label_studio_webhook_secret"):
            given: SecretStr | None = getattr(self, name)
            secret = given.get_secret_value() if given is not None else None
            if secret is not None and (len(secret) < 16 or secret.lower() in PLACEHOLDERS):
                raise ValueError(f"{name} must have at least 16 characters and be no placeholder")
        if "*" in self.cors_origins and self.auth_required:
            raise ValueError("cors_origins must name origins, not '*'")
        return self

    @property
    def auth_required(self) -> bool:
        """Whether requests need an API key."""
        return not is_loopback(self.host) if self.auth is None else self.auth

    @cached_property
    def effective_store_url(self) -> str:
        """The object store's URL with the default filled in."""
        return self.store_url or f"file://{self.data_dir.expanduser().resolve() / 'objects'}"

    @property
    def broker_url(self) -> str:
        """The Redis URL in clear."""
        return self.redis_url.get_secret_value()

    def masked(self) -> dict[str, Any]:
        """Return the settings in force as JSON values, secrets masked."""
        shown = self.model_dump(mode="json")
        shown["redis_url"] = masked_url(self.broker_url)
        shown["store_url"] = masked_url(self.effective_store_url)
        shown["auth"] = self.auth_required
        shown["threads"] = self.threads or threads()
        if self.device in ("auto", "cpu"):
            shown["runtime"] = choose_runtime(self.runtime)
        return shown


def load_settings(**overrides: Any) -> Settings:
    """Read the settings from the environment.

    Raises:
        InvalidSettings: names the first variable that does not fit.
    """
    try:
        return Settings(**overrides)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = "_".join(str(part) for part in first["loc"])
        name = f"TOCO_{where.upper()}: " if where else ""
        raise InvalidSettings(
            f"{name}{first['msg'].removeprefix('Value error, ')}.", fix="`toco settings` lists every setting."
        ) from None
