"""What Label Studio 1.23 sends to a backend; fields that do not matter here are left out."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class Setup(BaseModel):
    """Body of `POST /setup`, sent when a backend is connected and again before every prediction.

    Attributes:
        project: id and time of making, `7.1699999999`.
        label_config: the labelling config; its field is called `schema`.
        extra_params: as the project's owner wrote them: text, an object, or nothing.
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)

    project: str = ""
    label_config: str = Field("", alias="schema")
    extra_params: Any = None


class PredictParams(BaseModel):
    """`params` of `POST /predict`.

    Attributes:
        context: of interactive mode; None otherwise.
    """

    context: dict[str, Any] | None = None


class Predict(BaseModel):
    """Body of `POST /predict`.

    Attributes:
        tasks: with `id`, `data`, `annotations`, `predictions` and, in interactive mode, `drafts`.
        project: as in `Setup`.
        label_config: the labelling config.
        params: see there.
    """

    model_config = ConfigDict(coerce_numbers_to_str=True)

    tasks: list[dict[str, Any]]
    project: str = ""
    label_config: str = ""
    params: PredictParams | None = None


class Webhook(BaseModel):
    """Body of `POST /webhook`.

    Attributes:
        action: `ANNOTATION_CREATED` and the like.
        project: the project's fields.
        task: the task's fields, of annotation events.
        annotation: its fields, of annotation events; its `result` holds the regions.
    """

    action: str = ""
    project: dict[str, Any] | None = None
    task: dict[str, Any] | None = None
    annotation: dict[str, Any] | None = None


class Pull(BaseModel):
    """Body of `POST /pull`, which `toco labelstudio pull` sends.

    Attributes:
        project: id in Label Studio.
        job: whose items are meant by tasks that were imported from an export.
    """

    project: int
    job: str = ""
