"""The cloud's side of split inference: `python -m partition.server`."""

from __future__ import annotations

from common import extras

extras.require("the server", "grpc_health", "grpc_reflection", "prometheus_client")
