"""Turn a network into a model folder: `python -m partition.prepare --model M [--out DIR]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from partition import cli
from partition.prepare import zoo
from partition.prepare.build import prepare


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m partition.prepare", description=__doc__)
    parser.add_argument(
        "--model",
        required=True,
        help=f"{', '.join(zoo.BUILT_IN)}, package.module:callable, or FILE.onnx",
    )
    parser.add_argument("--out", type=Path, help="model folder (default: models/<name>)")
    parser.add_argument(
        "--static-batch", action="store_true", help="one sample at a time, even if more can go in"
    )
    arguments = parser.parse_args()
    folder = prepare(arguments.model, arguments.out, dynamic_batch=not arguments.static_batch)
    sys.stdout.write(
        f"prepared {folder.path} {folder.fingerprint}: {len(folder.cuts)} legal cuts, "
        f"{len(folder.split_points)} split points, "
        f"{'a batch of any size' if folder.dynamic_batch else 'one sample at a time'}\n"
    )


if __name__ == "__main__":
    sys.exit(cli.run(_main, "no model folder was written"))
