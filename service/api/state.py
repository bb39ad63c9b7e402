"""What the API process holds while it runs."""

import logging
from dataclasses import dataclass, field
from threading import Event, Thread
from typing import Annotated

import redis
from fastapi import Depends, Request

from toco.jobs.api_keys import ApiKeys
from toco.jobs.audits import Audits
from toco.jobs.data_sets import DataSets
from toco.jobs.exports import Exports
from toco.jobs.item_index import ItemIndex
from toco.jobs.learning_records import LearningRecords
from toco.jobs.mappings import Mappings
from toco.jobs.migrations import migrate, migrate_patiently
from toco.jobs.model_catalogue import ModelCatalogue
from toco.jobs.published_models import PublishedModels
from toco.jobs.queue import WorkQueue
from toco.jobs.records import Records, connect
from toco.jobs.relearning import Relearnings
from toco.jobs.reports import Reports
from toco.jobs.revisions import Revisions
from toco.jobs.settings import Settings
from toco.jobs.stats import Stats
from toco.jobs.trainings import Trainings
from toco.service.api.http_metrics import HttpMetrics
from toco.service.api.patient_store import PatientStore
from toco.service.api.stroke_bases import StrokeBases
from toco.service.api.threads import Threads

logger = logging.getLogger(__name__)


_PROBE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class AppState:
    """Connections and the objects built on them; safe to use from several threads.

    Attributes:
        probe: the records over a connection that tells soon whether the server answers.
    """

    settings: Settings
    records: Records
    index: ItemIndex
    store: PatientStore
    queue: WorkQueue
    published: PublishedModels
    learning: LearningRecords
    catalogue: ModelCatalogue
    exports: Exports
    reports: Reports
    data_sets: DataSets
    stats: Stats
    keys: ApiKeys
    http: HttpMetrics
    probe: Records
    threads: Threads
    stroke_bases: StrokeBases
    mappings: Mappings
    revisions: Revisions
    trainings: Trainings
    relearnings: Relearnings
    audits: Audits
    closed: Event = field(default_factory=Event)

    @classmethod
    def open(cls, settings: Settings) -> "AppState":
        """Open everything; connections are made when they are first used.

        Raises:
            InvalidSettings: the store cannot be opened.
        """
        records = Records(connect(settings))
        store = PatientStore.open(settings)
        published = PublishedModels(settings, records, store)
        catalogue = ModelCatalogue(settings, records, published)
        return cls(
            settings=settings,
            records=records,
            index=ItemIndex(records),
            store=store,
            queue=WorkQueue(settings, records),
            published=published,
            learning=LearningRecords(records),
            catalogue=catalogue,
            exports=Exports(records, store, catalogue),
            reports=Reports(records, store, catalogue),
            data_sets=DataSets(records),
            stats=Stats(records),
            keys=ApiKeys(records),
            http=HttpMetrics(),
            probe=Records(connect(settings, patience_seconds=0, answer_seconds=_PROBE_SECONDS)),
            threads=Threads.of(
                store_seconds=settings.store_timeout_seconds, tool_seconds=settings.annotation_wait_seconds
            ),
            stroke_bases=StrokeBases(store, max_pixels=settings.max_image_pixels),
            mappings=Mappings(records),
            relearnings=Relearnings(records),
            audits=Audits(records, store),
            revisions=Revisions(records, store, max_pixels=settings.max_image_pixels),
            trainings=Trainings(records, lease_seconds=settings.lease_seconds),
        )

    def start(self) -> None:
        """Bring the records up to date: now, or in the background while the server is away.

        Raises:
            SchemaTooNew
        """
        try:
            migrate(self.records.redis)
        except redis.RedisError:
            logger.warning("the records do not answer; they are brought up to date when they do")
            Thread(
                target=migrate_patiently, args=[self.records.redis, self.closed], name="migrate", daemon=True
            ).start()

    def close(self) -> None:
        """Close the connections."""
        self.closed.set()
        self.threads.close()
        self.store.close()
        self.records.redis.close()
        self.probe.redis.close()


def app_state(request: Request) -> AppState:
    """Return the state of the application that serves a request."""
    state: AppState = request.app.state.toco
    return state


State = Annotated[AppState, Depends(app_state)]
