"""Who learns, and from what; each runs on a board that keeps what every step cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from agents.deciders.base import Decider
from agents.deployed.run_folder import RunFolder
from agents.policy.frozen import FrozenPolicy
from agents.testbed import scratch
from agents.testbed.place import LivePlace
from agents.testbed.recipes import live_recipe
from agents.testbed.run import SIMULATION, simulated_scenarios
from agents.testbed.tune import go_on_learning, scores_axes, tune
from agents.training.checkpoints import AGENT_WEIGHTS
from agents.training.run import TrainConfig, is_finished, run
from benchmarks.testbed_curve.recorded import STEPS_PER_MINUTE, RecordedEnv
from benchmarks.testbed_curve.task import best_action
from envs.arrays import Floats
from envs.sim.sim_config import SimConfig

ALGORITHMS = ("sac", "ppo")
BEST_STATIC = "best-static"
MINUTES = {"scratch": 60, "warm": 30, "fit": 10, BEST_STATIC: 10}
"""On the board, by how it is learned."""
AFTERWARDS = 5
"""Minutes of what was learned, without exploration."""


@dataclass(frozen=True, slots=True)
class Course:
    """What came of a run.

    Attributes:
        costs: of a step, mean of each minute while it learned.
        hits: share of requests in time in each.
        afterwards: costs of a step in the minutes after that, without exploration.
    """

    costs: Floats
    hits: Floats
    afterwards: Floats


@dataclass(frozen=True, slots=True)
class Arm:
    """One line of the picture.

    Attributes:
        algorithm: that learns; empty for the best fixed action.
        way: from scratch, from a simulation ("warm"), there alone ("fit"), or not at all.
    """

    algorithm: str
    way: str

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.algorithm} {self.way}".strip()

    @property
    def minutes(self) -> int:
        """That it takes on the board."""
        return MINUTES[self.way]


ARMS = (
    *(Arm(name, way) for name in ALGORITHMS for way in ("scratch", "warm", "fit")),
    Arm("", BEST_STATIC),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Bench:
    """What arms are run with.

    Attributes:
        world: the task in the simulator of the device file.
        scenario: its file.
        device: the device file, or its name.
        model: the network.
        folder: for what is learned in simulation, which arms share.
        simulated_steps: of that; None takes the algorithm's own number.
    """

    world: SimConfig
    scenario: Path
    device: str
    model: str
    folder: Path
    simulated_steps: int | None = None

    def simulated(self, algorithm: str, seed: int) -> RunFolder:
        """What an algorithm learns in the simulation of the device file; trained once."""
        out = self.folder / f"{algorithm}-{seed}-{SIMULATION}"
        if not is_finished(out):
            config = TrainConfig(
                board="sim",
                device=self.device,
                model=self.model,
                scenario=simulated_scenarios(str(self.scenario)),
                algo=algorithm,
                total_timesteps=self.simulated_steps,
                seed=seed,
            )
            run(config, out, is_judged=False)
        return RunFolder.load(out)

    def run(self, arm: Arm, env: RecordedEnv, seed: int, scratch_dir: Path) -> Course:
        """Run an arm on a board for its minutes, and what came of it for some more."""
        n_steps = arm.minutes * STEPS_PER_MINUTE
        learned: Decider
        if arm.way == BEST_STATIC:
            learned = best_action(self.world)
            _drive(env, learned, n_steps, seed)
        elif arm.way == "scratch":
            recipe = live_recipe(arm.algorithm, n_steps, {})
            learned, _ = scratch.learn(env, arm.algorithm, recipe, scratch_dir, n_steps, seed)
        else:
            learned = self._from_simulation(arm, env, seed, scratch_dir, n_steps)
        costs, hits = env.minutes(arm.minutes)
        env.forget()
        _drive(env, learned, AFTERWARDS * STEPS_PER_MINUTE, seed + 1)
        return Course(costs, hits, env.minutes(AFTERWARDS)[0])

    def _from_simulation(
        self, arm: Arm, env: RecordedEnv, seed: int, scratch_dir: Path, n_steps: int
    ) -> FrozenPolicy:
        source = self.simulated(arm.algorithm, seed)
        policy = source.policy
        if not isinstance(policy, FrozenPolicy):
            raise TypeError(f"{arm.algorithm} left no network")
        if arm.way == "fit":
            _drive(env, policy, n_steps, seed)
            return policy
        place = LivePlace(
            board="sim", scenario=str(self.scenario), cloud=None, n_steps=n_steps, seed=seed
        )
        weights = source.path / AGENT_WEIGHTS
        tuned = (
            tune(env, self.world, policy, scratch_dir, n_steps, seed)
            if scores_axes(policy)
            else go_on_learning(env, self.world, policy, weights, scratch_dir, place)
        )
        if not isinstance(tuned, FrozenPolicy):
            raise TypeError(f"{arm.algorithm} left no network")
        return tuned


def _drive(env: RecordedEnv, decider: Decider, n_steps: int, seed: int) -> None:
    """Let something that does not learn decide."""
    observation, _ = env.reset(seed=seed)
    begin: Callable[..., None] = decider.begin
    begin(env.plant, 1)
    for _ in range(n_steps):
        observation, _, _, is_cut, _ = env.step(decider.decide(observation[None])[0])
        if is_cut:
            observation, _ = env.reset()
            begin(env.plant, 1)
