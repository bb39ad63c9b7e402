"""`toco labelstudio`: connect a project to this service, or serve its protocol on a port of its own."""

from typing import Annotated, Any, Final

import typer

from toco.model.formats.label_studio import RegionKind, labelling_config
from toco.model.options import PRESETS
from toco.service.cli.error_report import SOME_FAILED, ReportingGroup
from toco.service.cli.service_options import Key, Url, connected

app = typer.Typer(add_completion=False, cls=ReportingGroup, help="Work with Label Studio.", no_args_is_help=True)

_TITLE: Final = "ToCo"


@app.command("connect")
def connect(
    url: Annotated[str, typer.Option(help="Of the Label Studio.", envvar="TOCO_LABEL_STUDIO_URL")],
    token: Annotated[str, typer.Option(help="Its access token.", envvar="TOCO_LABEL_STUDIO_TOKEN")],
    project: Annotated[int, typer.Option(help="Id of the project, as in its address.")],
    backend: Annotated[
        str, typer.Option(help="This service as Label Studio reaches it; empty: where it listens here.")
    ] = "",
    key: Annotated[str, typer.Option(help="API key that Label Studio shall use; `toco keys create` makes one.")] = "",
    model: Annotated[str, typer.Option(help="Name of a model; empty: the default.")] = "",
    preset: Annotated[str, typer.Option(help=f"{', '.join(PRESETS)}.")] = "balanced",
    region: Annotated[
        list[str] | None, typer.Option(help="brush, polygon, rectangle or keypoint; may be repeated. Default: brush.")
    ] = None,
    tags_key: Annotated[str, typer.Option(help="Where a task's data has its tags; empty: the service's own.")] = "",
    cams: Annotated[bool, typer.Option(help="Also return the unrefined CAMs, as a second prediction.")] = False,
    interactive: Annotated[bool, typer.Option(help="Offer interactive mode in the editor.")] = False,
) -> None:
    """Register this service as a project's backend, and print a labelling config for the model's classes."""
    from toco.jobs.outbound import Outbound
    from toco.service.label_studio.project_options import parse_project_options
    from toco.service.label_studio.tool_api import LabelStudioApi
    from toco.service.one_machine.running import local_settings

    settings = local_settings()
    wished = {"model": model, "preset": preset, "tags_key": tags_key, "cams": cams, "regions": region or ["brush"]}
    extra_params = {name: value for name, value in wished.items() if value}
    options = parse_project_options(extra_params)
    vocabulary = _spec(settings, model).vocabulary
    outbound = Outbound(settings, trusted_url=url)
    api = LabelStudioApi(outbound, url, token)
    body: dict[str, Any] = {
        "project": project,
        "title": _TITLE,
        "url": _address(settings, backend),
        "is_interactive": interactive,
        "extra_params": extra_params,
        "auth_method": "BASIC_AUTH" if key else "NONE",
    }
    if key:
        body |= {"basic_auth_user": "toco", "basic_auth_pass": key}
    try:
        backend_id, is_new = api.register_backend(body)
    finally:
        outbound.close()
    done = "connected" if is_new else "connected anew"
    typer.echo(f"Backend {backend_id} of project {project} is {done}: {_hidden(body['url'], settings)}", err=True)
    typer.echo("A labelling config for it (Settings, Labeling Interface, Code):", err=True)
    kinds: tuple[RegionKind, ...] = options.regions or ("brush",)
    typer.echo(labelling_config(vocabulary, kinds))


@app.command("pull")
def pull(
    project: Annotated[int, typer.Option(help="Id of the project, as in its address.")],
    job: Annotated[str, typer.Option(help="Job whose export was imported there; its photos are found by name.")] = "",
    url: Url = "",
    key: Key = "",
) -> None:
    """Fetch a project's annotations: each becomes a revision of the item that it was made on.

    The service fetches them; it needs TOCO_LABEL_STUDIO_URL and TOCO_LABEL_STUDIO_TOKEN. Exit code 1: some were not.
    """
    with connected(url, key) as client:
        found = client.pull_label_studio(project, job=job)
    typer.echo(
        f"{found['revisions']} revisions of {found['tasks']} annotated tasks; {found['same']} were there already"
    )
    if found["unknown_labels"]:
        typer.echo(f"labels that mean no class, left open: {', '.join(found['unknown_labels'])}", err=True)
    if found["unmatched"]:
        typer.echo(f"tasks that no item is known for: {', '.join(map(str, found['unmatched']))}", err=True)
    for task, why in found["refused"].items():
        typer.echo(f"task {task}: {why}", err=True)
    if found["refused"] or found["unmatched"]:
        raise typer.Exit(SOME_FAILED)


@app.command("serve")
def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where to listen.")] = 9090,
    host: Annotated[str | None, typer.Option(help="Address to listen on; others than loopback need keys.")] = None,
) -> None:
    """Serve the annotation tools' protocols alone, at the root of a port of their own."""
    from toco.service.applications.annotation_tools import create_annotation_app
    from toco.service.applications.listening import listen
    from toco.service.one_machine.running import local_settings

    overrides: dict[str, Any] = {"port": port} | ({"host": host} if host is not None else {})
    settings = local_settings(**overrides)
    listen(create_annotation_app, settings)


def _spec(settings: Any, name: str) -> Any:
    from toco.jobs.model_catalogue import find_models

    return find_models(settings.models_dir).named(name or settings.default_model).spec


def _address(settings: Any, backend: str) -> str:
    """Return the backend's address, with the webhook's secret where one is set."""
    from toco.service.one_machine.running import running_service

    if not backend:
        running = running_service(settings.data_dir)
        backend = f"{running.url if running else f'http://{settings.host}:{settings.port}'}/labelstudio"
    secret = settings.label_studio_webhook_secret
    return f"{backend.rstrip('/')}/{secret.get_secret_value()}" if secret else backend.rstrip("/")


def _hidden(address: str, settings: Any) -> str:
    secret = settings.label_studio_webhook_secret
    return address.replace(secret.get_secret_value(), "***") if secret else address
