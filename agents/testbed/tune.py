"""Fine-tuning of a policy from simulation on a board in wall-clock time: `train.py --init RUN`.

For networks that score each axis the learner is DVFO's branching network, begun as the policy: its
advantages are the policy's scores times a temperature. Networks of SAC and DQN go on as they were,
value and policy. The replay buffer begins with simulated transitions of the policy, and a few
thousand real steps follow, each learned from several times. `advised` learns in another way, see
`agents.advised.tune`.
"""

from __future__ import annotations

import copy
import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import torch
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm
from stable_baselines3.common.vec_env import DummyVecEnv
from tqdm import tqdm

from agents.advised.rule import ADVISED
from agents.advised.tune import tune_portfolio
from agents.deployed.run_folder import RunFolder, keep_device, keep_governed
from agents.errors import AgentError
from agents.learners.branching import BranchingDQN
from agents.learning.action_codes import ActionCode, code_of
from agents.learning.board_scalars import BoardLog
from agents.learning.export import set_threads
from agents.learning.log_cost import LogCost
from agents.learning.safe_env import SafeEnv
from agents.policy.folder import Policy
from agents.policy.frozen import NETWORK, FrozenPolicy
from agents.policy.saved_rule import SavedRule
from agents.testbed.checkpoints import taken_up
from agents.testbed.comparison import BLOCK_STEPS, compare, n_compared, report
from agents.testbed.place import LivePlace
from agents.testbed.recipes import learn, live_agent, live_recipe, safe_env
from agents.training.algorithms import ALGORITHMS
from agents.training.checkpoints import AGENT_WEIGHTS, load_into, save_whole
from agents.training.hyperparams import Value
from agents.training.learn import TENSORBOARD
from agents.training.machine import describe_machine
from agents.training.run import CONFIG_FILE, MACHINE_FILE, write_json
from envs.edge_env import EdgeSplitEnv
from envs.live.plant import LivePlant
from envs.sim.sim_config import SimConfig
from envs.vec_env import EdgeSplitVecEnv

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
GOES_ON: dict[str, Value] = {"learning_rate": 3e-4, "learning_starts": 0}
"""Of SAC and DQN, which have learned already."""
STRAYS: dict[str, Value] = {"exploration_fraction": 1.0, "exploration_initial_eps": 0.1}
"""Of DQN."""
N_SIMULATED = 4000
N_BOARDS = 16
N_REHEARSALS = 1000
"""Updates on simulated transitions before the first real one."""
TUNABLE = "give a run of advised, amortised, ppo, dvfo, sac or dqn"


def tune_run(run: Path, run_dir: Path, place: LivePlace) -> str:
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
    _check_tunable(source)
    print(place.forecast(n_compared()), flush=True)
    env = place.open(
        source.device_on(place.board),
        source.model,
        n_steps=max(place.n_steps, BLOCK_STEPS),
        max_power_w=policy.layout.max_power_w,
        accept=policy.check_layout,
        hold=source.hold,
        governed=source.governed(source.model, place.scenario),
    )
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        record_machine(env, run_dir)
        tuned = _TUNERS[policy.kind](policy, env, source, run_dir, place)
        after = replace(source, policy=tuned)
        before, then = (
            partial(r.decide_for, env, r.model, place.scenario) for r in (source, after)
        )
        blocks = compare(env, before, then)
    finally:
        env.close()
    helps = blocks["after"].cost < blocks["before"].cost
    keep(source, tuned if helps else None, run_dir)
    verdict = "tuned policy kept" if helps else "no gain: the policy from before is kept"
    return f"{report(blocks, run_dir)}\n{verdict}"


def keep(source: RunFolder, tuned: Policy | None, run_dir: Path) -> None:
    """Write what makes a folder a finished run.

    Args:
        source: run that was begun with.
        tuned: its policy now; None keeps the one from before.
        run_dir: the folder.
    """
    kept = {"device": source.device, "model": source.model, "hold": source.hold.value}
    write_json(run_dir / CONFIG_FILE, kept)
    keep_device(source.device, run_dir)
    keep_governed(source.path, run_dir)
    if tuned is None and (source.path / AGENT_WEIGHTS).is_file():
        shutil.copyfile(source.path / AGENT_WEIGHTS, run_dir / AGENT_WEIGHTS)
    (tuned or source.policy).save(run_dir / "policy")


def record_machine(env: EdgeSplitEnv, run_dir: Path) -> None:
    """Write down what computes."""
    where = {"runs_on": env.plant.placement} if isinstance(env.plant, LivePlant) else {}
    write_json(run_dir / MACHINE_FILE, {**describe_machine(), **where})


def _check_tunable(source: RunFolder) -> None:
    """Refuse what does not learn, before a board is opened.

    Raises:
        AgentError: it does not.
    """
    policy = source.policy
    is_known = policy.kind in _TUNERS
    if isinstance(policy, FrozenPolicy) and not scores_axes(policy):
        is_known = policy.algorithm in ALGORITHMS and policy.governing is None
        if is_known and not (source.path / AGENT_WEIGHTS).is_file():
            raise AgentError(
                f"{source.path} has no {AGENT_WEIGHTS}, from which {policy.algorithm} would go on; "
                f"train it again with this version"
            )
    if not is_known:
        raise AgentError(
            f"{source.path} holds a policy of {policy.algorithm}, which cannot be tuned; {TUNABLE}"
        )


