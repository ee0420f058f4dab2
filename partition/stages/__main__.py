"""Serve stages on this device: `python -m partition.stages --model M --listen HOST:PORT`."""

from __future__ import annotations

import argparse
import sys

from common.first_signal import FirstSignal
from partition import cli
from partition.errors import CloudError
from partition.model.folder import ModelFolder
from partition.providers.execution import Execution
from partition.security.tls import is_loopback
from partition.stages.server import StageServer
from partition.transport import rpc


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m partition.stages", description=__doc__)
    parser.add_argument("--model", required=True, help="model folder, or its name under models/")
    parser.add_argument("--listen", required=True, metavar="HOST:PORT", help="port 0: a free one")
    parser.add_argument("--threads", type=cli.positive, default=1, help="threads per inference (1)")
    cli.add_providers_option(parser)
    parser.add_argument(
        "--insecure", action="store_true", help="listen beyond this machine without encryption"
    )
    arguments = parser.parse_args()
    host, _ = rpc.parse_address(arguments.listen)
    if not (arguments.insecure or is_loopback(host)):
        raise CloudError(
            f"{host} is reachable from other machines and nothing is encrypted: listen on "
            "127.0.0.1, or add --insecure on a network you trust"
        )
    with FirstSignal() as stop:
        folder = ModelFolder.open(arguments.model)
        execution = Execution.choose(arguments.providers)
        with StageServer(folder, arguments.listen, arguments.threads, execution) as stage:
            sys.stdout.write(f"{folder.name} {folder.fingerprint} waits on {stage.address}\n")
            sys.stdout.flush()
            stop.wait()


if __name__ == "__main__":
    sys.exit(cli.run(_main))
