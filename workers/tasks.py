"""The Celery tasks. They take ids, not objects, and may run twice."""

import importlib
import logging
import multiprocessing
import signal
import sys
import threading
from typing import Any

from celery import Celery, Task
from celery.signals import (
    task_postrun,
    task_prerun,
    worker_process_init,
    worker_process_shutdown,
    worker_shutting_down,
)

from toco.jobs.broker import (
    ANSWER,
    BUILD_EXPORT,
    COUNT_LABELS,
    DELETE_OBJECTS,
    DELETE_TRAINING,
    DELETE_UPLOADS,
    DELIVER_WEBHOOKS,
    EXAMINE_TAGS,
    FIT_WORDS,
    LABEL_QUEUES,
    LABEL_SHARD,
    LEARN,
    LEARN_AGAIN,
    PULSE,
    READ_TOKENS,
    RUN_TRAINING,
    SYNC_MODELS,
    make_app,
)
from toco.jobs.expired_uploads import remove_expired_uploads
from toco.jobs.logs import log_context, set_up_logs
from toco.jobs.migrations import migrate_patiently
from toco.jobs.model_catalogue import ModelBroken
from toco.jobs.parent_death import die_with_parent
from toco.jobs.records import JobNotFound, connect
from toco.jobs.settings import Settings
from toco.jobs.store import job_prefix
from toco.model.errors import TocoError
from toco.workers.learning import TokenShard, WordFit
from toco.workers.learning_again import adjusted, learn_again
from toco.workers.leases import give_back
from toco.workers.process import WorkerProcess
from toco.workers.reports import make_report
from toco.workers.shard import Shard
from toco.workers.training import TrainingRun, delete_training_objects

logger = logging.getLogger(__name__)

_EXPORT_LIMIT_SECONDS = 4 * 3600  # not that of other tasks: it grows with the job, and its lock tells when it is dead


def make_worker(settings: Settings, queues: tuple[str, ...]) -> Celery:  # noqa: C901, PLR0915 - a list of small functions
    """Make the Celery application with its tasks, as a worker runs it.

    Each child process builds its own connections, threads and models after the fork: no device, socket or thread
    survives one, so the parent has none of them.
    """
    app = make_app(settings)
    state: dict[str, WorkerProcess] = {}
    # Told by the parent, which takes the signals, and shared with its children: a training does not wait for its end.
    stopping = multiprocessing.Event()

    def process() -> WorkerProcess:
        return state["process"]

    def begin(**_: Any) -> None:
        die_with_parent(signal.SIGKILL)
        set_up_logs(settings.log_level)
        state["process"] = WorkerProcess(settings, queues)
        state["process"].start()

    def end(**_: Any) -> None:
        if "process" in state:
            process().stop()

    def began(task: Task, args: list[Any], **_: Any) -> None:
        process().answer()
        process().queue.begun(task.name, args)

    def ended(**_: Any) -> None:
        process().answer()

    def shut_down(**_: Any) -> None:
        stopping.set()

    worker_shutting_down.connect(shut_down, weak=False)
    worker_process_init.connect(begin, weak=False)
    worker_process_shutdown.connect(end, weak=False)
    task_prerun.connect(began, weak=False)
    task_postrun.connect(ended, weak=False)

    @app.task(name=LABEL_SHARD, bind=True)  # type: ignore[untyped-decorator] # celery has no types
    def label_shard(task: Task, job: str, items: list[str], request_id: str = "") -> None:
        with log_context(job=job, request_id=request_id):
            try:
                _label_shard(process(), job, items, owner=str(task.request.id))
            finally:
                process().leases.drop_all()

    @app.task(name=READ_TOKENS)  # type: ignore[untyped-decorator] # celery has no types
    def read_tokens(job: str, items: list[str], request_id: str = "") -> None:
        with log_context(job=job, request_id=request_id):
            TokenShard(process(), job).run(items)

    @app.task(name=FIT_WORDS, bind=True)  # type: ignore[untyped-decorator] # celery has no types
    def fit_words(task: Task, job: str) -> None:
        with log_context(job=job):
            WordFit(process(), job, owner=str(task.request.id)).run()

    @app.task(name=BUILD_EXPORT, time_limit=_EXPORT_LIMIT_SECONDS)  # type: ignore[untyped-decorator] # celery has no types
    def build_export(export: str) -> None:
        process().exports.build(export, lease_seconds=settings.lease_seconds, max_attempts=settings.max_attempts)

    @app.task(name=COUNT_LABELS, time_limit=_EXPORT_LIMIT_SECONDS)  # type: ignore[untyped-decorator] # celery has no types
    def count_labels(report: str) -> None:
        make_report(process(), report)

    @app.task(name=EXAMINE_TAGS)  # type: ignore[untyped-decorator] # celery has no types
    def examine_tags(report: str) -> None:
        make_report(process(), report)

    @app.task(name=DELIVER_WEBHOOKS)  # type: ignore[untyped-decorator] # celery has no types
    def deliver_webhooks() -> None:
        process().webhooks.deliver_due()

    @app.task(name=DELETE_OBJECTS)  # type: ignore[untyped-decorator] # celery has no types
    def delete_objects(job: str) -> None:
        with log_context(job=job):
            count = process().store.delete_prefix(job_prefix(job))
            process().records.forget(job)
            logger.info("objects deleted", extra={"count": count})

    @app.task(name=DELETE_UPLOADS)  # type: ignore[untyped-decorator] # celery has no types
    def delete_uploads() -> None:
        remove_expired_uploads(process().records, process().store)

    @app.task(name=DELETE_TRAINING)  # type: ignore[untyped-decorator] # celery has no types
    def delete_training(training: str) -> None:
        delete_training_objects(process(), training)

    @app.task(name=RUN_TRAINING, time_limit=int(3600 * (settings.training_limit_hours + 1)))  # type: ignore[untyped-decorator] # celery has no types
    def run_training(training: str) -> None:
        with log_context(training=training):
            TrainingRun(process(), training, stopping=stopping.is_set).run()

    @app.task(name=LEARN_AGAIN, bind=True)  # type: ignore[untyped-decorator] # celery has no types
    def learn_again_from(task: Task, job: str, relearning: str) -> None:
        with log_context(job=job):
            learn_again(process(), job, relearning, owner=str(task.request.id))

    @app.task(name=SYNC_MODELS)  # type: ignore[untyped-decorator] # celery has no types
    def sync_models() -> None:
        process().models.sync()

    @app.task(name=ANSWER)  # type: ignore[untyped-decorator] # celery has no types
    def pulse() -> None:
        """Do nothing: that the message came is the answer."""

    return app


