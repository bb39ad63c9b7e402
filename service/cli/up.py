"""`toco up`: everything on this machine, until Ctrl-C."""

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from toco.jobs.settings import load_settings
from toco.model.errors import TocoError

if TYPE_CHECKING:
    from toco.service.one_machine.supervisor import Supervisor


def up(
    port: Annotated[int | None, typer.Option(help="Where the API listens; 0 finds a free port.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on; others than loopback need keys.")] = None,
    label: Annotated[Path | None, typer.Option(help="Label this folder of photos once all is up.")] = None,
    tags: Annotated[Path | None, typer.Option(help="Tags of those photos: CSV or JSON Lines.")] = None,
) -> None:
    """Start queue, store, worker and API on this machine; their state is kept in TOCO_DATA_DIR."""
    from toco.jobs.logs import set_up_logs
    from toco.service.one_machine.supervisor import Supervisor

    console = Console(stderr=True)
    overrides: dict[str, Any] = {name: value for name, value in (("port", port), ("host", host)) if value is not None}
    settings = load_settings(**overrides)
    set_up_logs("WARNING")
    supervisor = Supervisor(settings, explicit_broker="redis_url" in settings.model_fields_set)
    for ending in (signal.SIGINT, signal.SIGTERM):
        signal.signal(ending, lambda *_: supervisor.request_stop())
    try:
        with console.status("Starting queue, worker and API ..."):
            supervisor.start()
            supervisor.wait_until_ready()
        url = supervisor.url
        console.print(
            f"[bold]Ready.[/bold]  page {url}/   API {url}/docs   logs {supervisor.log_folder}", soft_wrap=True
        )
        console.print("Ctrl-C stops everything; what was done is kept.")
        labelling = _Labelling(supervisor, label, tags=tags, console=console) if label is not None else None
        supervisor.watch()
    finally:
        with console.status("Stopping ..."):
            supervisor.stop()
    if labelling is not None and labelling.error is not None:
        raise labelling.error


class _Labelling(threading.Thread):
    """Labels a folder beside the watch over the parts, which starts again what ends meanwhile, and hears of Ctrl-C.

    Attributes:
        error: why it could not be labelled; then all is stopped.
    """

    def __init__(self, supervisor: "Supervisor", folder: Path, *, tags: Path | None, console: Console) -> None:
        super().__init__(name="labelling", daemon=True)
        self._supervisor, self._folder, self._tags, self._console = supervisor, folder, tags, console
        self.error: TocoError | OSError | None = None
        self.start()

    def run(self) -> None:
        """Label the folder through the API."""
        from toco.service.cli.jobs import label_folder

        url = self._supervisor.url
        try:
            job = label_folder(url, self._folder, tags=self._tags, console=self._console)
        except (TocoError, OSError) as error:
            if not self._supervisor.is_stopping:
                self.error = error
                self._supervisor.request_stop()
        else:
            self._console.print(
                f"Look at them: {url}/#/jobs/{job}   as JSON: {url}/v1/jobs/{job}/items", soft_wrap=True
            )
