"""The cloud's server: tails of prepared networks behind gRPC.

Threads, not asyncio: the thread that receives a request runs its tail, which takes a third less
time than an event loop and a worker (`results/server.md`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from partition.errors import DeadlineExceededError
from partition.listener.endpoint import Endpoint
from partition.listener.load_meter import LoadMeter
from partition.listener.peers import Peer
from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime
from partition.providers.execution import Execution
from partition.security.tls import ServerSecurity
from partition.server.batching import BatchQueue
from partition.server.certificate_watch import CertificateWatch
from partition.server.health import Health
from partition.server.memory import MemoryReturn
from partition.server.metrics import ServerMetrics
from partition.server.model_store import ModelStore, Outputs
from partition.transport import rpc, wire


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerLimits:
    """How much a server takes on."""

    max_waiting: int = 64
    """Requests that may wait for a worker; with one more, who has most of them is refused."""
    max_batch: int = 16
    """Requests of one cut that are run together; a power of two."""
    batch_cap_s: float = 0.02
    """Requests are only run together if that will take no longer, s."""
    memory_bytes: int | None = None
    """For loaded tails, which are then loaded on demand; None loads all of them at the start."""
    drain_s: float = 10.0
    """Time that requests have to be finished once the server is told to stop, s."""


class CloudServer:
    """Serves the tails of some models until it is stopped; a context manager.

    Args:
        folders: the model, or several.
        runtime: what runs the tails; None makes one per model.
        listen: HOST:PORT; port 0 takes a free one.
        max_workers: tails (or batches of them) that run at the same time.
        limits: what is refused beyond.
        security: certificates and tokens.
        threads: of each tail, if `runtime` is not given.
        execution: where tails run, likewise; None takes the best providers that work here.
        metrics: count what happens.

    Raises:
        CloudError: the address is no address, in use or not permitted, a file of `security`
            cannot be used, or a model does not fit the memory.
        ModelFolderError: a graph has changed since its folder was opened, or is not to be run.
    """

    def __init__(
        self,
        folders: ModelFolder | Sequence[ModelFolder],
        runtime: SplitRuntime | None = None,
        listen: str = "127.0.0.1:0",
        max_workers: int = 2,
        *,
        limits: ServerLimits | None = None,
        security: ServerSecurity | None = None,
        threads: int = 1,
        execution: Execution | None = None,
        metrics: ServerMetrics | None = None,
    ) -> None:
        held = (folders,) if isinstance(folders, ModelFolder) else tuple(folders)
        self._limits = limits or ServerLimits()
        self._metrics = metrics or ServerMetrics()
        self._models = ModelStore(
            held,
            threads,
            self._limits.memory_bytes,
            partial(SplitRuntime, execution=execution) if runtime is None else lambda *_: runtime,
        )
        self._queue = BatchQueue(
            max_workers,
            self._limits.max_waiting,
            self._limits.max_batch,
            self._limits.batch_cap_s,
            self._metrics.batched,
        )
        self._load = LoadMeter(max_workers)
        self._watch()
        shown = (security.cert, security.client_ca) if security else ()
        self._memory = MemoryReturn()
        self._certificates = CertificateWatch([path for path in shown if path])
        self._endpoint = Endpoint(
            listen,
            self._answer,
            self._models.folders,
            self._load,
            n_requests=max_workers + self._limits.max_waiting,
            security=security,
            answered=self._metrics.answered,
            failed=self._metrics.ended,
        )
        self._health = Health(("", rpc.SERVICE))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._endpoint.grpc_server)
        names = (rpc.SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, self._endpoint.grpc_server)
        self.port = self._endpoint.port

    def __enter__(self) -> CloudServer:
        """Load the tails, unless that is left to the requests, then start serving."""
        if self._limits.memory_bytes is None:
            self._models.load_all()
        self._endpoint.start()
        self._certificates.start()
        self._memory.start()
        self._health.serving = True
        return self

    def __exit__(self, *_: object) -> None:
        """Refuse what comes, finish what is being served, then stop."""
        self._certificates.close()
        self._memory.close()
        self._health.serving = False
        self._endpoint.stop(self._limits.drain_s)

    def placement(self, folder: ModelFolder) -> str:
        """Where a model's tails run, in words."""
        return self._models.placement(folder.fingerprint)

    def _watch(self) -> None:
        watch = self._metrics.watch
        watch("dvfo_load", "Busy share of the workers, 0..1.", lambda: self._load.read()[0])
        watch("dvfo_waiting", "Requests that wait for a worker.", lambda: float(len(self._queue)))
        watch(
            "dvfo_loaded_bytes",
            "Memory that the loaded tails are taken to need.",
            lambda: float(self._models.loaded_bytes),
        )

    def _answer(self, request: wire.Request, due_s: float, peer: Peer) -> Outputs:
        tail = self._models.tail(request.fingerprint, request.split)
        tail.check(request.tensors)
        if due_s <= time.monotonic():
            raise DeadlineExceededError("the request waited too long")
        return self._queue.serve(tail, request.tensors, due_s, peer)
