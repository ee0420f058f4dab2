"""Fine-tuning of a policy from simulation on a board in wall-clock time: `train.py --init RUN`.

For networks that score each axis the learner is DVFO's branching network, begun as the policy: its
advantages are the policy's scores times a temperature. Its replay buffer begins with simulated
transitions of the policy, and a few thousand real steps follow, each learned from several times.
`advised` learns in another way, see `agents.advised.tune`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.advised.policy import ADVISED
from agents.advised.tune import tune_portfolio
from agents.deployed.run_folder import Decide, RunFolder, keep_device, keep_governed
from agents.errors import AgentError
from agents.learners.branching import BranchingDQN
from agents.learning.export import set_threads
from agents.learning.log_cost import LogCost
from agents.learning.safe_env import SafeEnv
from agents.policy.folder import Policy
from agents.policy.frozen import NETWORK, FrozenPolicy
from agents.policy.saved_rule import SavedRule
from agents.training.algorithms import ALGORITHMS
from agents.training.checkpoints import CHECKPOINT, checkpoint_in, load_into, save_whole
from agents.training.machine import describe_machine
from agents.training.run import CONFIG_FILE, MACHINE_FILE, write_json
from agents.whole_file import written_whole
from envs.edge_env import EdgeSplitEnv
from envs.energy_per_request import EnergyTotal
from envs.live.make import make_live
from envs.live.plant import LivePlant
from envs.sim.sim_config import SimConfig
from envs.vec_env import EdgeSplitVecEnv
from partition import array_file
from partition.providers.registry import Provider
from partition.security.tls import ClientSecurity

TEMPERATURE = 0.05
"""Log cost per score of a policy, as `agents.learners.imitation` labels them."""
SETTINGS: dict[str, Any] = {
    "learning_rate": 3e-4,
    "buffer_size": 20_000,
    "learning_starts": 0,
    "batch_size": 128,
    "gamma": 0.0,
    "tau": 0.02,
    "train_freq": 1,
    "gradient_steps": 4,
    "exploration_fraction": 1.0,
    "exploration_final_eps": 0.02,
    "initial_eps": 0.1,
}
N_SIMULATED = 4000
N_BOARDS = 16
N_REHEARSALS = 1000
"""Updates on simulated transitions before the first real one."""
BLOCK_STEPS = 40
CHECKPOINT_EVERY = 100
MEMORY_FILE = "memory.npz"


LIVE_STEPS = 2000
"""Control steps of a default run, a quarter of a second each."""
N_BLOCKS = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveTuningConfig:
    """Where and how long to tune.

    Attributes:
        board: a name in `hw.boards.registry`.
        scenario: name or TOML file.
        cloud: HOST:PORT of `partition.server`; None keeps everything on the edge.
        n_steps: control steps.
        seed: of everything random.
        security: what a cloud beyond this machine needs.
        providers: what the network runs on; None takes the best that work here.
    """

    board: str
    scenario: str
    cloud: str | None
    n_steps: int
    seed: int
    security: ClientSecurity = field(default_factory=ClientSecurity)
    providers: tuple[Provider, ...] | None = None


@dataclass(frozen=True, slots=True)
class TuningBlock:
    """What a policy took over some steps.

    Attributes:
        energy_j: energy per request answered; NaN where none was.
        deadline_hit_rate: share of requests in time.
        latency_s: mean latency.
        cost: mean cost per step.
    """

    energy_j: float
    deadline_hit_rate: float
    latency_s: float
    cost: float


class LiveCheckpoints(BaseCallback):
    """Saves the agent and what it remembers every so many steps, each file whole or not at all."""

    def __init__(self, folder: Path) -> None:
        """Save to `folder`."""
        super().__init__()
        self._folder = folder

    def _on_step(self) -> bool:
        if self.n_calls % CHECKPOINT_EVERY == 0 and isinstance(self.model, BranchingDQN):
            save_memory(self.model, self._folder / MEMORY_FILE)
            save_whole(self.model, self._folder / CHECKPOINT)
        return True


def tune_run(run: Path, run_dir: Path, place: LiveTuningConfig) -> str:
    """Tune the policy of a run on a board and leave a run folder that deploys.

    Args:
        run: finished run of `train.py`.
        run_dir: for the result; one that was cut is gone on with.
        place: the board.

    Returns:
        Energy before and after, in one line.

    Raises:
        AgentError: the run or its policy.
        EnvError: the scenario.
        HardwareError: the board.
        PartitionError: the model or the cloud.
    """
    source = RunFolder.load(run)
    policy = source.policy
    if policy.kind not in _TUNERS:
        raise AgentError(
            f"{run} holds a policy of {policy.algorithm}, which cannot be tuned; give a run of "
            f"advised, amortised, ppo or dvfo"
        )
    env = make_live(
        place.board,
        source.device_on(place.board),
        source.model,
        place.scenario,
        cloud=place.cloud,
        security=place.security,
        n_steps=max(place.n_steps, BLOCK_STEPS),
        max_power_w=policy.layout.max_power_w,
        accept=policy.check_layout,
        hold=source.hold,
        governed=source.governed(source.model, place.scenario),
        providers=place.providers,
    )
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        _record_machine(env, run_dir)
        tuned = _TUNERS[policy.kind](policy, env, source, run_dir, place)
        after = replace(source, policy=tuned)
        before, then = (
            partial(r.decide_for, env, r.model, place.scenario) for r in (source, after)
        )
        blocks = compare(env, before, then, N_BLOCKS)
    finally:
        env.close()
    helps = blocks["after"].cost < blocks["before"].cost
    kept = {"device": source.device, "model": source.model, "hold": source.hold.value}
    write_json(run_dir / CONFIG_FILE, kept)
    keep_device(source.device, run_dir)
    keep_governed(source.path, run_dir)
    (after if helps else source).policy.save(run_dir / "policy")
    verdict = "tuned policy kept" if helps else "no gain: the policy from before is kept"
    return f"{report(blocks, run_dir)}\n{verdict}"


def _record_machine(env: EdgeSplitEnv, run_dir: Path) -> None:
    where = {"runs_on": env.plant.placement} if isinstance(env.plant, LivePlant) else {}
    write_json(run_dir / MACHINE_FILE, {**describe_machine(), **where})


def _tune_network(
    policy: FrozenPolicy,
    env: EdgeSplitEnv,
    source: RunFolder,
    run_dir: Path,
    place: LiveTuningConfig,
) -> Policy:
    world = source.world(source.model, place.scenario)
    return tune(env, world, policy, run_dir, place.n_steps, place.seed)


def _tune_advised(
    policy: SavedRule, env: EdgeSplitEnv, source: RunFolder, run_dir: Path, place: LiveTuningConfig
) -> Policy:
    known = source.known(env, source.model, place.scenario)
    rule = tune_portfolio(env, known, policy.rule, run_dir, place.n_steps, place.seed)
    return replace(policy, rule=rule)


_TUNERS: dict[str, Callable[..., Policy]] = {NETWORK: _tune_network, ADVISED.name: _tune_advised}
"""How policies learn on a board, by their kinds; the others do not."""


def warm_start(env: SafeEnv, policy: FrozenPolicy, seed: int) -> BranchingDQN:
    """An agent that decides as a frozen policy.

    Raises:
        AgentError: the policy has no scores per axis.
    """
    meta = policy.metadata
    is_plain = meta.head == "categorical" and meta.activation == "relu"
    if not is_plain or policy.normaliser is not None:
        raise AgentError(
            f"a policy of {meta.algorithm} cannot be tuned; give a run of amortised, ppo or dvfo"
        )
    *hidden, last = policy.weights
    settings = SETTINGS | {"policy_kwargs": {"net_arch": [len(bias) for _, bias in hidden]}}
    agent = BranchingDQN(
        "MlpPolicy", DummyVecEnv([lambda: env]), seed=seed, device="cpu", **settings
    )
    network = agent.policy.q_net
    linear = [layer for layer in network.trunk if isinstance(layer, torch.nn.Linear)]
    branches = [layer for layer in network.branches if isinstance(layer, torch.nn.Linear)]
    ends = np.cumsum(agent.choices.sizes)
    with torch.no_grad():
        for layer, (weight, bias) in zip(linear, hidden, strict=True):
            layer.weight.copy_(torch.from_numpy(weight))
            layer.bias.copy_(torch.from_numpy(bias))
        for branch, end, size in zip(branches, ends, agent.choices.sizes, strict=True):
            rows = slice(int(end) - size, int(end))
            branch.weight.copy_(TEMPERATURE * torch.from_numpy(last[0][rows]))
            branch.bias.copy_(TEMPERATURE * torch.from_numpy(last[1][rows]))
    agent.policy.q_net_target.load_state_dict(network.state_dict())
    return agent


def remember_simulation(
    agent: BranchingDQN, world: SimConfig, policy: FrozenPolicy, seed: int
) -> None:
    """Fill the replay buffer with what the policy, straying a little, meets in simulation."""
    boards = EdgeSplitVecEnv(ALGORITHMS["amortised"].imagine(world), N_BOARDS)
    boards.seed(seed)
    env, generator = LogCost(boards), np.random.default_rng(seed)
    observations = np.asarray(env.reset())
    for _ in range(N_SIMULATED // N_BOARDS):
        actions = policy.decide(observations)
        strayed = actions + generator.integers(-SafeEnv.REACH, SafeEnv.REACH + 1, actions.shape)
        actions = np.clip(strayed, 0, policy.decoder.sizes - 1)
        following, rewards, dones, infos = env.step(actions)
        following = np.asarray(following)
        for i in range(N_BOARDS):
            last = infos[i].get("terminal_observation", following[i])
            row = (observations[i : i + 1], last[None], actions[i : i + 1])
            if agent.replay_buffer is not None:
                agent.replay_buffer.add(*row, rewards[i : i + 1], dones[i : i + 1], [infos[i]])
        observations = following


def tune(
    env: EdgeSplitEnv,
    world: SimConfig,
    policy: FrozenPolicy,
    run_dir: Path,
    n_steps: int,
    seed: int,
) -> Policy:
    """Learn on the board; goes on where a run that was killed had come to.

    Args:
        env: of the board.
        world: that the policy was trained in.
        policy: to begin with.
        run_dir: for checkpoints.
        n_steps: control steps in all.
        seed: of everything random.

    Raises:
        AgentError: the policy has no scores per axis, or the checkpoint is damaged.
    """
    set_threads()
    safe = SafeEnv(env, policy)
    checkpoint = checkpoint_in(run_dir)
    is_new = checkpoint is None
    agent = warm_start(safe, policy, seed)
    anchor = copy.deepcopy(agent.policy.q_net)
    if checkpoint is not None:
        load_into(agent, checkpoint)
        load_memory(agent, run_dir / MEMORY_FILE)
    agent.anchor = anchor
    if is_new:
        remember_simulation(agent, world, policy, seed)
        agent.rehearse(N_REHEARSALS)
    left = max(n_steps - agent.num_timesteps, 0)
    agent.learn(left, callback=LiveCheckpoints(run_dir), reset_num_timesteps=is_new)
    recipe = ALGORITHMS["dvfo"]
    return recipe.freeze(agent, recipe.describe(policy.algorithm, policy.layout))


def compare(
    env: EdgeSplitEnv, before: Callable[[], Decide], after: Callable[[], Decide], n_blocks: int
) -> dict[str, TuningBlock]:
    """Run both policies on the board on the same requests, block by block in turn.

    Args:
        env: of the board.
        before: makes the policy as it was, with an empty memory.
        after: makes the other one.
        n_blocks: stretches of requests, which both answer.
    """
    both = {"before": before, "after": after}
    seen: dict[str, list[list[float]]] = {name: [] for name in both}
    drawn = {name: EnergyTotal() for name in both}
    for block in range(n_blocks):
        for name in sorted(both, reverse=block % 2 == 0):
            decide, (observation, _) = both[name](), env.reset(seed=block)
            for step in range(BLOCK_STEPS):
                observation, reward, _, _, info = env.step(decide(observation))
                outcome = info["outcome"]
                # The first step still pays for the other policy's clocks.
                if step and _is_measured(env):
                    drawn[name].add(outcome["power_w"] * env.plant.step_s, outcome["requests"])
                    seen[name].append(
                        [outcome["deadline_hit_rate"], outcome["latency_s"], -float(reward)]
                    )
    return {name: _block(drawn[name], rows) for name, rows in seen.items()}


def _block(drawn: EnergyTotal, rows: list[list[float]]) -> TuningBlock:
    energy_j = drawn.per_request_j
    means = map(float, np.mean(rows, axis=0))
    return TuningBlock(math.nan if energy_j is None else energy_j, *means)


def _is_measured(env: EdgeSplitEnv) -> bool:
    """Whether the energy of the last step is the board's, and not one from before."""
    return not isinstance(env.plant, LivePlant) or env.plant.last_power.is_measured


