"""Refusal of a plant that a policy was not made for, with what helps."""

from __future__ import annotations

from collections.abc import Iterable

from agents.errors import PolicyError
from common import command
from envs.plant import Layout
from hw.device.file import device_names
from hw.device.model import DeviceModel

CLOCKS = "set of clocks"
DEFAULT_MODEL = "efficientnet-lite0"
"""Of train.py, which need not be named."""
RETRAIN = f"train one for this board and model with {command.program('train')}"


def other_observations() -> PolicyError:
    """Say that a policy is for observations of other bounds, or other actions."""
    return PolicyError(
        "the policy was trained on other observations or actions than this version has; "
        f"train one with {command.program('train')}"
    )


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
            shown = f"{_shown(mine)}, here {_shown(found)}"
            raise PolicyError(
                f"{made_for} another {what} ({shown}); {_train_for(layout, clocks=what == CLOCKS)}"
            )


def _shown(value: object) -> str:
    """A value that was compared, in words."""
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _train_for(layout: Layout, *, clocks: bool) -> str:
    """What trains a policy for a plant, in words.

    Args:
        layout: of the plant.
        clocks: whether its clocks are others than those of the device that it is taken for.
    """
    network = "" if layout.model == DEFAULT_MODEL else f" --model {layout.model}"
    names = [layout.board] if layout.board in device_names() else []
    aim = "train one for this board and model"
    if clocks:
        names = [n for n in device_names() if DeviceModel.load(n).settable == layout.domains]
        aim = f"train one that drives {' and '.join(layout.domains)} alone"
    if names:
        return f"{aim}: {command.call('train')} --device {names[0]}{network}"
    return f"{RETRAIN} (python -m hw.doctor names a --device)"
