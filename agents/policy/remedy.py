"""What helps whoever has a policy for other clocks than a board's."""

from __future__ import annotations

from envs.plant import Layout
from hw.device.file import device_names
from hw.device.model import DeviceModel

CLOCKS = "set of clocks"
RETRAIN = "train one for this board and model with train.py"


def shown(value: object) -> str:
    """What was compared, in words."""
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def train_for(layout: Layout) -> str:
    """What trains a policy that drives the clocks of a plant, in words."""
    for name in device_names():
        if DeviceModel.load(name).settable == layout.domains:
            clocks = " and ".join(layout.domains)
            return f"train one that drives {clocks} alone: python train.py --device {name}"
    return f"{RETRAIN} (python -m hw.doctor names a --device)"
