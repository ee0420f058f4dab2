"""Fine-tuning of `advised` on a board, by what each action costs there beyond what is expected.

Every now and then one of the actions that are expected to be nearly the best is taken instead of
the best. What the policy's network does not expect either is charged to features of the actions
(`agents.advised.residuals`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.advised.policy import SHARPNESS, Advised
from agents.advised.residuals import Residuals
from agents.advised.rule import own_policy
from agents.deciders.nominal import NominalModel
from agents.deciders.rule import Rule
from agents.learning.safe_env import Recovery, SafeEnv
from agents.policy.thermal_mask import ThermalActionMask
from envs.arrays import Floats
from envs.edge_env import EdgeSplitEnv, was_obeyed
from envs.objective import SMALLEST_COST

EXPLORE = 0.5
"""Share of the steps in which any action that is nearly the best is drawn."""
REACH = 0.05
"""Expected cost above the best that is risked for it."""
CHECKPOINT_EVERY = 100
"""Control steps, 25 s at the usual quarter of a second: the most that a kill loses."""
SURPRISES_FILE = "surprises.npz"


def tune_portfolio(
    env: EdgeSplitEnv,
    known: NominalModel,
    rule: Rule,
    run_dir: Path,
    n_steps: int,
    seed: int,
    watch: Callable[[Mapping[str, Any]], object] = lambda _: None,
) -> Rule:
    """Run on the board, and learn; goes on where a run that was killed had come to.

    Args:
        env: of the board.
        known: about it.
        rule: an `advised` one.
        run_dir: for what was learned so far.
        n_steps: control steps in all.
        seed: of what is explored.
        watch: called with what each step told.

    Returns:
        The same rule with offsets.

    Raises:
        AgentError: what was learned so far is damaged.
    """
    decider = own_policy(known, rule.parameters)
    residuals, path = Residuals(known, decider.advice.actions), run_dir / SURPRISES_FILE
    if path.is_file():
        residuals.load(path)
    explorer = Explorer(env, decider)
    generator = np.random.default_rng((seed, len(residuals)))
    observation, _ = env.reset(seed=seed)
    decider.begin(env.plant, 1)
    for step in range(len(residuals), n_steps):
        chances = explorer.chances(observation)
        number = int(generator.choice(len(chances), p=chances))
        expected = float(decider.log_costs[0, number])
        observation, reward, _, cut, info = env.step(decider.take(np.array([number]))[0])
        if was_obeyed(info):
            cost = -reward - info["reward_terms"]["switching"]  # which is no surprise
            residuals.add(number, chances, np.log(max(cost, SMALLEST_COST)) - expected)
        explorer.recovery.see(info["outcome"]["deadline_hit_rate"])
        watch(info)
        if step % CHECKPOINT_EVERY == CHECKPOINT_EVERY - 1:
            residuals.save(path)
        if cut:
            observation, _ = env.reset()
    residuals.save(path)
    return rule.with_parameters(offsets=residuals.offsets())


class Explorer:
    """Strays a little from a policy, as `SafeEnv` lets an agent stray.

    Attributes:
        recovery: while it is on, because too many requests came late, it does not.
    """

    def __init__(self, env: EdgeSplitEnv, decider: Advised) -> None:
        """Explore around `decider`."""
        axes = env.plant.layout.axes
        self._guard = ThermalActionMask(axes, env.encoder.fields, SafeEnv.MARGIN_C)
        self._ends = np.cumsum([len(axis.values) for axis in axes])[:-1]
        self._decider = decider
        self.recovery = Recovery()

    def chances(self, observation: NDArray[np.float32]) -> Floats:
        """Probability with which each action of the portfolio is to be drawn, shape (k,)."""
        scores = self._decider.scores(observation[None])[0]
        scores = np.where(self._leaves(observation), scores, -np.inf)
        best = int(scores.argmax())
        chances = np.zeros(len(scores))
        if not np.isfinite(scores[best]):  # all are too hot: the one that is least so
            best = int(self._decider.advice.actions[:, :-1].sum(axis=1).argmin())
        elif not self.recovery.is_on:
            near = scores >= scores[best] - SHARPNESS * REACH
            chances[near] = EXPLORE / near.sum()
        chances[best] += 1.0 - chances.sum()
        return chances

    def _leaves(self, observation: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Which actions of the portfolio a hot board leaves, shape (k,)."""
        allowed = np.split(self._guard.allowed(observation[None])[0], self._ends)
        portfolio = self._decider.advice.actions
        columns = [flags[portfolio[:, axis]] for axis, flags in enumerate(allowed)]
        left: NDArray[np.bool_] = np.logical_and.reduce(columns)
        return left
