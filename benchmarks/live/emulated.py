"""What the simulator is to believe of the board "emulated".

That board is this machine, slowed down by a quota to the clocks of a device, whose power it models.
So its description is the device's, with this machine's speed at the highest clock.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from benchmarks.live.figures import USUAL_GFLOP_PER_S
from benchmarks.live.plan import BOARDS, Cell
from benchmarks.live.session import live_session
from hw.device.file import device_path
from hw.device.model import DeviceModel
from partition.model.folder import ModelFolder

_MEASURED_S = 8.0
_SPEED = re.compile(r"^(\w+_per_(?:kernel|flop|byte)) = (\S+)$", re.MULTILINE)


def device_of_this_machine(folder: ModelFolder, control: Cell, directory: Path) -> Path:
    """Describe the emulated board, by a run on it alone at the highest clock.

    Args:
        folder: the network.
        control: what runs.
        directory: for the description.

    Raises:
        EnvError: the run failed.
    """
    device = BOARDS[control.board]
    with live_session(folder, control.course) as session:
        found = session.run(
            control.course,
            _MEASURED_S,
            0,
            board=control.board,
            device=device,
            gflop_per_s=USUAL_GFLOP_PER_S,
            action=control.indices,
        )
    here_s = float(np.median([request["edge_s"] for request in found["requests"]]))
    path = directory / f"{device}-of-this-machine.toml"
    path.write_text(scaled(device, folder, here_s), encoding="utf-8")
    return path


def scaled(device: str, folder: ModelFolder, here_s: float) -> str:
    """A device's description with the time that a network takes here at the highest clocks."""
    model, work = DeviceModel.load(device), folder.routes[-1].edge
    demand = model.network.demand(work.flops, work.traffic_bytes, work.kernels)
    top_hz = (float(hz[-1]) for hz in (model.cpu_hz, model.gpu_hz, model.emc_hz))
    factor = here_s / float(model.latency_s(demand, *top_hz))
    text = device_path(device).read_text(encoding="utf-8")
    return _SPEED.sub(lambda match: f"{match[1]} = {factor * float(match[2])!r}", text)
