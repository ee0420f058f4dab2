"""Where splitting pays: `python -m benchmarks.splitting`.

For each board, network, link rate and kind of input the cheapest of all actions at rest: where it
cuts, and what would be lost without cuts inside the network, or without one of the clocks. All of
it is modelled; a page and a picture.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from agents.evaluation.plots import save
from agents.learning.export import set_threads
from benchmarks.page import write_page
from benchmarks.splitting.cell import MapCell, cell, worlds
from benchmarks.splitting.inputs import AS_IT_IS, ENCODED, FILE
from benchmarks.splitting.networks import NAMES, PIXELS, costs
from benchmarks.splitting.page import Map, figure, page
from common import command

DEVICES = ("tx2", "xavier-nx", "orin-nano", "pi4", "rk3588")


def measured(devices: Sequence[str], names: Sequence[str]) -> Map:
    """All cells: by device, network and kind of input, in the order of the rates."""
    found: Map = {}
    for name in names:
        network, pixels = costs(name), PIXELS.get(name)
        kinds = (AS_IT_IS,) if pixels is None else (AS_IT_IS, ENCODED, FILE)
        for device in devices:
            at_rest = worlds(device, network)
            for kind in kinds:
                cells: list[MapCell] = [cell(w, kind, pixels) for w in at_rest.values()]
                found[device, name, kind] = cells
                print(device, name, kind, [each.where for each in cells], flush=True)
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; user errors end in one sentence and exit code 2."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.splitting", description=__doc__)
    parser.add_argument("--devices", nargs="+", default=list(DEVICES), help="(%(default)s)")
    parser.add_argument("--networks", nargs="+", default=list(NAMES), choices=NAMES, help="(all)")
    parser.add_argument(
        "--out", type=Path, default=Path("results/where-splitting-pays.md"), help="page"
    )
    arguments = parser.parse_args(argv)
    set_threads()
    call = " ".join(["python -m benchmarks.splitting", *(sys.argv[1:] if argv is None else argv)])

    def make() -> str:
        found = measured(arguments.devices, arguments.networks)
        save(figure(found), arguments.out.with_suffix(".png"))
        return page(found, call, arguments.out.with_suffix(".png").name)

    return write_page(make, arguments.out)


if __name__ == "__main__":
    sys.exit(command.run(main))
