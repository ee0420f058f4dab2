"""Measure a model on this machine: `python -m partition.profile --model M [--out FILE]`.

Counted (FLOPs, bytes, kernels) and measured (latencies, codec error, fidelity) stand side by
side, per split point and per block between neighbouring legal cuts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

from partition import cli
from partition.data.pictures import ASSUMED_SCALE, SCALES
from partition.model.folder import ModelFolder
from partition.model.profile_file import PROFILE_FILE
from partition.profile import table
from partition.profile.measure import profile, write
from partition.profile.measures import MEASURES
from partition.providers.execution import Execution


def _main() -> None:
    parser = argparse.ArgumentParser(prog="python -m partition.profile", description=__doc__)
    parser.add_argument("--model", required=True, help="model folder, or its name under models/")
    parser.add_argument("--out", type=Path, help="JSON file (default: in the model folder)")
    parser.add_argument("--plot", type=Path, help="draw bytes and compute over depth: FILE.png")
    parser.add_argument(
        "--repeats", type=cli.positive, default=30, help="timed runs behind each median"
    )
    parser.add_argument(
        "--threads", type=cli.positive, help="threads per inference (default: the fastest number)"
    )
    cli.add_providers_option(parser)
    parser.add_argument(
        "--source",
        type=Path,
        help="real inputs to measure the fidelity on: a folder of pictures, an .npy or .npz file "
        "with a sample per row, a .wav file, or a folder of those (default: scikit-image's "
        "photographs for a network of RGB pictures)",
    )
    parser.add_argument(
        "--measure",
        choices=[measure.name for measure in MEASURES],
        help="of fidelity (default: what suits the outputs)",
    )
    parser.add_argument(
        "--scale",
        choices=SCALES,
        help="of the pixels that the network takes (default: as cuts.json says, else "
        f"{ASSUMED_SCALE}, and bytes as they are)",
    )
    arguments = parser.parse_args()
    folder = ModelFolder.open_network(arguments.model)  # whatever profile lies there is replaced
    result = profile(
        folder,
        arguments.source,
        arguments.repeats,
        arguments.threads,
        measure=arguments.measure,
        scale=arguments.scale,
        execution=Execution.choose(arguments.providers),
    )
    result["command"] = " ".join(["python -m partition.profile", *sys.argv[1:]])
    write(arguments.out or folder.path / PROFILE_FILE, result)
    sys.stdout.write(table.text(result))
    if arguments.plot:
        _plot(result, arguments.plot)


def _plot(result: dict[str, Any], path: Path) -> None:
    from partition.profile import plot  # noqa: PLC0415 - boards do without matplotlib

    plot.save(result, path)


if __name__ == "__main__":
    sys.exit(cli.run(_main, "no profile was written"))
