"""`toco`: the entry point and its list of commands.

Exit codes: 0 all is done; 1 some of it failed (photos, reference arrays); 2 it was asked for wrongly, nothing was done.
"""

import typer

from toco.service.cli import (
    bench,
    evaluate,
    import_checkpoint,
    jobs,
    keys,
    label,
    labelstudio,
    models,
    preview,
    serve,
    settings,
    train,
    up,
    verify,
    worker,
    worker_health,
)
from toco.service.cli.error_report import ReportingGroup

app = typer.Typer(
    name="toco",
    cls=ReportingGroup,
    help="Label photos from their tags: class activation maps, pseudo masks and segmentation maps.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command("label")(label.label)
app.command("evaluate")(evaluate.evaluate)
app.command("train")(train.train)
app.command("preview")(preview.preview)
app.command("verify")(verify.verify)
app.command("import-checkpoint")(import_checkpoint.import_checkpoint)
app.command(
    "bench",
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(bench.bench)
app.command("models")(models.models)
app.command("up")(up.up)
app.command("serve")(serve.serve)
app.command("worker")(worker.worker)
app.command("worker-health", hidden=True)(worker_health.worker_health)
app.command("settings")(settings.settings)
app.add_typer(keys.app, name="keys")
app.add_typer(jobs.app, name="jobs")
app.add_typer(labelstudio.app, name="labelstudio")


def main() -> None:
    """Run the command line."""
    app()


if __name__ == "__main__":
    main()
