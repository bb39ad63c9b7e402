"""HTTP as every application of the service speaks it: what is no request is answered in the shape of all errors too."""

import logging
from http import HTTPStatus
from typing import Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from toco.jobs.ids import new_id
from toco.model.errors import TocoError
from toco.service.api.problem import MEDIA_TYPE, STATUS_OF_KIND, problem_json
from toco.service.api.request_context import REQUEST_ID

logger = logging.getLogger("toco.requests")

HEAD_BYTES: Final = 256 * 1024
"""Most of a request's first line and headers together, where they do not come at once. The longest list of tags that
the API takes in a query fits in ASCII; other letters take up to twelve bytes there."""


class HeadTooLarge(TocoError):
    """A request's first line and headers together pass the limit."""

    code = "head_too_large"
    kind = "too_large"

    def __init__(self) -> None:
        super().__init__(
            f"The request's first line and headers are longer than {HEAD_BYTES} bytes.", fix="Send a shorter query."
        )


class ProblemProtocol(H11Protocol):
    """Answers what cannot be read as a request, where uvicorn does in plain text."""

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong, and hang up.

        Args:
            msg: in uvicorn's words.
        """
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()  # an answer has begun: there is no place for another
            return
        request_id = new_id()
        held, _ = self.conn.trailing_data
        if len(held) > HEAD_BYTES:
            error = HeadTooLarge()
            status = HTTPStatus(STATUS_OF_KIND[error.kind])
            said = problem_json(status, error.code, error.detail, fix=error.fix, request_id=request_id)
        else:
            status = HTTPStatus.BAD_REQUEST
            said = problem_json(status, "bad_request", msg, fix="Send HTTP/1.1.", request_id=request_id)
        logger.warning("no request", extra={"request_id": request_id, "status": int(status)})
        body = said.encode("ascii")
        headers = [
            (b"content-type", MEDIA_TYPE.encode("ascii")),
            (b"content-length", str(len(body)).encode("ascii")),
            (REQUEST_ID.encode("ascii"), request_id.encode("ascii")),
            (b"connection", b"close"),
        ]
        answer = h11.Response(status_code=status, headers=headers, reason=status.phrase.encode("ascii"))
        for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
