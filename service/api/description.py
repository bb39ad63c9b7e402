"""The OpenAPI: what FastAPI finds out by itself, and what it cannot know."""

import json
from typing import Any, Final

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from toco.model.formats.sent_mask import SentRegions
from toco.service.api.problem import Problem, problem_response
from toco.service.api.schemas import CheckRequest, JobBody
from toco.service.api.training_request import TrainingBody

_BY_HAND: Final = (
    Problem,
    CheckRequest,
    JobBody,
    SentRegions,
    TrainingBody,
)  # models that are named in descriptions that FastAPI does not make
_NEVER_SENT: Final = ("HTTPValidationError", "ValidationError")  # FastAPI's own errors: ours are problems
_OF_BODIES: Final = (400, 413)  # a body that cannot be read, one over the limit


def complete_description(app: FastAPI) -> None:
    """Make an application's OpenAPI whole: our models in it, and the errors that reading a body can end in."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            described = plain()
            schemas = described["components"]["schemas"]
            _, ours = models_json_schema(
                [(model, "validation") for model in _BY_HAND], ref_template="#/components/schemas/{model}"
            )
            schemas.update(ours["$defs"])
            for name in _NEVER_SENT:
                schemas.pop(name, None)
            for entry in described["paths"].values():
                for operation in entry.values():
                    if "requestBody" in operation:
                        found = operation["responses"]
                        found.update({str(status): problem_response(status) for status in _OF_BODIES})
                        operation["responses"] = dict(sorted(found.items()))
            app.openapi_schema = described
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign] # FastAPI's documented way to extend the OpenAPI


def description_text(app: FastAPI) -> str:
    """Return the OpenAPI as it is committed: indented, in the order of the routes, with a line break at its end."""
    return json.dumps(app.openapi(), indent=1, ensure_ascii=False) + "\n"