def _label_shard(process: WorkerProcess, job: str, items: list[str], *, owner: str) -> None:
    try:
        record = process.records.job(job)
    except JobNotFound:
        logger.info("shard of a deleted job")
        return
    process.models.sync()
    try:
        labeler = process.models.of_job(record)
        labeler = adjusted(process, labeler, record.options)
    except (TocoError, OSError) as error:
        logger.exception("the job's model cannot be used")
        known = error if isinstance(error, TocoError) else ModelBroken(f"The model cannot be read: {error}")
        _give_back_all(process, job, items, owner, known)
        return
    Shard(
        settings=process.settings,
        records=process.records,
        store=process.store,
        queue=process.queue,
        stats=process.stats,
        leases=process.leases,
        labeler=labeler,
        job=record,
        owner=owner,
    ).run(items)
    if process.webhooks.any_due():
        process.queue.deliver_webhooks()


def _give_back_all(process: WorkerProcess, job: str, items: list[str], owner: str, error: TocoError) -> None:
    """Put items back whose model cannot be used now: a folder that is away or half copied may be whole in a moment.

    They fail after the usual number of attempts, and at once where the model is another one by now.
    """
    settings = process.settings
    for item in items:
        lease = process.records.lease(
            job, item, owner=owner, seconds=settings.lease_seconds, max_attempts=settings.max_attempts
        )
        if not isinstance(lease, str):
            give_back(process.records, settings, lease, error)


def run_worker(settings: Settings, queues: tuple[str, ...]) -> int:
    """Run a worker in the foreground until it is told to stop; return its exit code.

    SIGTERM ends it after the shard in hand, or with a checkpoint of the training in hand; SIGQUIT at once.
    """
    set_up_logs(settings.log_level)
    if set(queues) & {*LABEL_QUEUES, LEARN}:
        # Imported before the fork, which touches no device, so that a child that takes a dead one's place starts fast.
        importlib.import_module("toco.model.labelling.labeler")
    with connect(settings) as client:  # closed before the fork
        migrate_patiently(client, threading.Event())
    app = make_worker(settings, queues)
    taken = (PULSE, *queues) if set(queues) & set(LABEL_QUEUES) else queues
    arguments = ["--quiet", "worker", "--pool=prefork", "--concurrency=1", f"--queues={','.join(taken)}"]
    arguments += ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel", settings.log_level]
    try:
        app.worker_main(arguments)
    except SystemExit as end:
        return int(end.code or 0)
    finally:
        sys.stdout.flush()
    return 0
