"""The cloud side behind Ray Serve: `python -m partition.server.replicas --model M --replicas N`.

Serve's own gRPC proxy passes the messages of `partition.transport.wire` through to replicas on any
node; each is a `CloudServer`, so that batching, refusals and errors are those of one process. Serve
starts, watches and restarts the replicas. Clients notice nothing.
"""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from partition import cli
from partition.errors import CloudError
from partition.model.folder import ModelFolder
from partition.server.cloud_server import CloudServer
from partition.transport import rpc

METHODS = (rpc.HELLO, rpc.INFER, rpc.ECHO)
_MAX_ONGOING = 64
_TIMEOUT_S = 60.0
"""Serve does not hand the client's deadline on; the client gives up by itself."""


@dataclass(frozen=True, slots=True)
class Message:
    """Bytes as Serve wants an answer: like a message of protobuf."""

    data: bytes

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """The bytes."""
        return self.data


class Tails:
    """A replica; Serve finds its methods by the names of the service's.

    Args:
        models: folders, at the same paths on every node.
        threads: per request.
    """

    def __init__(self, models: list[Path], threads: int) -> None:
        folders = [ModelFolder.open(model) for model in models]
        self._server = CloudServer(folders, max_workers=1, threads=threads).__enter__()
        channel = grpc.aio.insecure_channel(
            f"127.0.0.1:{self._server.port}", options=(*rpc.SIZE_OPTIONS, rpc.NO_PROXY)
        )
        self._calls = {name: channel.unary_unary(rpc.method_path(name)) for name in METHODS}

    async def Hello(self, message: bytes, grpc_context: Any) -> Message:  # noqa: N802
        """See `CloudServer`."""
        return await self._pass_on(rpc.HELLO, message, grpc_context)

    async def Infer(self, message: bytes, grpc_context: Any) -> Message:  # noqa: N802
        """See `CloudServer`."""
        return await self._pass_on(rpc.INFER, message, grpc_context)

    async def Echo(self, message: bytes, grpc_context: Any) -> Message:  # noqa: N802
        """See `CloudServer`."""
        return await self._pass_on(rpc.ECHO, message, grpc_context)

    async def _pass_on(self, method: str, message: bytes, context: Any) -> Message:
        try:
            return Message(await self._calls[method](message, timeout=_TIMEOUT_S))
        except grpc.RpcError as error:
            context.set_code(error.code())
            context.set_details(error.details())
            raise CloudError(str(error.details())) from None


def add_service(servicer: Any, server: Any) -> None:
    """Tell Serve's proxy which methods there are; messages stay bytes."""
    handlers = {
        name: grpc.unary_unary_rpc_method_handler(getattr(servicer, name, None)) for name in METHODS
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(rpc.SERVICE, handlers),))


def deploy(models: list[Path], port: int, replicas: int, threads: int) -> Callable[[], None]:
    """Start replicas on the Ray cluster that was joined; returns what ends them."""
    from ray import serve  # noqa: PLC0415 - an extra
    from ray.serve.config import HTTPOptions, gRPCOptions  # noqa: PLC0415

    with socket.create_server(("127.0.0.1", 0)) as probe:  # Serve insists on HTTP, too
        unused = probe.getsockname()[1]
    serve.start(
        http_options=HTTPOptions(host="127.0.0.1", port=unused),
        grpc_options=gRPCOptions(
            port=port, grpc_servicer_functions=[f"{__spec__.name}.{add_service.__name__}"]
        ),
    )
    tails = serve.deployment(
        num_replicas=replicas,
        max_ongoing_requests=_MAX_ONGOING,
        ray_actor_options={"num_cpus": threads},
    )(Tails)
    serve.run(tails.bind(models, threads), name=rpc.SERVICE, route_prefix="/")
    end: Callable[[], None] = serve.shutdown
    return end


def _main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m partition.server.replicas", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument(
        "--model", action="append", required=True, help="folder, or name under models/; repeatable"
    )
    parser.add_argument("--port", type=cli.positive, required=True, help="of every node's proxy")
    parser.add_argument("--replicas", type=cli.positive, default=2, help="in all (2)")
    parser.add_argument("--threads", type=cli.positive, default=1, help="threads per request (1)")
    parser.add_argument("--ray", default="auto", metavar="ADDRESS", help="Ray cluster (this one's)")
    parser.add_argument(
        "--insecure", action="store_true", help="needed: Serve listens to all without encryption"
    )
    arguments = parser.parse_args()
    if not arguments.insecure and os.environ.get("RAY_USE_TLS") != "1":
        raise CloudError(
            "Ray Serve listens beyond this machine and nothing is encrypted: set up Ray's TLS "
            "(RAY_USE_TLS=1), or add --insecure on a network you trust"
        )
    folders = [ModelFolder.open(model) for model in arguments.model]
    try:
        from partition.placement.run import ray_cluster  # noqa: PLC0415 - an extra

        importlib.import_module("ray.serve")
    except ImportError as error:
        raise CloudError(
            f"replicas need Ray Serve ({error}): pip install --editable '.[replicas]'"
        ) from error
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    with ray_cluster.joined(arguments.ray):
        paths = [folder.path.resolve() for folder in folders]
        end = deploy(paths, arguments.port, arguments.replicas, arguments.threads)
        for folder in folders:
            sys.stdout.write(
                f"serving {folder.name} {folder.fingerprint} on port {arguments.port}, "
                f"{arguments.replicas} replicas\n"
            )
        sys.stdout.flush()
        stop.wait()
        end()


if __name__ == "__main__":
    sys.exit(cli.run(_main))
