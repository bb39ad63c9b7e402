"""The Python client for asynchronous programs."""

from collections.abc import Awaitable, Callable, Iterable
from functools import partial, update_wrapper
from types import TracebackType
from typing import Concatenate, ParamSpec, Self, TypeVar

from anyio.to_thread import run_sync

from toco.service.client.client import Client

P = ParamSpec("P")
T = TypeVar("T")


def _awaited(
    method: Callable[Concatenate[Client, P], T],
) -> Callable[Concatenate["AsyncClient", P], Awaitable[T]]:
    """Make the method that does the same work on a thread."""

    async def call(client: "AsyncClient", /, *arguments: P.args, **named: P.kwargs) -> T:
        return await run_sync(partial(method, client.blocking, *arguments, **named), abandon_on_cancel=True)

    update_wrapper(call, method)
    return call


def _listed(
    method: Callable[Concatenate[Client, P], Iterable[T]],
) -> Callable[Concatenate["AsyncClient", P], Awaitable[list[T]]]:
    """Make the method that gathers all pages on a thread."""

    def gather(client: Client, /, *arguments: P.args, **named: P.kwargs) -> list[T]:
        return list(method(client, *arguments, **named))

    update_wrapper(gather, method)
    return _awaited(gather)


class AsyncClient:
    """`Client` with the same methods, awaited; those that yield, such as `items` and `findings`, return whole lists.

    Args:
        url, key, timeout_seconds: as of `Client`.

    Attributes:
        blocking: the client that does the work.
    """

    def __init__(self, url: str, *, key: str = "", timeout_seconds: float = 60.0) -> None:
        self.blocking = Client(url, key=key, timeout_seconds=timeout_seconds)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    close = _awaited(Client.close)
    label = _awaited(Client.label)
    label_folder = _awaited(Client.label_folder)
    check_tags = _awaited(Client.check_tags)
    mappings = _awaited(Client.mappings)
    mapping = _awaited(Client.mapping)
    keep_mapping = _awaited(Client.keep_mapping)
    delete_mapping = _awaited(Client.delete_mapping)
    job = _awaited(Client.job)
    jobs = _listed(Client.jobs)
    items = _listed(Client.items)
    item = _awaited(Client.item)
    wait = _awaited(Client.wait)
    cancel = _awaited(Client.cancel)
    retry = _awaited(Client.retry)
    delete = _awaited(Client.delete)
    decide = _awaited(Client.decide)
    revisions = _listed(Client.revisions)
    mask = _awaited(Client.mask)
    put_mask = _awaited(Client.put_mask)
    draw_audit = _awaited(Client.draw_audit)
    audits = _awaited(Client.audits)
    audit = _awaited(Client.audit)
    next_items = _awaited(Client.next_items)
    relearn = _awaited(Client.relearn)
    relearnings = _awaited(Client.relearnings)
    relearning = _awaited(Client.relearning)
    changes = _listed(Client.changes)
    undo_relearn = _awaited(Client.undo_relearn)
    revise = _awaited(Client.revise)
    change_tags = _awaited(Client.change_tags)
    import_masks = _awaited(Client.import_masks)
    pull_label_studio = _awaited(Client.pull_label_studio)
    choose_revision = _awaited(Client.choose_revision)
    artifact = _awaited(Client.artifact)
    export = _awaited(Client.export)
    data_sets = _awaited(Client.data_sets)
    data_set = _awaited(Client.data_set)
    keep_data_set = _awaited(Client.keep_data_set)
    delete_data_set = _awaited(Client.delete_data_set)
    export_data_set = _awaited(Client.export_data_set)
    report = _awaited(Client.report)
    report_data_set = _awaited(Client.report_data_set)
    reports = _awaited(Client.reports)
    findings = _listed(Client.findings)
    cure = _awaited(Client.cure)
    statistics = _awaited(Client.statistics)
    models = _awaited(Client.models)
    model = _awaited(Client.model)
    model_versions = _awaited(Client.model_versions)
    compare_models = _awaited(Client.compare_models)
    promote_model = _awaited(Client.promote_model)
    roll_back_model = _awaited(Client.roll_back_model)
    delete_model = _awaited(Client.delete_model)
    download_model = _awaited(Client.download_model)
    train = _awaited(Client.train)
    trainings = _listed(Client.trainings)
    training = _awaited(Client.training)
    wait_for_training = _awaited(Client.wait_for_training)
    cancel_training = _awaited(Client.cancel_training)
    resume_training = _awaited(Client.resume_training)
    promote_training = _awaited(Client.promote_training)
    discard_training = _awaited(Client.discard_training)
    delete_training = _awaited(Client.delete_training)
