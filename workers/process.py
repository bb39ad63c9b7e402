"""One worker process: what it holds from start to end, and its heartbeat."""

import logging
import os
import socket
import threading
import time
from collections.abc import Sequence

import redis

from toco.jobs.broker import LABEL_QUEUES, make_app
from toco.jobs.exports import Exports
from toco.jobs.learning_records import LearningRecords
from toco.jobs.model_catalogue import ModelCatalogue
from toco.jobs.outbound import Outbound
from toco.jobs.published_models import PublishedModels
from toco.jobs.queue import WorkQueue
from toco.jobs.records import Records, connect
from toco.jobs.reports import Reports
from toco.jobs.settings import Settings
from toco.jobs.stats import Stats, WorkerReport
from toco.jobs.store import Store
from toco.jobs.trainings import Trainings
from toco.workers.leases import LeaseKeeper
from toco.workers.sweep import Sweep, SweepThread
from toco.workers.warm_model import WarmModels
from toco.workers.webhooks import Webhooks

logger = logging.getLogger(__name__)


class WorkerProcess:
    """Connections, warm models and leases of one process.

    Args:
        settings: all settings.
        queues: the queues that this worker takes work from.
    """

    def __init__(self, settings: Settings, queues: Sequence[str]) -> None:
        self.settings = settings
        self.queues = list(queues)
        self.records = Records(connect(settings, patience_seconds=settings.broker_patience_seconds))
        self.store = Store.open(settings)
        self.queue = WorkQueue(settings, self.records, make_app(settings))
        self.published = PublishedModels(settings, self.records, self.store)
        self.catalogue = ModelCatalogue(settings, self.records, self.published)
        self.models = WarmModels(
            self.catalogue,
            device=settings.device,
            most=settings.max_loaded_models,
            threads=settings.threads,
            runtime=settings.runtime,
            cache=settings.cache_dir,
        )
        self.stats = Stats(self.records)
        self.learning = LearningRecords(self.records)
        self.leases = LeaseKeeper(self.records, seconds=settings.lease_seconds)
        self.outbound = Outbound(settings)
        self.webhooks = Webhooks(settings, self.records, self.outbound)
        self.exports = Exports(self.records, self.store, self.catalogue)
        self.reports = Reports(self.records, self.store, self.catalogue)
        self.trainings = Trainings(self.records, lease_seconds=settings.lease_seconds)
        self.sweep = Sweep(
            settings,
            self.records,
            queue=self.queue,
            exports=self.exports,
            webhooks=self.webhooks,
        )
        self.name = f"{socket.gethostname()}-{os.getpid()}"
        self._started_at = self._answered_at = time.time()
        self._parent = os.getppid()
        self._stopped = threading.Event()
        self._sweeping = SweepThread(self.sweep, settings.sweep_seconds)

    def start(self) -> None:
        """Look for lost work, load the default model, then report as alive."""
        self._sweeping.start()
        if set(self.queues) & set(LABEL_QUEUES):
            self._load_default()
        threading.Thread(target=self._beat, name="heartbeat", daemon=True).start()

    def answer(self) -> None:
        """Note that a message came all the way to this process."""
        self._answered_at = time.time()

    def stop(self) -> None:
        """Take this process off the list of live workers."""
        self._stopped.set()
        self._sweeping.stop()
        self.outbound.close()
        try:
            self.stats.retire(self.name)
        except redis.RedisError:
            logger.warning("the broker is gone; this worker's report runs out by itself")

    def _load_default(self) -> None:
        while True:
            try:
                self.models.get("")
            except redis.RedisError:  # says which model; without it there is nothing to do either
                logger.warning("the broker is away, waiting for it", exc_info=True)
                if os.getppid() != self._parent:
                    os._exit(1)
                time.sleep(1)
            except Exception:
                logger.exception("the default model cannot be loaded")
                return
            else:
                return

    def _beat(self) -> None:
        seconds = self.settings.heartbeat_seconds
        while True:
            if os.getppid() != self._parent:
                # Celery's parent is gone without a word: nobody would ever stop us or acknowledge our work.
                os._exit(1)
            try:
                self.leases.renew_all()
                self.stats.report(self._report(), valid_seconds=3 * seconds)
            except redis.RedisError:
                logger.warning("heartbeat failed, trying again", exc_info=True)
            if self._stopped.wait(seconds):
                return

    def _report(self) -> WorkerReport:
        return WorkerReport(
            name=self.name,
            queues=self.queues,
            models=self.models.names(),
            device=self.models.device_name(),
            device_memory=self.models.device_memory(),
            batch_images=self.models.batch_images(),
            started_at=self._started_at,
            answered_at=max(self._answered_at, self.leases.changed_at),
        )
