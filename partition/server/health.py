"""The standard health service of gRPC, by `Check` alone.

The ready-made servicer keeps its lock while it sends to those who watch, and takes it where gRPC
ends their calls: watches that come and go stop such a server for good. Clients take a server
without `Watch` as one that is asked, which is what the protocol says of `UNIMPLEMENTED`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_STATUS = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """Answers whether services are served.

    Args:
        services: names that are known; `""` is the server as a whole.

    Attributes:
        serving: false until the server is ready, and again while it ends.
    """

    def __init__(self, services: Sequence[str]) -> None:
        self._services = frozenset(services)
        self.serving = False

    def Check(self, request: Any, context: Any) -> Any:  # noqa: N802
        """A service's status now."""
        if request.service not in self._services:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no service {request.service[:80]!r} here")
        return _STATUS(status=_STATUS.SERVING if self.serving else _STATUS.NOT_SERVING)

    def Watch(self, request: Any, context: Any) -> Any:  # noqa: N802
        """Not offered."""
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "ask with Check, as often as you like")
