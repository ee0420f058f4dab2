"""The cloud side: `python -m partition.server --model M [--model M2] --listen HOST:PORT`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from prometheus_client import make_wsgi_app

from common.first_signal import FirstSignal
from partition import cli
from partition.errors import CloudError
from partition.model.folder import ModelFolder
from partition.providers.execution import Execution
from partition.security.tls import ServerSecurity, is_loopback
from partition.server.cloud_server import CloudServer, ServerLimits
from partition.server.memory import keep_memory
from partition.server.metrics import ServerMetrics
from partition.transport import rpc
from partition.transport.exposition import expose


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m partition.server", description=__doc__)
    parser.add_argument(
        "--model", action="append", required=True, help="folder, or name under models/; repeatable"
    )
    parser.add_argument("--listen", required=True, metavar="HOST:PORT", help="port 0: a free one")
    parser.add_argument("--threads", type=cli.positive, default=1, help="threads per request (1)")
    cli.add_providers_option(parser)
    parser.add_argument(
        "--max-workers", type=cli.positive, default=2, help="requests at the same time (2)"
    )
    parser.add_argument(
        "--max-waiting", type=cli.positive, default=64, help="requests that may wait (64)"
    )
    parser.add_argument(
        "--max-batch", type=cli.positive, default=16, help="requests run together (16)"
    )
    parser.add_argument(
        "--batch-ms", type=cli.positive, default=20, help="longest batch, milliseconds (20)"
    )
    parser.add_argument(
        "--memory-mb", type=cli.positive, default=None, help="for tails, loaded on demand"
    )
    parser.add_argument(
        "--drain-s", type=cli.positive, default=10, help="to finish requests on SIGTERM (10)"
    )
    parser.add_argument("--metrics", metavar="HOST:PORT", help="serve Prometheus metrics there")
    parser.add_argument("--tls-cert", type=Path, help="certificate, PEM")
    parser.add_argument("--tls-key", type=Path, help="its private key, PEM")
    parser.add_argument("--client-ca", type=Path, help="authority of the clients' certificates")
    parser.add_argument("--token-file", type=Path, help="tokens, one a line; a client shows one")
    parser.add_argument(
        "--insecure", action="store_true", help="listen beyond this machine without encryption"
    )
    return parser


def _main() -> None:
    arguments = _parser().parse_args()
    host, _ = rpc.parse_address(arguments.listen)
    security = ServerSecurity(
        cert=arguments.tls_cert,
        key=arguments.tls_key,
        client_ca=arguments.client_ca,
        token_file=arguments.token_file,
    )
    if not (arguments.insecure or security.cert or is_loopback(host)):
        raise CloudError(
            f"{host} is reachable from other machines and nothing is encrypted: make certificates "
            "with python -m partition.certificates and give --tls-cert and --tls-key, listen on "
            "127.0.0.1, or add --insecure on a network you trust"
        )
    with FirstSignal() as stop:
        _serve(arguments, security, stop)


def _serve(arguments: argparse.Namespace, security: ServerSecurity, stop: FirstSignal) -> None:
    keep_memory()
    folders = [ModelFolder.open(model) for model in arguments.model]
    limits = ServerLimits(
        max_waiting=arguments.max_waiting,
        max_batch=arguments.max_batch,
        batch_cap_s=arguments.batch_ms / 1e3,
        memory_bytes=arguments.memory_mb and arguments.memory_mb * 1_000_000,
        drain_s=arguments.drain_s,
    )
    metrics = ServerMetrics()
    end_metrics: Callable[[], None] | None = None
    server = CloudServer(
        folders,
        listen=arguments.listen,
        max_workers=arguments.max_workers,
        limits=limits,
        security=security,
        threads=arguments.threads,
        execution=Execution.choose(
            arguments.providers, memory_bytes=limits.memory_bytes, max_batch=limits.max_batch
        ),
        metrics=metrics,
    )
    if arguments.metrics:
        end_metrics = expose(make_wsgi_app(metrics.registry), arguments.metrics)
    with server:
        address = f"{arguments.listen.rpartition(':')[0]}:{server.port}"
        for folder in folders:
            where = server.placement(folder)
            sys.stdout.write(f"serving {folder.name} {folder.fingerprint} ({where}) on {address}\n")
        sys.stdout.flush()
        stop.wait()
    if end_metrics:
        end_metrics()


if __name__ == "__main__":
    sys.exit(cli.run(_main))
