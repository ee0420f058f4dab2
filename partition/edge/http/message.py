"""HTTP requests and responses, and what leads from one to the other."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import msgspec

from partition.edge.http.refusal import HttpRefusalError
from partition.listener.peers import Peer

JSON = "application/json"


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request that came whole and within all limits."""

    peer: Peer
    query: str
    """What stands behind the question mark."""
    headers: Callable[[str], str | None]
    """Value of a header by its name in any case; None: it is missing."""
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What goes back."""

    status: HTTPStatus
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """What answers one method at one path."""

    max_body_bytes: int
    """Of a request; 0: it has no body."""
    respond: Callable[[HttpRequest], HttpResponse]
    """Raises `HttpRefusalError`."""


FindRoute = Callable[[str, str], Route]
"""From method and path; raises `HttpRefusalError` where nothing answers."""


def json_response(document: Any, status: HTTPStatus = HTTPStatus.OK) -> HttpResponse:
    """A document of plain values; numbers that are none or infinite become null."""
    return HttpResponse(status, msgspec.json.encode(document), {"Content-Type": JSON})


def refusal_response(refusal: HttpRefusalError) -> HttpResponse:
    """A refusal as the Open Inference Protocol writes it."""
    response = json_response({"error": str(refusal)}, refusal.status)
    response.headers.update(refusal.headers)
    return response
