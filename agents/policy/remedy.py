"""Refusal of a plant that a policy was not made for, with what helps."""

from __future__ import annotations

from collections.abc import Iterable

from agents.errors import PolicyError
from envs.plant import Layout
from hw.device.file import device_names
from hw.device.model import DeviceModel

CLOCKS = "set of clocks"
RETRAIN = "train one for this board and model with train.py"


def refuse_another(
    made_for: str, compared: Iterable[tuple[str, object, object]], layout: Layout
) -> None:
    """Refuse the first thing that differs.

    Args:
        made_for: beginning of the sentence.
        compared: what is compared, what the policy was made for, and what was found.
        layout: of the plant that was found.

    Raises:
        PolicyError: something differs.
    """
    for what, mine, found in compared:
        if mine != found:
            remedy = _train_for(layout) if what == CLOCKS else RETRAIN
            shown = f"{_shown(mine)}, here {_shown(found)}"
            raise PolicyError(f"{made_for} another {what} ({shown}); {remedy}")


def _shown(value: object) -> str:
    """A value that was compared, in words."""
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _train_for(layout: Layout) -> str:
    """What trains a policy that drives the clocks of a plant, in words."""
    for name in device_names():
        if DeviceModel.load(name).settable == layout.domains:
            clocks = " and ".join(layout.domains)
            return f"train one that drives {clocks} alone: python train.py --device {name}"
    return f"{RETRAIN} (python -m hw.doctor names a --device)"
