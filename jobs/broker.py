"""The Celery application: queues, delivery guarantees and time limits.

Messages are acknowledged after the work (`task_acks_late`), returned when their process dies
(`task_reject_on_worker_lost`), and taken one at a time. A worker that vanishes altogether loses its messages to the
others after the visibility time-out; long before that, the sweep gives its images to others as their leases run out.
Whatever is delivered twice changes nothing the second time (see `transitions`).
"""

import ssl
from typing import Final
from urllib.parse import urlsplit

from celery import Celery
from kombu.entity import Exchange, Queue

from toco.jobs.queue_transport import TRANSPORT
from toco.jobs.settings import Settings

INTERACTIVE: Final = "interactive"
BATCH: Final = "batch"
ERRANDS: Final = "errands"  # exports, webhooks, deletions: no device, and some wait for the network
LEARN: Final = "learn"  # fits of words that no model knows: seconds to a minute each, on any worker with torch
TRAIN: Final = "train"  # one training at a time for hours: a worker of its own takes them
LABEL_QUEUES: Final = (INTERACTIVE, BATCH)
DEVICE_QUEUES: Final = (INTERACTIVE, LEARN, BATCH)  # of a worker that does all that jobs need
USUAL_QUEUES: Final = (*DEVICE_QUEUES, ERRANDS)  # in the order in which workers look
QUEUES: Final = (*USUAL_QUEUES, TRAIN)
PULSE: Final = "pulse"  # what every labelling worker looks at first: a message that it only has to answer

LABEL_SHARD: Final = "toco.label_shard"
READ_TOKENS: Final = "toco.read_tokens"
FIT_WORDS: Final = "toco.fit_words"
BUILD_EXPORT: Final = "toco.build_export"
COUNT_LABELS: Final = "toco.count_labels"
EXAMINE_TAGS: Final = "toco.examine_tags"
DELIVER_WEBHOOKS: Final = "toco.deliver_webhooks"
DELETE_OBJECTS: Final = "toco.delete_objects"
DELETE_UPLOADS: Final = "toco.delete_uploads"
DELETE_TRAINING: Final = "toco.delete_training"
RUN_TRAINING: Final = "toco.run_training"
LEARN_AGAIN: Final = "toco.learn_again"
SYNC_MODELS: Final = "toco.sync_models"
ANSWER: Final = "toco.answer"


def make_app(settings: Settings) -> Celery:
    """Make the Celery application for some settings. It connects when it is first used."""
    app = Celery("toco", broker=settings.broker_url, set_as_current=False)
    app.conf.update(
        broker_transport=TRANSPORT,
        broker_use_ssl=_encryption(settings.broker_url),
        task_serializer="json",
        accept_content=["json"],
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,
        worker_concurrency=1,
        task_time_limit=settings.task_limit_seconds,
        # An exchange and key for each: by default all would share those of the default queue, and get every message.
        task_queues=[Queue(name, Exchange(name), routing_key=name) for name in (PULSE, *QUEUES)],  # type: ignore[no-untyped-call] # nor has kombu
        task_default_queue=BATCH,
        task_create_missing_queues=False,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        broker_channel_error_retry=True,  # a full or read-only server is one that is away
        # Work in hand is kept while the broker is away: records make its second delivery harmless.
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_transport_options={
            "visibility_timeout": settings.visibility_timeout_seconds,
            "queue_order_strategy": "priority",
            # kombu looks for lost messages only every `interval` x `throttle` polls: 100 s with its defaults.
            "unacked_restore_interval": 10,
            "unacked_restore_throttle": 1,
            "socket_timeout": 10,
            "socket_connect_timeout": 2,
            "health_check_interval": 15,
            "max_retries": 3,
            "interval_start": 0,
            "interval_step": 0.2,
            "interval_max": 0.5,
        },
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        worker_proc_alive_timeout=600,  # a child loads its model and compiles the CRF before it says that it is up
        worker_send_task_events=False,
        worker_enable_remote_control=False,
    )
    return app


def _encryption(url: str) -> dict[str, ssl.VerifyMode] | None:
    """Return what a `rediss://` URL means where it says no more: the server's certificate is checked."""
    parts = urlsplit(url)
    return {"ssl_cert_reqs": ssl.CERT_REQUIRED} if parts.scheme == "rediss" and "ssl_" not in parts.query else None
