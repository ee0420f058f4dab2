"""Speed of PPO training next to plain Stable-Baselines3: `python -m benchmarks.training_speed`.

The same world, networks and update for all rows but the first, which has the defaults of
Stable-Baselines3 and eight ordinary environments. With `pip install sbx-rl` one row more: PPO on
JAX, compiled as a whole. Steps per second of the wall clock, and per
second of processor time, which a busy machine distorts less.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from stable_baselines3 import PPO
from stable_baselines3.common.base_class import BaseAlgorithm
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv

from agents.errors import AgentError
from agents.learning.export import set_threads
from agents.training.algorithms import ALGORITHMS
from common import command
from envs.edge_env import EdgeSplitEnv
from envs.errors import EnvError
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.build import build_sim_config
from envs.sim.sim_config import SimConfig
from hw.errors import HardwareError
from partition.errors import PartitionError

N_PLAIN = 8
SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Speed:
    """One line of the table.

    Attributes:
        case: what trains how.
        per_s: environment steps per second.
        per_processor_s: environment steps per second of processor time.
    """

    case: str
    per_s: float
    per_processor_s: float


class Stopwatch(BaseCallback):
    """Lets an agent warm up for one rollout, then train for some seconds of the wall clock."""

    def __init__(self, seconds: float) -> None:
        """Set the time."""
        super().__init__()
        self._seconds = seconds
        self._began: tuple[float, float, int] | None = None

    def speed(self, case: str) -> Speed:
        """Steps since the warm-up over the time they took."""
        if self._began is None:
            raise RuntimeError("nothing was timed; train first")
        wall_s, processor_s, steps = (
            now - then for now, then in zip(self._now(), self._began, strict=True)
        )
        return Speed(case, steps / wall_s, steps / processor_s)

    def _on_rollout_start(self) -> None:
        if self._began is None and self.num_timesteps:
            self._began = self._now()

    def _on_step(self) -> bool:
        return self._began is None or time.perf_counter() - self._began[0] < self._seconds

    def _now(self) -> tuple[float, float, int]:
        return time.perf_counter(), time.process_time(), self.num_timesteps


def measure(case: str, agent: BaseAlgorithm, seconds: float) -> Speed:
    """Train for about `seconds` after a warm-up."""
    stopwatch = Stopwatch(seconds)
    agent.learn(10**12, callback=stopwatch)
    return stopwatch.speed(case)


def cases(world: SimConfig) -> list[tuple[str, Callable[[], BaseAlgorithm]]]:
    """Name the contestants and how to build them."""
    recipe = ALGORITHMS["ppo"]
    plain = replace(recipe, agent_class=PPO)

    def defaults() -> BaseAlgorithm:
        env = DummyVecEnv(
            [lambda: EdgeSplitEnv(BatchedSimulator(world, 1), world.objective())] * N_PLAIN
        )
        return PPO("MlpPolicy", env, device="cpu")

    def on_jax() -> BaseAlgorithm:
        return _on_jax(recipe.wrap(recipe.boards(world), 0), recipe.settings)

    found: list[tuple[str, Callable[[], BaseAlgorithm]]] = [
        (f"SB3 PPO, its defaults, {N_PLAIN} environments", defaults),
        (
            f"SB3 PPO, our settings, {recipe.n_envs} boards",
            lambda: plain.build(plain.boards(world), 0, None),
        ),
        (f"ppo here, {recipe.n_envs} boards", lambda: recipe.build(recipe.boards(world), 0, None)),
    ]
    if importlib.util.find_spec("sbx"):
        found.append((f"SBX PPO on JAX, our settings, {recipe.n_envs} boards", on_jax))
    return found


def _on_jax(env: VecEnv, settings: Mapping[str, Any]) -> BaseAlgorithm:
    """The same PPO of Stable Baselines Jax; networks of the same size, its own optimiser."""
    flax, sbx = importlib.import_module("flax.linen"), importlib.import_module("sbx")
    shared = ("learning_rate", "n_steps", "batch_size", "n_epochs", "gamma")
    networks = {
        "net_arch": settings["policy_kwargs"]["net_arch"],
        "activation_fn": flax.relu,
    }
    agent: BaseAlgorithm = sbx.PPO(
        "MlpPolicy", env, policy_kwargs=networks, **{key: settings[key] for key in shared}
    )
    return agent


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; user errors end in one sentence and exit code 2."""
    parser = argparse.ArgumentParser(
        "python -m benchmarks.training_speed",
        description=__doc__.splitlines()[0] if __doc__ else None,
    )
    parser.add_argument("--device", default="tx2", help="device model (%(default)s)")
    parser.add_argument("--model", default="efficientnet-lite0", help="network (%(default)s)")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="per row (%(default)s)")
    arguments = parser.parse_args(argv)
    set_threads()
    try:
        world = build_sim_config(arguments.device, arguments.model)
    except (AgentError, EnvError, HardwareError, PartitionError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{'':52}{'steps/s':>10}{'steps/processor s':>20}")
    for case, build in cases(world):
        speed = measure(case, build(), arguments.seconds)
        print(f"{case:52}{speed.per_s:10,.0f}{speed.per_processor_s:20,.0f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(command.run(main))
