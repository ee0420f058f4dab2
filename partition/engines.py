"""Build ahead what some providers compile: `python -m partition.engines --model M --side edge`.

TensorRT's engines take minutes each. They are kept on this machine for this network, provider and
versions; `deploy.py` and `partition.server` then begin at once. A line says which is being built.
"""

from __future__ import annotations

from common import command, extras

if __name__ == "__main__":
    extras.require("compiling engines", "grpc_health")  # the server's side loads what a server does

import argparse
import logging
import sys
from functools import partial

from partition import cli
from partition.edge.pipeline import SplitPipeline
from partition.errors import ProviderError
from partition.model.folder import ModelFolder
from partition.model.runtime import SplitRuntime
from partition.providers.execution import Execution
from partition.providers.options import engine_folder
from partition.providers.registry import PROVIDERS
from partition.server.cloud_server import ServerLimits
from partition.server.model_store import ModelStore


def build(folder: ModelFolder, side: str, execution: Execution) -> None:
    """Load everything that one side of a network will run, as that side does at its start.

    Raises:
        ProviderError: no provider of `execution` compiles anything, or one fails.
    """
    if not execution.providers[0].compiles:
        names = ", ".join(provider.name for provider in PROVIDERS.values() if provider.compiles)
        raise ProviderError(
            f"{folder.name} would run on {execution.providers[0].name}, which compiles nothing: "
            f"name one that does with --providers ({names})"
        )
    if side == "edge":
        SplitPipeline(folder, SplitRuntime(folder, execution=execution)).warm_up(first_line_s=0.0)
    else:
        make_runtime = partial(SplitRuntime, execution=execution)
        ModelStore([folder], make_runtime=make_runtime).load_all(first_line_s=0.0)


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m partition.engines", description=__doc__)
    parser.add_argument("--model", required=True, help="model folder, or its name under models/")
    parser.add_argument(
        "--side",
        choices=("edge", "server"),
        default="edge",
        help=f"what {command.program('deploy')} runs, or the tails of partition.server (edge)",
    )
    parser.add_argument(
        "--max-batch",
        type=cli.positive,
        default=ServerLimits().max_batch,
        help="of the server, as it is started with (%(default)s)",
    )
    cli.add_providers_option(parser)
    arguments = parser.parse_args()
    logging.basicConfig(format="%(message)s")
    folder = ModelFolder.open(arguments.model)
    max_batch = 1 if arguments.side == "edge" else arguments.max_batch
    execution = Execution.choose(arguments.providers, max_batch=max_batch)
    build(folder, arguments.side, execution)
    kept = engine_folder(execution.providers[0], folder.fingerprint, max_batch)
    sys.stdout.write(f"built {folder.name} for the {arguments.side}: {kept}\n")


if __name__ == "__main__":
    sys.exit(cli.run(_main))
