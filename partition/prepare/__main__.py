"""Turn a network into a model folder: `python -m partition.prepare --model M [--out DIR]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from common.progress import Progress
from partition import cli
from partition.prepare import zoo
from partition.prepare.build import prepare
from partition.prepare.export import STEPS
from partition.prepare.onnx_file.choices import parse_shape, parse_value


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m partition.prepare", description=__doc__)
    parser.add_argument(
        "--model",
        required=True,
        help=f"{', '.join(zoo.names())}, package.module:callable, or FILE.onnx",
    )
    parser.add_argument("--out", type=Path, help="model folder (default: models/<name>)")
    parser.add_argument(
        "--static-batch", action="store_true", help="one sample at a time, even if more can go in"
    )
    of_file = parser.add_argument_group("for FILE.onnx")
    of_file.add_argument(
        "--shape",
        action="append",
        default=[],
        metavar="NAME=Nx3x640x640",
        help="sizes that the file leaves open, N for a batch of any size; the name may be left "
        "out where there is one input; once per input",
    )
    of_file.add_argument(
        "--value",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="make an input a constant: a number, true, numbers with commas, or FILE.npy",
    )
    of_file.add_argument(
        "--example",
        type=Path,
        metavar="FILE",
        help=".npz of real inputs by name, a row per sample, or .npy where there is one input",
    )
    of_file.add_argument(
        "--outputs",
        default="",
        metavar="NAME,NAME",
        help="tensors to stop at, instead of the file's outputs",
    )
    return parser


def _main() -> None:
    arguments = _parser().parse_args()
    with Progress(f"preparing {arguments.model}", STEPS) as progress:
        folder = prepare(
            arguments.model,
            arguments.out,
            dynamic_batch=not arguments.static_batch,
            shapes=dict(map(parse_shape, arguments.shape)),
            values=dict(map(parse_value, arguments.value)),
            example=arguments.example,
            outputs=tuple(filter(None, arguments.outputs.split(","))),
            report=progress.step,
        )
    sys.stdout.write(
        f"prepared {folder.path} {folder.fingerprint}: {len(folder.cuts)} legal cuts, "
        f"{len(folder.split_points)} split points, "
        f"{'a batch of any size' if folder.dynamic_batch else 'one sample at a time'}\n"
    )


if __name__ == "__main__":
    sys.exit(cli.run(_main, "no model folder was written"))
