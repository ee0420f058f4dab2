"""Local service: applications on a board hand in inputs and wait for the network's answers.

By gRPC with the same messages as between board and cloud, at the split point of the input, and by
HTTP. The program that decides where the network is cut takes the requests one by one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from partition.edge.http.application import HttpApplication
from partition.edge.http.listening import HttpAddress, parse_http_address
from partition.edge.http.server import HttpServer
from partition.edge.local_queue import Arrays, LocalAnswer, LocalQueue
from partition.errors import CloudError, WireError
from partition.listener.endpoint import Endpoint
from partition.listener.listener import check_free
from partition.listener.load_meter import LoadMeter
from partition.listener.peers import Peer
from partition.model.folder import ModelFolder
from partition.security.tls import is_loopback
from partition.transport import rpc, wire

_DRAIN_S = 1.0


class LocalService(LocalQueue):
    """Takes requests of applications on this machine.

    Args:
        folder: the network.
        listen: HOST:PORT of this machine for gRPC; port 0 takes a free one; None: no gRPC.
        http: HOST:PORT of this machine or unix:PATH, each for HTTP.
        max_waiting: requests; with one more, the connection that has most of them loses its last.
        clock: monotonic seconds.

    Attributes:
        addresses: that are listened on, once it has been started; gRPC's first.

    Raises:
        CloudError: an address is no address, not of this machine, in use or not permitted.
    """

    def __init__(
        self,
        folder: ModelFolder,
        listen: str | None = "127.0.0.1:0",
        *,
        http: Sequence[str] = (),
        max_waiting: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(folder, max_waiting=max_waiting, clock=clock)
        if listen is not None:
            check_local(listen)
        self._listen = listen
        twice = [text for text in http if http.count(text) > 1 and not text.endswith(":0")]
        if twice:
            raise CloudError(f"{twice[0]} is to answer HTTP twice: give each address once")
        self._http = [parse_http_address(text) for text in http]
        self.addresses: tuple[str, ...] = () if listen is None else (listen,)
        self._load = LoadMeter(1)
        self._endpoint: Endpoint | None = None
        self._http_server: HttpServer | None = None

    def start(self) -> None:
        """Begin to listen; before, a client learns at once that no service answers.

        Raises:
            CloudError: an address has been taken meanwhile.
        """
        if self._listen is not None:
            self._start_grpc(self._listen)
        if self._http:
            self._start_http(self._http)

    def stop(self) -> None:
        """Refuse everybody who waits, and stop."""
        super().stop()
        if self._http_server is not None:
            self._http_server.stop(_DRAIN_S)
        if self._endpoint is not None:
            self._endpoint.stop(_DRAIN_S)

    def _start_grpc(self, listen: str) -> None:
        self._endpoint = Endpoint(
            listen,
            self._answer_message,
            {self._folder.fingerprint: self._folder},
            self._load,
            n_requests=self._max_waiting + 1,
            is_local=True,
            clock=self._clock,
        )
        self._endpoint.start()
        self.addresses = (f"{listen.rpartition(':')[0]}:{self._endpoint.port}",)

    def _start_http(self, http: Sequence[HttpAddress]) -> None:
        application = HttpApplication(self._folder, self._ask_by_http, clock=self._clock)
        self._http_server = HttpServer(http, application.route)
        self._http_server.start()
        self.addresses += self._http_server.addresses

    def _answer_message(self, asked: wire.Request, due_s: float, peer: Peer) -> Arrays:
        if asked.split != self._input.index:
            raise WireError(
                f"split point {asked.split} was asked for, a board takes whole inputs "
                f"({self._input.index})"
            )
        inputs = tuple(t.array for t in asked.tensors if isinstance(t, wire.Raw))
        return self.ask(inputs, due_s, peer).result.outputs

    def _ask_by_http(self, inputs: Arrays, due_s: float, peer: Peer) -> LocalAnswer:
        """As `ask`; counts in the load, as requests by gRPC do."""
        self._load.begin()
        try:
            return self.ask(inputs, due_s, peer)
        finally:
            self._load.end()


def check_local(listen: str) -> None:
    """Refuse an address that other machines reach, or that is taken.

    Raises:
        CloudError: it is one, or no address.
    """
    host, _ = rpc.parse_address(listen)
    if not is_loopback(host):
        raise CloudError(
            f"{host} is reachable from other machines, but only applications on this one "
            "are served: listen on 127.0.0.1"
        )
    check_free(listen)