def report(blocks: dict[str, TuningBlock], run_dir: Path) -> str:
    """Write `tuning.json` and report the difference in one line."""
    write_json(run_dir / "tuning.json", {name: asdict(block) for name, block in blocks.items()})
    before, after = blocks["before"], blocks["after"]
    return (
        f"energy per request {before.energy_j:.4f} J before, {after.energy_j:.4f} J after "
        f"({100 * (after.energy_j / before.energy_j - 1):+.1f} %); in time "
        f"{100 * before.deadline_hit_rate:.1f} % and {100 * after.deadline_hit_rate:.1f} %; cost "
        f"{before.cost:.4f} and {after.cost:.4f}"
    )


_COLUMNS: Sequence[str] = (
    *("observations", "next_observations", "actions", "rewards"),
    *("dones", "timeouts", "intervals"),
)


def save_memory(agent: BranchingDQN, path: Path) -> None:
    """Write the replay buffer without pickle."""
    buffer: Any = agent.replay_buffer
    columns = {name: getattr(buffer, name) for name in _COLUMNS}
    with written_whole(path) as stream:
        np.savez(stream, pos=buffer.pos, full=buffer.full, **columns)


def load_memory(agent: BranchingDQN, path: Path) -> None:
    """Read the replay buffer.

    Raises:
        AgentError: it is missing or damaged.
    """
    buffer: Any = agent.replay_buffer
    try:
        columns = array_file.read_arrays(path, (*_COLUMNS, "pos", "full"))
        pos, full = int(columns.pop("pos")), bool(columns.pop("full"))
        for name, column in columns.items():
            if column.shape != getattr(buffer, name).shape or not np.isfinite(column).all():
                raise ValueError(f"{name} has shape {column.shape} or holds no numbers")
            getattr(buffer, name)[:] = column
        if not 0 <= pos < buffer.buffer_size:
            raise ValueError(f"pos is {pos}")
        buffer.pos, buffer.full = pos, full
    except (OSError, ValueError, TypeError) as error:
        raise AgentError(f"{path} is damaged ({error}); tune again in another folder") from None
