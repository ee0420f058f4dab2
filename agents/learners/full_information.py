"""Learning from what every action of a portfolio would have cost, not only the one that was taken.

A simulated board can be asked for all outcomes of a step, so that the gradient of the expected
cost is exact for each state that is met (the all-action policy gradient, Sutton et al. 2001), where
PPO estimates it from single draws. Only what an action does to later steps is estimated as PPO
does: by an advantage (Schulman et al. 2016, arXiv 1506.02438) of later costs over those of the
best action at rest, which is what nobody could have changed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from agents.deciders.advised import SHARPNESS, Advice, Layers
from agents.deciders.base import top_clocks
from agents.deciders.known import Known
from agents.seeds import seeds_for
from envs.fleet import Fleet, World
from envs.objective import SMALLEST_COST
from envs.plant import Indices, Outcome, Readings
from envs.spaces import ObservationEncoder, observation_fields

_LESSONS = 0xF0112
N_REPORTS = 10
MAX_GRADIENT = 0.5
SMALL = 0.005
N_REFERENCES = 16
"""Actions, the most complementary ones first, that stand for the best at rest."""
CHUNK = 240
"""Boards whose outcomes are computed at once; their arrays should fit into the cache."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Settings of the learner.

    Attributes:
        n_boards: that run at once.
        total_timesteps: control steps of all boards.
        n_steps: of each board between updates.
        batch_size: states per update.
        hidden: units of each of two layers.
        learning_rate: at the beginning, falls to zero.
        temperature: weight of the entropy at beginning and end, in units of the cost's logarithm.
        dwell_steps: a switch is weighed as if the state lasted so many steps.
        gamma: discount of later steps.
        gae_lambda: of their advantage.
        future: weight of later steps against the present one.
    """

    n_boards: int = 960
    total_timesteps: int = 3_000_000
    n_steps: int = 10
    batch_size: int = 1200
    hidden: int = 128
    learning_rate: float = 2e-3
    temperature: tuple[float, float] = (0.01, 0.0003)
    dwell_steps: float = 4.0
    gamma: float = 0.8
    gae_lambda: float = 0.95
    future: float = 0.5


@dataclass(frozen=True, slots=True)
class Stretch:
    """A few steps of all boards; tensors of shape (n, ..), n = n_steps * n_boards.

    Attributes:
        inputs: of the network.
        costs: logarithms, of every action, shape (n, k).
        chosen: number of the action that was taken.
        advantages: of what followed; of all but the last step.
        returns: discounted sums of what followed, of all but the last step.
    """

    inputs: Tensor
    costs: Tensor
    chosen: Tensor
    advantages: Tensor
    returns: Tensor


class FullInformation:
    """Teaches the network of `agents.deciders.advised.Advised`."""

    def __init__(self, world: World, actions: Indices, seed: int, settings: Settings) -> None:
        """Prepare boards and networks.

        Args:
            world: whose simulated boards are asked.
            actions: the portfolio, shape (k, n_axes).
            seed: of everything random.
            settings: of the learner.
        """
        torch.manual_seed(seed)
        self._settings, self._actions = settings, actions
        self._fleet = Fleet(world, settings.n_boards)
        self._objective = world.objective()
        self._encoder = ObservationEncoder(observation_fields(world.layout))
        self._advice = Advice(Known.of(world), actions)
        n_inputs, width = self._advice.n_inputs, settings.hidden
        self._policy = _network(n_inputs, width, len(actions))
        self._value = _network(n_inputs, width // 2, 1)
        corrections = self._policy[-1]
        nn.init.normal_(corrections.get_parameter("weight"), std=SMALL)  # begin with the advice
        nn.init.zeros_(corrections.get_parameter("bias"))
        parameters = [*self._policy.parameters(), *self._value.parameters()]
        self._optimizer = torch.optim.Adam(parameters, settings.learning_rate, fused=True)
        per_episode = max(world.n_steps // settings.n_steps, 1)
        n_episodes = -(-self._n_stretches // per_episode)
        seeds = seeds_for(_LESSONS, seed, n_episodes * settings.n_boards)
        self._seeds = iter(seeds.reshape(n_episodes, settings.n_boards))

    def run(self, report: Callable[[str], None] = lambda _: None) -> int:
        """Learn.

        Args:
            report: called now and then with a line of progress.

        Returns:
            Control steps of all boards.
        """
        settings, n = self._settings, self._n_stretches
        for k in range(n):
            if k == 0 or self._fleet.steps_left < settings.n_steps:
                self._begin()
            cost = self._learn(self._gather(), 1.0 - k / n)
            if (k + 1) % max(n // N_REPORTS, 1) == 0:
                steps = (k + 1) * settings.n_boards * settings.n_steps
                report(f"{steps} steps, mean cost {cost:.4f}")
        return n * settings.n_boards * settings.n_steps

    @property
    def _n_stretches(self) -> int:
        settings = self._settings
        return max(settings.total_timesteps // (settings.n_boards * settings.n_steps), 1)

    def layers(self) -> Layers:
        """Weights and biases of the policy."""
        linear = [layer for layer in self._policy if isinstance(layer, nn.Linear)]
        return [(f.weight.detach().numpy().copy(), f.bias.detach().numpy().copy()) for f in linear]

    def _begin(self) -> None:
        """Begin an episode on every board."""
        readings = self._fleet.reset(next(self._seeds))
        self._held = top_clocks(self._fleet.layout, self._fleet.n)
        self._advice.begin()
        self._inputs = self._see(readings)

    def _see(self, readings: Readings) -> Tensor:
        inputs = self._advice.see(self._encoder.encode(readings), self._held)
        return torch.from_numpy(inputs)

    def _gather(self) -> Stretch:
        """Step all boards, and ask for what was not done as well."""
        inputs, costs, chosen, regrets = [], [], [], []
        for _ in range(self._settings.n_steps):
            inputs.append(self._inputs)
            costs.append(torch.from_numpy(self._log_costs()))
            best = self._least_log_cost()
            chosen.append(self._draw(self._inputs))
            self._held = self._actions[chosen[-1].numpy()]
            eta = self._fleet.eta()
            outcome = self._fleet.step(self._held)
            regrets.append(_log(self._objective.cost(outcome, eta)) - best)
            self._inputs = self._see(self._fleet.readings())
        stretch = (torch.cat(inputs), torch.cat(costs), torch.cat(chosen))
        return Stretch(*stretch, *self._look_ahead(torch.stack(inputs), np.array(regrets)))

    def _draw(self, inputs: Tensor) -> Tensor:
        """Draw an action for each board, as numbers of the portfolio."""
        with torch.no_grad():
            p = self._scores(inputs).softmax(dim=1)
        return torch.multinomial(p, 1)[:, 0]

    def _scores(self, inputs: Tensor) -> Tensor:
        scores: Tensor = self._policy(inputs) - SHARPNESS * inputs[:, -len(self._actions) :]
        return scores

    def _log_costs(self) -> NDArray[np.float32]:
        """Logarithm of the cost of the whole portfolio in the true state, shape (n, k)."""
        dwell = self._settings.dwell_steps
        parts = []
        for boards in self._chunks():
            outcome = self._fleet.outcomes(self._actions, boards)
            parts.append(self._cost(replace(outcome, switched=outcome.switched / dwell), boards))
        return np.concatenate(parts)

    def _least_log_cost(self) -> NDArray[np.float32]:
        """What the best action at rest would cost each board, whatever was decided before."""
        few = self._actions[:N_REFERENCES]
        outcomes = ((self._fleet.outcomes(few, b, settled=True), b) for b in self._chunks())
        return np.concatenate([self._cost(*pair).min(axis=1) for pair in outcomes])

    def _cost(self, outcome: Outcome, boards: slice) -> NDArray[np.float32]:
        return _log(self._objective.cost(outcome, self._fleet.eta()[boards, None]))

    def _chunks(self) -> list[slice]:
        return [slice(start, start + CHUNK) for start in range(0, self._fleet.n, CHUNK)]

    def _look_ahead(self, inputs: Tensor, regrets: NDArray[np.float32]) -> tuple[Tensor, Tensor]:
        """Advantages and returns of later steps, for all steps but the last, in rows."""
        settings = self._settings
        rewards = torch.from_numpy(-regrets.astype(np.float32))
        with torch.no_grad():
            values = self._value(inputs)[..., 0]
        advantages = torch.zeros_like(values[:-1])
        later = torch.zeros_like(values[0])
        for t in reversed(range(len(advantages))):
            later = (
                settings.gamma * (rewards[t + 1] + values[t + 1] + settings.gae_lambda * later)
                - values[t]
            )
            advantages[t] = later
        return advantages.flatten(), (advantages + values[:-1]).flatten()

    def _learn(self, stretch: Stretch, left: float) -> float:
        """Update on every state once; the mean cost that the policy expects, as its logarithm."""
        settings = self._settings
        self._optimizer.param_groups[0]["lr"] = settings.learning_rate * left
        first, last = settings.temperature
        temperature = last * (first / last) ** left
        expected = []
        for picks in torch.split(torch.randperm(len(stretch.inputs)), settings.batch_size):
            inputs, costs = stretch.inputs[picks], stretch.costs[picks]
            log_p = self._scores(inputs).log_softmax(dim=1)
            p = log_p.exp()
            now = (p * (costs + temperature * log_p)).sum(dim=1).mean()
            early = picks < len(stretch.returns)  # the last step of a stretch has no later ones
            chosen = stretch.chosen[picks[early]]
            taken = log_p[early].gather(1, chosen[:, None])[:, 0]
            later = -(taken * stretch.advantages[picks[early]]).sum() / len(picks)
            error = self._value(inputs[early])[:, 0] - stretch.returns[picks[early]]
            self._optimizer.zero_grad()
            torch.autograd.backward(now + settings.future * later + error.square().mean())
            nn.utils.clip_grad_norm_(self._policy.parameters(), MAX_GRADIENT)
            self._optimizer.step()
            expected.append(float((p * costs).sum(dim=1).mean().detach()))
        return float(np.exp(np.mean(expected)))


def _network(n_inputs: int, width: int, n_outputs: int) -> nn.Sequential:
    return nn.Sequential(
        *(nn.Linear(n_inputs, width), nn.ReLU()),
        *(nn.Linear(width, width), nn.ReLU()),
        nn.Linear(width, n_outputs),
    )


def _log(costs: NDArray[np.floating]) -> NDArray[np.float32]:
    logs: NDArray[np.float32] = np.log(np.maximum(costs, SMALLEST_COST)).astype(np.float32)
    return logs
