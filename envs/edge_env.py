"""The Gymnasium environments: one board, simulated (`EdgeSplitSim-v0`) or real (`EdgeSplit-v0`)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.arguments import RENDER_MODES
from envs.errors import EnvError
from envs.objective import Objective
from envs.plant import Outcome, Plant
from envs.render import Frame, History
from envs.spaces import ActionDecoder, ObservationEncoder, observation_fields

NEARLY = 0.02
"""Share by which two clocks may differ and be the same."""


class EdgeSplitEnv(gymnasium.Env[Any, Any]):
    """Choose clocks and the route through a neural network, again and again.

    ## Description
    An edge board answers requests with a neural network that may be cut: the board computes the
    head, a server the tail. Every control step (0.25 s) the agent sets the clocks of the board and
    the route, so that energy per request is lowest while a latency target holds, under a
    changing link, server load, request rate and temperature.

    ## Action Space
    `MultiDiscrete`: one index per clock domain into its table (ascending Hz), then the route
    by depth, 0 = send the input (cloud-only) .. last = send nothing (edge-only). With
    `continuous=True` a `Box` in [-1, 1] per axis, cut into equal bins. Clocks that a board lacks
    or cannot change are absent.

    ## Observation Space
    `Box` in [-1, 1], float32. Physical values between the bounds are scaled linearly, or by their
    logarithm (log), and clipped:

    | Num | Observation          | Unit  | Min  | Max        |     |
    |-----|----------------------|-------|------|------------|-----|
    | 0   | link_bps             | bit/s | 1e5  | 1e9        | log |
    | 1   | link_age_s           | s     | 0    | 2          |     |
    | 2   | rtt_s                | s     | 1e-4 | 1          | log |
    | 3   | server_idle          | 1     | 0.01 | 1          | log |
    | 4   | server_flops_per_s   | FLOP/s | 1e9  | 1e13       | log |
    | 5   | arrival_hz           | 1/s   | 0.1  | 1000       | log |
    | 6   | arrival_scv          | 1     | 0    | 1          |     |
    | 7   | backlog              | 1     | 0    | 4          |     |
    | 8   | latency_target_s     | s     | 1e-3 | 100        | log |
    | 9   | eta                  | 1     | 0    | 1          |     |
    | 10  | radio_w              | W     | 0    | 6          |     |
    | 11  | temperature_margin_c | degC  | -10  | 50         |     |
    | 12  | latency_s            | s     | 1e-3 | 10         | log |
    | 13  | edge_share           | 1     | 0    | 1          |     |
    | 14  | decision_s           | s     | 1e-5 | 1          | log |
    | 15  | latency_factor       | 1     | 0.25 | 4          | log |
    | 16  | away_factor          | 1     | 0.1  | 10         | log |
    | 17  | power_factor         | 1     | 0.5  | 2          | log |
    | 18  | busy                 | 1     | 0    | 1          |     |
    | 19  | battery_level        | 1     | 0    | 1          |     |
    | 20  | power_w              | W     | 0    | max_power  |     |
    | 21+ | <domain>_hz          | Hz    | 0    | table's top|     |

    ## Rewards
    Minus the cost of `envs.objective.Objective`; its terms stand in `info["reward_terms"]`.

    ## Starting State
    Maximum clocks, edge-only, empty queue; the operating conditions are drawn from the seed. A live
    board is asked for its maximum clocks, as far as its thermal guard allows. The pictures of a
    scenario begin with the first one again, and those that waited are forgotten; an application's
    requests go on waiting. What is measured of link and server is kept, and so are heat and the
    state of the machine: of a live board only what is drawn follows from the seed. `reset` has no
    options.

    ## Episode End
    Never terminated. Truncated after `n_steps` control steps.

    ## Time
    Simulated time passes with the steps. On a live board a step ends at the next point of a grid of
    0.25 s that begins with `reset`, and what arrives until then is served; `step` returns no
    sooner. Whoever learns between two steps, or a request that takes longer than the step, makes
    the next one late: `info["late_s"]` says how late it began, and points of the grid that are
    over, or too near to measure power until then, are left out.

    ## Arguments
    See `envs.sim.make.make_simulated` and `envs.live.make.make_live`.

    ## Rendering
    `render_mode="ansi"`: a table of the last steps; `"rgb_array"`: charts of them.

    ## Version History
    v0: first version.
    """

    metadata = {"render_modes": list(RENDER_MODES), "render_fps": 4}  # noqa: RUF012 - Gymnasium's

    def __init__(
        self,
        plant: Plant,
        objective: Objective,
        *,
        continuous: bool = False,
        render_mode: str | None = None,
        route_names: Sequence[str] | None = None,
    ) -> None:
        """Wrap a plant of one board.

        Args:
            plant: the board.
            objective: its cost.
            continuous: `Box` instead of `MultiDiscrete` actions.
            render_mode: one of `RENDER_MODES`.
            route_names: shown when it renders; their indices if not given.
        """
        self.plant = plant
        self.render_mode = render_mode
        routes = range(len(plant.layout.axes[-1].values))
        self._history = History(plant.layout, route_names or [f"route {r}" for r in routes])
        self.objective = objective
        self.encoder = ObservationEncoder(observation_fields(plant.layout))
        self.decoder = ActionDecoder(plant.layout.axes)
        self.continuous = continuous
        self.observation_space = observation_space(self.encoder)
        self.action_space = action_space(self.decoder, continuous=continuous)
        self._t = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """Begin an episode whose operating conditions follow from the seed.

        Raises:
            EnvError: options were given, and there are none.
        """
        if options:
            raise EnvError(f"reset has no options, it was given {', '.join(map(str, options))}")
        super().reset(seed=seed, options=options)
        self._t = 0
        self._history.clear()
        readings = self.plant.reset(episode_seeds([self.np_random]))
        self._eta = readings.eta
        return self.encoder.encode(readings)[0], {}

    def step(
        self, action: NDArray[Any]
    ) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """Apply an action and serve requests for one control step.

        Raises:
            ActionError: the action is not in the action space.
        """
        indices = decode(self.decoder, np.asarray(action)[None], continuous=self.continuous)
        outcome = self.plant.step(indices)
        terms = self.objective.terms(outcome, self._eta)
        self._t += 1
        readings = self.plant.readings()
        info = {
            "reward_terms": {name: float(value[0]) for name, value in terms.items()},
            "outcome": outcome_dict(outcome),
            "requested": dict(zip(self.plant.layout.domains, self._hz(indices[0]), strict=True)),
            "applied": dict(zip(self.plant.layout.domains, readings.clocks_hz[0], strict=True)),
            "route": int(indices[0, -1]),
            "late_s": self.plant.late_s,
        }
        cost = sum(float(value[0]) for value in terms.values())
        if self.render_mode is not None:
            self._history.add(
                Frame(
                    step=self._t,
                    clocks_hz=tuple(map(float, readings.clocks_hz[0])),
                    route=int(indices[0, -1]),
                    link_bps=float(readings.link_bps[0]),
                    latency_s=float(outcome.latency_s[0]),
                    cost=cost,
                )
            )
        self._eta = readings.eta
        truncated = self._t >= self.plant.n_steps
        return self.encoder.encode(readings)[0], -cost, False, truncated, info

    def render(self) -> str | NDArray[np.uint8] | None:
        """Show the last steps: text for "ansi", shape (height, width, 3) for "rgb_array"."""
        if self.render_mode is None:
            return None
        return self._history.text() if self.render_mode == "ansi" else self._history.picture()

    def close(self) -> None:
        """Give the board back as it was."""
        self.plant.close()

    def _hz(self, indices: NDArray[np.int64]) -> list[float]:
        axes = self.plant.layout.axes[:-1]
        return [axis.values[index] for axis, index in zip(axes, indices, strict=False)]


def observation_space(encoder: ObservationEncoder) -> spaces.Box:
    """Space of `ObservationEncoder.encode`, one row."""
    return spaces.Box(-1.0, 1.0, (len(encoder.fields),), np.float32)


def action_space(decoder: ActionDecoder, *, continuous: bool) -> spaces.Space[Any]:
    """Space of one action."""
    if continuous:
        return spaces.Box(-1.0, 1.0, (len(decoder.sizes),), np.float32)
    return spaces.MultiDiscrete(decoder.sizes)


def decode(decoder: ActionDecoder, actions: NDArray[Any], *, continuous: bool) -> NDArray[np.int64]:
    """Indices of a batch of actions of either space."""
    return decoder.from_box(actions) if continuous else decoder.from_indices(actions)


def episode_seeds(generators: list[np.random.Generator]) -> NDArray[np.uint64]:
    """Draw the next episode's seed from each board's generator."""
    return np.array([g.integers(2**63) for g in generators], dtype=np.uint64)


def was_obeyed(info: Mapping[str, Any]) -> bool:
    """Whether a step's clocks were those that were asked for, not a guard's or a power mode's."""
    pairs = ((info["requested"][name], hz) for name, hz in info["applied"].items())
    return all(abs(applied - requested) <= NEARLY * requested for requested, applied in pairs)


def outcome_dict(outcome: Outcome) -> dict[str, float | None]:
    """Plain numbers of a one-board outcome, for `info`; None for what is not known."""
    found = {f.name: float(getattr(outcome, f.name)[0]) for f in fields(outcome)}
    return {name: None if math.isnan(value) else value for name, value in found.items()}
