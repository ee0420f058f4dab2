"""A server of the split that refuses what it is told to refuse, and counts who asks."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import grpc

from partition.transport import rpc, wire


class RefusingServer(grpc.GenericRpcHandler):
    """Answers hellos and echoes; a context manager.

    Args:
        folder: the model that its hellos name.
        port: to listen on; 0 takes a free one.
        **codes: gRPC's status codes, by method, with which that is refused.
    """

    def __init__(self, folder, port=0, **codes):
        self.calls: Counter[str] = Counter()
        self.codes = codes
        hello = wire.Hello(folder.fingerprint, folder.cut_list_fingerprint)
        self._answers = {
            rpc.HELLO: wire.pack_hello(hello),
            rpc.ECHO: wire.pack_echo(0.0),
            rpc.INFER: b"",
        }
        self._server = grpc.server(ThreadPoolExecutor(4))
        self._server.add_generic_rpc_handlers((self,))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")

    def __enter__(self):
        self._server.start()
        return self

    def __exit__(self, *_):
        self._server.stop(0).wait()

    def refuse_all(self, code) -> None:
        self.codes = dict.fromkeys((rpc.HELLO, rpc.ECHO, rpc.INFER), code)

    def service(self, details):
        name = details.method.rpartition("/")[2]

        def answer(message, context):
            self.calls[name] += 1
            if name in self.codes:
                context.abort(self.codes[name], "on purpose")
            return self._answers[name]

        return grpc.unary_unary_rpc_method_handler(answer)
