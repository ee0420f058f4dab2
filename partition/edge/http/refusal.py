"""Refusals of HTTP requests: a status and one sentence."""

from __future__ import annotations

from http import HTTPStatus

from partition.errors import (
    CloudUnavailableError,
    DeadlineExceededError,
    ImageError,
    PartitionError,
    ServerBusyError,
    WireError,
)
from partition.providers.session import RUNTIME_ERRORS

KNOWN_ERRORS: tuple[type[Exception], ...] = (PartitionError, *RUNTIME_ERRORS)
"""That a request may end with, for a reason that its sender is told."""
_STATUSES: tuple[tuple[type[Exception], HTTPStatus], ...] = (
    (WireError, HTTPStatus.BAD_REQUEST),
    (ImageError, HTTPStatus.BAD_REQUEST),
    (ServerBusyError, HTTPStatus.TOO_MANY_REQUESTS),
    (DeadlineExceededError, HTTPStatus.GATEWAY_TIMEOUT),
    (CloudUnavailableError, HTTPStatus.SERVICE_UNAVAILABLE),
)
_LATER = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
_RETRY_AFTER_S = 1
"""The header knows whole seconds alone, and 0 would ask for a flood."""


class HttpRefusalError(Exception):
    """A request has no answer but a status and a sentence.

    Args:
        status: of the response.
        sentence: for people.
        allow: methods that there are instead.
    """

    def __init__(self, status: HTTPStatus, sentence: str, *, allow: str | None = None) -> None:
        super().__init__(sentence)
        self.status = status
        self.headers: dict[str, str] = {}
        if allow is not None:
            self.headers["Allow"] = allow
        if status in _LATER:
            self.headers["Retry-After"] = str(_RETRY_AFTER_S)


def refusal_of(error: Exception) -> HttpRefusalError:
    """What an application is told of one of `KNOWN_ERRORS`."""
    statuses = (status for kind, status in _STATUSES if isinstance(error, kind))
    return HttpRefusalError(next(statuses, HTTPStatus.INTERNAL_SERVER_ERROR), str(error))
