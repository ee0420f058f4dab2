"""What was measured of a network on a board, beside what the model says: `python -m hw.replay`.

    python -m hw.replay --data DIR                                      every network
    python -m hw.replay --data DIR --network vgg19_N2 --out mine.toml   a device that replays one

The device file has the clocks that were measured and no others: `train.py --device mine.toml`
learns on the fitted model, `deploy.py --board replay` is answered from the table.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from common import command
from hw.boards.measured_table import POWER_EMC_HZ, MeasuredTable, load, network_names
from hw.device.file import device_path
from hw.device.latency import Demand
from hw.device.model import DeviceModel
from hw.errors import HardwareError, UnsupportedError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DEVICE = "tx2"
WORKLOADS = {
    "ResNet50_224x224": "resnet50_tensorrt",
    "inception_v4": "inception_v4_tensorrt",
    "vgg19_N2": "vgg19_tensorrt",
    "yolov3-tiny-416": "yolov3_tiny_tensorrt",
}
"""Names that the device file has for them; the others are called `NAME_tensorflow`."""


def figures(table: MeasuredTable, device: DeviceModel) -> Iterator[str]:
    """Lines about a network; each figure says whether it is measured, fitted or modelled."""
    demand = device.workloads[WORKLOADS.get(table.network, f"{table.network}_tensorflow")]
    axes = ", ".join(f"{len(points)} {domain}" for domain, points in table.axes.items())
    yield f"{table.network}: {len(table.latency_s)} combinations of clocks ({axes})"
    errors = [_fitted_s(device, demand, c) / s - 1.0 for c, s in table.latency_s.items()]
    fastest = max(table.latency_s)
    yield (
        f"  latency at the highest clocks: {1e3 * table.latency_s[fastest]:.1f} ms measured, "
        f"{1e3 * _fitted_s(device, demand, fastest):.1f} ms fitted"
    )
    mean = sum(map(abs, errors)) / len(errors)
    yield (
        f"  the fit over all: off by {mean:.1%} on average, {max(map(abs, errors)):.1%} at most "
        "(fitted to these rows)"
    )
    if table.rails:
        yield from _energy_lines(table, device, demand)
    else:
        yield "  energy: not measured; power is fitted, heads and tails are modelled (+-30 %)"


def _energy_lines(table: MeasuredTable, device: DeviceModel, demand: Demand) -> Iterator[str]:
    """What the model's choice of a clock costs by measurement."""
    measured_j = {
        clocks: float(rails.total_w) * table.latency_s[clocks]
        for clocks, rails in table.rails.items()
    }
    modelled_j = {
        clocks: _modelled_w(device, demand, clocks) * _fitted_s(device, demand, clocks)
        for clocks in measured_j
    }
    best = min(measured_j, key=lambda clocks: measured_j[clocks])
    chosen = min(modelled_j, key=lambda clocks: modelled_j[clocks])
    yield (
        f"  least energy, memory at {POWER_EMC_HZ / 1e6:.0f} MHz: {measured_j[best]:.3f} J at "
        f"{best[1] / 1e6:.0f} MHz measured; the model chooses {chosen[1] / 1e6:.0f} MHz, "
        f"{modelled_j[chosen]:.3f} J fitted, {measured_j[chosen]:.3f} J measured: "
        f"{measured_j[chosen] / measured_j[best] - 1.0:.1%} above the least"
    )


def _fitted_s(device: DeviceModel, demand: Demand, clocks_hz: tuple[int, int, int]) -> float:
    cpu_hz, gpu_hz, emc_hz = clocks_hz
    cpu_hz = cpu_hz or device.domains["cpu"].available_hz[-1]  # has no part in it
    return float(device.latency_s(demand, cpu_hz, gpu_hz, emc_hz))


def _modelled_w(device: DeviceModel, demand: Demand, clocks_hz: tuple[int, int, int]) -> float:
    _, gpu_hz, emc_hz = clocks_hz
    cpu_hz = device.domains["cpu"].available_hz[0]
    latency_s = _fitted_s(device, demand, clocks_hz)
    fastest_s = _fitted_s(device, demand, (cpu_hz, device.domains["gpu"].available_hz[-1], emc_hz))
    busy_s = float(demand.busy_s(cpu_hz, gpu_hz, emc_hz)[1])
    return float(
        device.power.total_w(
            *(cpu_hz, gpu_hz, emc_hz),
            cpu_util=0.0,
            gpu_util=busy_s / latency_s,
            traffic_bytes_per_s=device.power.peak_traffic_bytes_per_s * fastest_s / latency_s,
        )
    )


def describe(table: MeasuredTable, data: Path, name: str) -> dict[str, Any]:
    """A device file that replays a table: its clocks, everything else the TX2's."""
    document = tomllib.loads(device_path(DEVICE).read_text(encoding="utf-8"))
    document["name"] = name
    document["title"] = f"{document['title']}, {table.network} as measured"
    document["replay"] = {"data": str(data.resolve()), "network": table.network}
    for domain, part in document["domains"].items():
        part["available_hz"] = list(table.axes.get(domain, part["available_hz"][-1:]))
    return document


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; 2 with one sentence when something is wrong."""
    parser = argparse.ArgumentParser(
        "python -m hw.replay", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--data", type=Path, required=True, help="folder with the measured data")
    parser.add_argument("--network", help=f"one of {', '.join(network_names())}")
    parser.add_argument("--out", type=Path, help="the .toml file to write")
    arguments = parser.parse_args(argv)
    out: Path | None = arguments.out
    try:
        if out is not None and (arguments.network is None or out.suffix != ".toml"):
            raise UnsupportedError("--out takes a name that ends in .toml, and --network a name")
        if out is not None and out.exists():
            raise UnsupportedError(f"{out} exists; give another --out")
        device = DeviceModel.load(DEVICE)
        for name in [arguments.network] if arguments.network else network_names():
            table = load(arguments.data, name)
            print("\n".join(figures(table, device)))
        if out is not None:
            import tomli_w  # noqa: PLC0415 - an extra

            out.write_text(tomli_w.dumps(describe(table, arguments.data, out.stem)), "utf-8")
    except HardwareError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"error: cannot write {out} ({error.strerror}); give another --out", file=sys.stderr)
        return 2
    if out is not None:
        print(f"next: {command.call('train')} --device {out}")
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
