"""Checkpoints of agents while they train, so that a killed run goes on.

A file holds numbers and no code (safetensors, its header JSON), where Stable-Baselines3's own holds
pickles: weights, optimisers and counters. Everything else is built by `agents.training.algorithms`
again.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from torch import Tensor

from agents.errors import RunFolderError
from agents.whole_file import written_whole
from partition import json_file

CHECKPOINT = "checkpoint.safetensors"
AGENT = "agent.zip"
"""Of Stable-Baselines3's own making, for scripts that go on with it; nothing here reads it."""
AGENT_WEIGHTS = "agent.safetensors"
"""The same agent, value and policy, without code: what learning on a board goes on from."""
PICKLED = "checkpoint.zip"
"""What earlier versions left, which only code could read."""
EVERY_S = 20.0
_COUNTERS = ("num_timesteps", "_n_updates", "_episode_num", "_n_calls", "exploration_rate")
"""Those of an agent that it has, besides what `learn` sets by itself."""
_HEADER = "agent"
_TENSOR, _TABLE, _LIST = "tensor", "table", "list"


class Checkpoints(BaseCallback):
    """Saves the agent now and then; a killed process leaves the last whole file."""

    def __init__(self, folder: Path) -> None:
        """Save to `folder`."""
        super().__init__()
        self._folder = folder
        self._saved_s = time.monotonic()

    def _on_step(self) -> bool:
        if time.monotonic() - self._saved_s >= EVERY_S:
            save_whole(self.model, self._folder / CHECKPOINT)
            self._saved_s = time.monotonic()
        return True


def checkpoint_in(folder: Path) -> Path | None:
    """What a run that was cut goes on from; None if it begins again.

    Raises:
        RunFolderError: only an earlier version could go on, or what is there is no file.
    """
    path = folder / CHECKPOINT
    if path.is_file():
        return path
    if path.exists():
        raise RunFolderError(f"{path} is no regular file; train again in another folder")
    if (folder / PICKLED).is_file():
        raise RunFolderError(
            f"{folder / PICKLED} is of an earlier version and may hold code, which is not run; "
            f"train again in another folder"
        )
    return None


def save_whole(agent: BaseAlgorithm, path: Path) -> None:
    """Save an agent under a name that never belongs to half a file."""
    tensors: dict[str, Tensor] = {}
    states = _pack(agent.get_parameters(), tensors)
    variables = _pack({name: v.detach() for name, v in _variables(agent).items()}, tensors)
    counters = {name: getattr(agent, name) for name in _COUNTERS if hasattr(agent, name)}
    header = {"states": states, "variables": variables, "counters": counters}
    blob = save(tensors, {_HEADER: json.dumps(header, allow_nan=False)})
    with written_whole(path) as stream:
        stream.write(blob)


def load_into(agent: BaseAlgorithm, path: Path) -> None:
    """Give an agent that was just built what another had learned.

    Raises:
        RunFolderError: the file is missing, damaged, or of an agent that is built otherwise.
    """
    try:
        with safe_open(path, framework="pt") as stored:
            header = json_file.parse(stored.metadata()[_HEADER])
            tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
        states = _unpack(header["states"], tensors)
        _check_optimisers(agent, states)
        agent.set_parameters(states, exact_match=True, device="cpu")
        found = _unpack(header["variables"], tensors)
        for name, variable in _variables(agent).items():
            variable.data.copy_(found[name])
        for name, value in header["counters"].items():
            if name not in _COUNTERS or not isinstance(value, int | float) or value < 0:
                raise ValueError(f"a counter {name!r} of {value!r}")
            setattr(agent, name, value)
    except (
        *(OSError, SafetensorError, LookupError, TypeError, ValueError),
        *(AttributeError, RuntimeError),
    ) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise RunFolderError(
            f"{path} is damaged or of another agent ({reason}); train again in another folder"
        ) from None


def go_on(agent: BaseAlgorithm, path: Path, seed: int) -> None:
    """Let an agent that was just built go on where another was, on episodes that are new to it.

    Raises:
        RunFolderError: the file is damaged, or of an agent that is built otherwise.
    """
    load_into(agent, path)
    agent.set_random_seed((seed + agent.num_timesteps) % 2**32)


def _variables(agent: BaseAlgorithm) -> dict[str, Tensor]:
    """Tensors that are no part of a state, as a temperature that is learned."""
    names = agent._get_torch_save_params()[1]
    return {name: getattr(agent, name) for name in names}


def _check_optimisers(agent: BaseAlgorithm, states: dict[str, Any]) -> None:
    """What an optimiser keeps of a parameter has its shape, or is one number."""
    for name, state in states.items():
        optimiser: Any = agent
        for part in name.split("."):
            optimiser = getattr(optimiser, part)
        if not isinstance(optimiser, torch.optim.Optimizer):
            continue
        shapes = [p.shape for group in optimiser.param_groups for p in group["params"]]
        for number, kept in state["state"].items():
            if any(t.numel() != 1 and t.shape != shapes[number] for t in kept.values()):
                raise ValueError(f"{name} keeps another shape of parameter {number}")


def _pack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """What JSON can hold; tensors stand apart, under numbers. Keys may be whole numbers, too."""
    if isinstance(value, Tensor):
        number = str(len(tensors))
        tensors[number] = value.detach().clone().contiguous()
        return {_TENSOR: number}
    if isinstance(value, dict):
        return {_TABLE: [[key, _pack(item, tensors)] for key, item in value.items()]}
    if isinstance(value, list | tuple):
        return {_LIST: [_pack(item, tensors) for item in value]}
    return value


def _unpack(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Undo `_pack`."""
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == _TENSOR:
        return tensors[content]
    if kind == _TABLE:
        return {key: _unpack(item, tensors) for key, item in content}
    if kind == _LIST:
        return [_unpack(item, tensors) for item in content]
    raise ValueError(f"a value of kind {kind!r}")
