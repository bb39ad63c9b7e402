"""HTTP as every application of the service speaks it: what is no request is answered in the shape of all errors too."""

from http import HTTPStatus
from typing import Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from toco.service.api.problem import MEDIA_TYPE, problem_json

HEAD_BYTES: Final = 256 * 1024
"""Most of a request's first line and headers together: the longest list of tags that a query may hold fits."""


class ProblemProtocol(H11Protocol):
    """Answers what cannot be read as a request, where uvicorn does in plain text."""

    def send_400_response(self, msg: str) -> None:
        """Say what is wrong, and hang up.

        Args:
            msg: in uvicorn's words.
        """
        held, _ = self.conn.trailing_data
        if len(held) > HEAD_BYTES:
            detail = f"The request's first line and headers are longer than {HEAD_BYTES} bytes."
            status, code, fix = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "head_too_large", "Send a shorter query."
        else:
            status, code, detail, fix = HTTPStatus.BAD_REQUEST, "bad_request", msg, "Send HTTP/1.1."
        body = problem_json(status, code, detail, fix=fix).encode("ascii")
        headers = [
            (b"content-type", MEDIA_TYPE.encode("ascii")),
            (b"content-length", str(len(body)).encode("ascii")),
            (b"connection", b"close"),
        ]
        answer = h11.Response(status_code=status, headers=headers, reason=status.phrase.encode("ascii"))
        for event in (answer, h11.Data(data=body), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()
