"""The pages that a driven board shows over HTTP."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Callable, Iterable
from importlib import resources
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, make_wsgi_app

from agents.watch.protocol import STATE_PATH

if TYPE_CHECKING:  # Python 3.11 brings it
    from wsgiref.types import StartResponse, WSGIEnvironment

_PAGE, _PLAIN = "page.html", "text/plain; charset=utf-8"
_COMMON = (("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"))
_OWN_ONLY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "connect-src 'self'; img-src data:; frame-ancestors 'none'"
)
"""The page brings all it needs, and nothing that a board's names could smuggle in is loaded."""


class Application:
    """Answers `/` with the page, `/state` with what it shows, `/metrics` to Prometheus.

    A WSGI application (PEP 3333).

    Args:
        registry: of the metrics.
        state: plain values to be shown; None while the board is not yet driven.
        is_local: whether only this machine asks. Then nobody has another name for it, but a page of
            somebody else's that lets its own name lead here to read what this one shows.
    """

    def __init__(
        self,
        registry: CollectorRegistry,
        state: Callable[[], dict[str, Any] | None],
        *,
        is_local: bool = False,
    ) -> None:
        self._metrics = make_wsgi_app(registry)
        self._state, self._is_local = state, is_local
        self._page = resources.files(__package__).joinpath(_PAGE).read_bytes()

    def __call__(self, environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        """Answer one request."""
        path = environ.get("PATH_INFO", "")
        is_strange = self._is_local and not _is_own(environ.get("HTTP_HOST", "localhost"))
        if path == "/metrics" and not is_strange:
            answer: Iterable[bytes] = self._metrics(environ, start)
            return answer
        method = environ.get("REQUEST_METHOD", "GET")
        if is_strange:
            status, kind, body = "403 Forbidden", _PLAIN, b"ask by address or as localhost\n"
        else:
            status, kind, body = self._answer(method, path)
        headers = [("Content-Type", kind), ("Content-Length", str(len(body))), *_COMMON]
        if status.startswith("405"):
            headers.append(("Allow", "GET, HEAD"))
        if kind.startswith("text/html"):
            headers.append(("Content-Security-Policy", _OWN_ONLY))
        start(status, headers)
        return [] if method == "HEAD" else [body]

    def _answer(self, method: str, path: str) -> tuple[str, str, bytes]:
        if method not in ("GET", "HEAD"):
            return "405 Method Not Allowed", _PLAIN, b"GET and HEAD only\n"
        if path in ("", "/"):
            return "200 OK", "text/html; charset=utf-8", self._page
        if path != STATE_PATH:
            return "404 Not Found", _PLAIN, b"there is /, /state and /metrics\n"
        state = self._state()
        if state is None:
            return "503 Service Unavailable", _PLAIN, b"the board is not yet driven\n"
        return "200 OK", "application/json", json.dumps(state, allow_nan=False).encode()


def _is_own(host: str) -> bool:
    """Whether a Host header names an address or localhost."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or bool(ipaddress.ip_address(name))
    except ValueError:
        return False
