"""Errors as clients of OpenAI's API read them."""

from __future__ import annotations

import logging
from typing import Any

from playground.errors import UserError
from playground.service import Crowded

log = logging.getLogger(__name__)
PREFIX = "/v1"
_KINDS = {401: "authentication_error", 403: "permission_error", 404: "not_found_error", 429: "rate_limit_error"}


class Refused(UserError):
    """A sentence with its HTTP status; param: which field of the request is meant; code: what programs ask for."""

    def __init__(self, sentence: str, status: int = 400, param: str | None = None, code: str | None = None):
        super().__init__(sentence)
        self.status, self.param, self.code = status, param, code


def body_of(sentence: str, status: int, param: str | None = None, code: str | None = None) -> dict[str, Any]:
    """The body of an answer that is an error."""
    kind = _KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": sentence, "type": kind, "param": param, "code": code}}


def status_and_body(error: Exception) -> tuple[int, dict[str, Any]]:
    """Of whatever went wrong; what is no sentence for people goes into the log."""
    if isinstance(error, Refused):
        return error.status, body_of(str(error), error.status, error.param, error.code)
    if isinstance(error, Crowded):
        return 429, body_of(str(error), 429, code="rate_limit_exceeded")
    if isinstance(error, UserError):
        return 400, body_of(str(error), 400)
    log.error("a request to %s failed", PREFIX, exc_info=error)
    return 500, body_of("Something went wrong; the server's log says what.", 500)