def scores_axes(policy: FrozenPolicy) -> bool:
    """Whether a network is one that `warm_start` can begin with."""
    meta = policy.metadata
    is_plain = meta.head == "categorical" and meta.activation == "relu"
    return is_plain and policy.normaliser is None


def _tune_network(
    policy: FrozenPolicy, env: EdgeSplitEnv, source: RunFolder, run_dir: Path, place: LivePlace
) -> Policy:
    world = source.world(source.model, place.scenario)
    if scores_axes(policy):
        return tune(env, world, policy, run_dir, place.n_steps, place.seed)
    return go_on_learning(env, world, policy, source.path / AGENT_WEIGHTS, run_dir, place)


def _tune_advised(
    policy: SavedRule, env: EdgeSplitEnv, source: RunFolder, run_dir: Path, place: LivePlace
) -> Policy:
    known = source.known(env, source.model, place.scenario)
    with (
        BoardLog(run_dir / TENSORBOARD / ADVISED.name) as log,
        tqdm(total=place.n_steps, unit="step", desc="learning on the board", mininterval=5) as bar,
    ):

        def watch(info: Any) -> None:
            log.add(info)
            bar.update()

        rule = tune_portfolio(
            env, known, policy.rule, run_dir, place.n_steps, place.seed, watch=watch
        )
    return replace(policy, rule=rule)


_TUNERS: dict[str, Callable[..., Policy]] = {NETWORK: _tune_network, ADVISED.name: _tune_advised}
"""How policies learn on a board, by their kinds; the others do not."""


def warm_start(
    env: gymnasium.Env[Any, Any], policy: FrozenPolicy, seed: int, log_dir: Path | None = None
) -> BranchingDQN:
    """An agent that decides as a frozen policy.

    Raises:
        AgentError: the policy has no scores per axis.
    """
    if not scores_axes(policy):
        raise AgentError(f"a policy of {policy.algorithm} cannot be tuned; {TUNABLE}")
    *hidden, last = policy.weights
    settings = SETTINGS | {"policy_kwargs": {"net_arch": [len(bias) for _, bias in hidden]}}
    agent = BranchingDQN(
        "MlpPolicy",
        DummyVecEnv([lambda: Monitor(env)]),
        seed=seed,
        device="cpu",
        tensorboard_log=str(log_dir / TENSORBOARD) if log_dir else None,
        **settings,
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
    agent: OffPolicyAlgorithm, world: SimConfig, policy: FrozenPolicy, seed: int, code: ActionCode
) -> None:
    """Fill the replay buffer with what the policy, straying a little, meets in simulation.

    Args:
        agent: with a buffer.
        world: to simulate.
        policy: that decides.
        seed: of everything random.
        code: how the agent states actions.
    """
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
            row = (observations[i : i + 1], last[None], code.action(actions[i])[None])
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
    agent = warm_start(safe, policy, seed, run_dir)
    anchor = copy.deepcopy(agent.policy.q_net)
    is_new = not taken_up(agent, run_dir, seed)
    agent.anchor = anchor
    recipe = ALGORITHMS["dvfo"]
    if is_new:
        code = code_of(recipe.head, policy.decoder, None)
        remember_simulation(agent, world, policy, seed, code)
        agent.rehearse(N_REHEARSALS)
    learn(agent, policy.algorithm, n_steps, run_dir, is_new=is_new)
    return recipe.freeze(agent, recipe.describe(policy.algorithm, policy.layout))


def go_on_learning(
    env: EdgeSplitEnv,
    world: SimConfig,
    policy: FrozenPolicy,
    weights: Path,
    run_dir: Path,
    place: LivePlace,
) -> Policy:
    """Let an agent that learned in simulation go on on the board, with all that it knows.

    Args:
        env: of the board.
        world: that the policy was trained in.
        policy: the agent's.
        weights: what `train.py` saved of the agent.
        run_dir: for checkpoints, and for the weights of the agent that comes of it.
        place: the board.

    Raises:
        AgentError: the weights or the checkpoint are damaged.
    """
    set_threads()
    shipped = ALGORITHMS[policy.algorithm]
    given = GOES_ON | (STRAYS if "exploration_fraction" in shipped.settings else {})
    recipe = live_recipe(policy.algorithm, N_SIMULATED + place.n_steps, given)
    agent = live_agent(
        recipe, safe_env(env, recipe, policy, reach=SafeEnv.REACH), place.seed, run_dir
    )
    is_new = not taken_up(agent, run_dir, place.seed)
    if is_new:
        load_into(agent, weights)
        if isinstance(agent, OffPolicyAlgorithm):
            table = recipe.table(policy.layout) if recipe.table else None
            code = code_of(recipe.head, policy.decoder, table)
            remember_simulation(agent, world, policy, place.seed, code)
        agent.num_timesteps = 0
    learn(agent, policy.algorithm, place.n_steps, run_dir, is_new=is_new)
    save_whole(agent, run_dir / AGENT_WEIGHTS)
    return recipe.freeze(agent, recipe.describe(policy.algorithm, policy.layout))
