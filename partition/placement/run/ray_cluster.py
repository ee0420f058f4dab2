"""Joining a Ray cluster; it collects no usage statistics."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import ray

from partition.placement.errors import PlacementError
from partition.transport import rpc

_TIMEOUT_S = 5.0


@contextmanager
def joined(address: str) -> Iterator[None]:
    """Be a driver of a cluster for some time.

    Args:
        address: HOST:PORT of its head; "auto" is the cluster of this machine.

    Raises:
        PlacementError: there is none.
        CloudError: the address has another form.
    """
    try:
        if address != "auto":  # Ray itself would try for minutes
            socket.create_connection(rpc.parse_address(address), _TIMEOUT_S).close()
        ray.init(address, log_to_driver=False, logging_level="ERROR")
    except (OSError, RuntimeError, ValueError) as error:
        raise PlacementError(
            f"no Ray cluster at {address}: start one with ray start --head --disable-usage-stats"
        ) from error
    try:
        yield
    finally:
        ray.shutdown()
