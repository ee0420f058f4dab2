"""Run folder of a restless policy: clocks and cuts change with everything it sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from agents.policy.frozen import FrozenPolicy
from agents.policy.metadata import PolicyMetadata
from envs.live.plant import live_layout
from envs.spaces import observation_fields
from hw.boards.linux import LinuxBoard
from partition.model.folder import ModelFolder
from tests.hw.fake.access import FakeSysfs
from tests.hw.fake.boards import BOARDS
from tests.hw.fake.kernel import NEW
from tests.runs import write_run

MAX_POWER_W = 12.0
_HIDDEN, _GAIN, _SPREAD = 32, 12.0, 0.8
"""So large that jitter of a few per cent in what is seen changes what is chosen."""


def restless_run(board: str, folder: ModelFolder, scratch: Path) -> Path:
    """Write such a run for a fake board and a network; it is no training's."""
    sysfs = FakeSysfs(BOARDS[board](NEW), scratch / "layout")
    with LinuxBoard(sysfs) as opened:
        layout = live_layout(opened, folder, MAX_POWER_W)
    fields = observation_fields(layout)
    draw = np.random.default_rng(0)
    hidden = draw.normal(0.0, _GAIN, (_HIDDEN, len(fields))).astype(np.float32)
    output = draw.normal(0.0, _SPREAD / _HIDDEN**0.5, (len(layout.axes), _HIDDEN))
    weights = [
        (hidden, draw.normal(0.0, _GAIN, _HIDDEN).astype(np.float32)),
        (output.astype(np.float32), np.zeros(len(layout.axes), np.float32)),
    ]
    metadata = PolicyMetadata("ppo", layout, fields, activation="tanh", head="box")
    return write_run(scratch / "run", FrozenPolicy(metadata, weights), "", folder.path)
