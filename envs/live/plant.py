"""One board and one split pipeline in wall-clock time, as a `Plant`."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.arrays import Floats
from envs.energy_per_request import energy_per_request_j
from envs.governed.table import GovernedTable
from envs.live.cloud_link import CloudLink
from envs.live.model_error import ModelErrorTracker
from envs.live.requests import PendingRequest, Requests
from envs.live.supervisor import BoardSupervisor, ClockInForce, StepPower
from envs.plant import Axis, Indices, Layout, Outcome, Readings
from envs.scenarios.episodes import EpisodeConditions
from envs.scenarios.operating_conditions import OperatingConditions
from envs.scenarios.scenario import Scenario
from envs.sim.expectation import Link
from hw.base import Board, OperatingPoint
from partition.edge.client import LinkEstimate
from partition.edge.pipeline import InferenceResult, SplitPipeline
from partition.errors import HopelessError, PartitionError
from partition.model.folder import ModelFolder
from partition.providers.session import RUNTIME_ERRORS

STEP_S = 0.25
"""Duration of a control step."""
_REQUEST_ERRORS: tuple[type[Exception], ...] = (PartitionError, *RUNTIME_ERRORS)


@dataclass(frozen=True, slots=True)
class ServedRequest:
    """One request that was answered.

    Attributes:
        result: of the pipeline.
        latency_s: from arrival to answer, waiting included.
        met_deadline: whether that is within the latency target.
        agrees: whether the top-1 label is the unsplit network's; None if that is not known.
    """

    result: InferenceResult
    latency_s: float
    met_deadline: bool
    agrees: bool | None


class LivePlant:
    """A board, a network and a link that are there, under the requests of a scenario.

    The scenario gives the latency target and eta (and, on a modelled board, the air temperature
    and the radio's power); link and server are what they are.

    Attributes:
        served: requests answered during the last step.
        dropped: requests dropped during the last step, because too many waited or the network
            could not take them.
        late_s: time by which the last step began after the one before it was to end.
        latency_target_s: of the last step.
        last_power: power of the last step, the board's without a modelled radio.
        energy_uncertainty_j: largest error of the last step's energy per request.
        step_s: duration of a control step that is not late.
        shortest_step_s: time below which no step ends: half a step, or what the power sensors need.
    """

    def __init__(
        self,
        board: Board,
        pipeline: SplitPipeline,
        layout: Layout,
        folder: ModelFolder,
        requests: Requests,
        scenario: Scenario,
        cloud: CloudLink,
        *,
        n_steps: int = 240,
        governed: GovernedTable | None = None,
        step_s: float = STEP_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Take an open board; `close` gives it back.

        Args:
            board: open.
            pipeline: warmed up.
            layout: of the board and the network, see `live_layout`.
            folder: the network.
            requests: what is answered.
            scenario: latency target, eta, operating conditions of a modelled board.
            cloud: of the pipeline's client.
            n_steps: control steps in an episode.
            governed: what governors below the clocks are expected to come to.
            step_s: duration of a control step.
            clock: present time, s.
            sleep: waits for a number of seconds.
        """
        self.n_steps = n_steps
        self.layout = layout
        self._board, self._pipeline, self._cloud = board, pipeline, cloud
        self._supervisor = BoardSupervisor(board, layout.max_power_w, clock)
        self._scenario, self.step_s, self._folder = scenario, step_s, folder
        self._governed = governed
        self._clock, self._sleep = clock, sleep
        self._requests = requests
        self._routes = folder.routes
        flops = [option.edge.flops for option in self._routes]
        self._edge_share = np.array(flops) / flops[-1]
        self.shortest_step_s = max(step_s / 2, board.shortest_window_s)
        self.last_power = StepPower(0.0, step_s, is_measured=False, uncertainty_w=0.0)
        self.energy_uncertainty_j = 0.0
        self.served: list[ServedRequest] = []
        self.dropped, self.late_s, self.latency_target_s = 0, 0.0, math.nan

    @property
    def clock(self) -> Callable[[], float]:
        """What tells the present time, s."""
        return self._clock

    @property
    def placement(self) -> str:
        """Where the network runs on this side, in words."""
        return self._pipeline.placement

    def reset(self, seeds: NDArray[np.uint64]) -> Readings:
        """Begin an episode at maximum clocks, as far as the board's guard allows."""
        self._action = np.array([[len(axis.values) - 1 for axis in self.layout.axes]])
        self._supervisor.apply(self._point(self._action[0]))
        self._supervisor.read()
        self._latency_s = self._power_w = self._decision_s = self._busy = 0.0
        self._meter = ModelErrorTracker(
            self._board,
            self._folder,
            self.step_s,
            self._governed,
            self._scenario.picture_bytes,
        )
        return self.renew(seeds)

    def renew(self, seeds: NDArray[np.uint64]) -> Readings:
        """Draw requests and their conditions anew; what is known of board and link stays.

        Args:
            seeds: shape (1,); the same ones draw the same requests again.
        """
        self._episodes = EpisodeConditions([self._scenario], seeds, self.n_steps, self.step_s)
        self._t = 0
        self._requests.reset(seeds)
        self._step_end_s = self._asked_s = self._clock()
        return self.readings()

    def clocks_given_back(self) -> AbstractContextManager[None]:
        """Leave the clocks to the board's own governors within, see `Board.clocks_given_back`.

        Steps set routes alone meanwhile, and nothing is learnt of the errors of the board's model.
        """
        return self._board.clocks_given_back()

    def step(self, actions: Indices) -> Outcome:
        """Set the clocks, serve what arrives during one control step, and measure."""
        began_s = self._clock()
        self._decision_s, self.late_s = began_s - self._asked_s, max(began_s - self._step_end_s, 0)
        now = self._requests.around(self._episodes.row(self._t + 1))
        self._board.set_ambient(float(now.ambient_c[0]))
        self._supervisor.begin_window()
        self._supervisor.apply(self._point(actions[0]))
        route = int(actions[0, -1])
        self._cloud.refresh(is_idle=self._routes[route].wire_bytes == 0)
        self._serve(route, now)
        self.last_power = self._supervisor.end_window()
        self._supervisor.read()
        self._cloud.watch([served.result for served in self.served])
        self._power_w = self.last_power.power_w + self._radio_j(now, route) / self.last_duration_s
        switched = (actions != self._action).mean(axis=1)
        self._action, self._t = actions, self._t + 1
        self._observe(now, route)
        self._asked_s = self._clock()
        return self._outcome(now, switched)

    def readings(self) -> Readings:
        """Readings of the board and of the link; the application knows its next requests."""
        row = min(self._t + 1, self.n_steps)
        now = self._requests.around(self._episodes.row(row))
        link = self._cloud.estimate
        one = np.ones(1)
        return Readings(
            link_bps=one * link.rate_bps,
            link_age_s=one * link.age_s,
            rtt_s=one * link.rtt_s,
            server_idle=one - link.server_load,
            server_flops_per_s=self._server_flops_per_s(now),
            arrival_hz=self._requests.announced_hz(self._episodes.announced_hz(row)),
            arrival_scv=now.arrival_scv,
            backlog=one * self._requests.waiting(now),
            latency_target_s=now.latency_target_s,
            eta=now.eta,
            radio_w=now.radio_w + now.radio_w_per_bps * link.rate_bps,
            temperature_margin_c=one * self._supervisor.margin_c,
            latency_s=one * self._latency_s,
            power_w=one * self._power_w,
            clocks_hz=np.array(
                [[float(self._supervisor.point[name]) for name in self.layout.domains]]
            ),
            edge_share=self._edge_share[self._action[:, -1]],
            decision_s=one * self._decision_s,
            latency_factor=self._meter.factors.latency,
            away_factor=self._meter.factors.away,
            power_factor=self._meter.factors.power,
            busy=one * self._busy,
            battery_level=one,
        )

    def close(self) -> None:
        """Give the board back as it was, take no more requests and hang up."""
        with ExitStack() as closing:  # all of it, whatever fails
            closing.callback(self._cloud.close)
            closing.callback(self._requests.close)
            closing.callback(self._board.close)

    @property
    def server_j(self) -> float:
        """Energy of the server for its answers of the last step, where the scenario counts it."""
        n_away = sum(served.result.served_by == "cloud" for served in self.served)
        flops = self._routes[int(self._action[0, -1])].cloud_flops
        each_j = self._scenario.server_j_per_request + self._scenario.server_j_per_flop * flops
        return each_j * n_away

    @property
    def is_modelled(self) -> bool:
        """Whether clocks or power are modelled."""
        return bool(self._board.modelled)

    @property
    def evidence(self) -> Mapping[str, str]:
        """What each figure of the board is, where it is more than modelled or measured alone."""
        return self._board.evidence

    @property
    def too_slow_share(self) -> float:
        """Share of the board's work that took longer here than the modelled board takes."""
        return self._board.too_slow_share

    @property
    def addresses(self) -> tuple[str, ...]:
        """Where an application asks; none if none does."""
        return self._requests.addresses

    @property
    def dry_run(self) -> bool:
        """Whether clocks are left alone."""
        return self._board.dry_run

    @property
    def last_duration_s(self) -> float:
        """Time that the last step took, s."""
        return self.last_power.duration_s

    @property
    def clocks_in_force(self) -> list[ClockInForce]:
        """What became of the last step's clocks."""
        return self._supervisor.clocks_in_force()

    @property
    def margin_c(self) -> float:
        """Distance to the board's temperature limit after the last step, degrees C."""
        return self._supervisor.margin_c

    @property
    def known_margin_c(self) -> float | None:
        """The same; None where it has been unknown for long."""
        return self._supervisor.known_margin_c

    @property
    def clocks_hz(self) -> Mapping[str, int]:
        """Clocks as last read back, Hz."""
        return self._supervisor.point

    @property
    def n_failures(self) -> Mapping[str, int]:
        """Failed attempts since the start to read or set a part of the board, by part."""
        return self._supervisor.n_failures

    @property
    def has_cloud(self) -> bool:
        """Whether there is a cloud that may be asked."""
        return self._cloud.is_there

    @property
    def known_link(self) -> LinkEstimate | None:
        """Latest estimate of the link; None while it is unknown, or no cloud answers."""
        return self._cloud.known

    @property
    def link(self) -> LinkEstimate:
        """Latest estimate of the link; a dead one where there is no cloud."""
        return self._cloud.estimate

    def accuracy_of(self, served: ServedRequest) -> float | None:
        """What was measured of the last step's route, or of the edge alone; None: unknown."""
        option = self._routes[int(self._action[0, -1])]
        return option.accuracy if served.result.fallback is None else option.fallback_accuracy

    def route_name(self, index: int) -> str:
        """Readable name of a route: where it cuts, and what it sends if not everything in int8."""
        return self._routes[index].name

    def _point(self, indices: Indices) -> OperatingPoint:
        """Clocks of an action of shape (n_axes,), Hz."""
        clocks = zip(self.layout.axes[:-1], indices, strict=False)
        return {axis.name: int(axis.values[index]) for axis, index in clocks}

    def _serve(self, route: int, now: OperatingConditions) -> None:
        """Answer what arrives until the step ends; requests queue behind one another."""
        target_s = self.latency_target_s = float(now.latency_target_s[0])
        self._step_end_s = self._next_end_s()
        self.served, n_broken = [], 0
        while (request := self._requests.take(now, self._step_end_s)) is not None:
            try:
                self.served.append(self._answer(request, route, target_s))
            except _REQUEST_ERRORS as error:
                request.refuse(error)
                n_broken += 1
        self.dropped = self._requests.dropped() + n_broken
        wait_s = self._step_end_s - self._clock()
        if wait_s > 0.0:
            self._sleep(wait_s)

    def _next_end_s(self) -> float:
        """End of this step, on the grid of control steps.

        Points of the grid that are over, or too near to measure power until then, are left out.
        """
        end_s = self._step_end_s + self.step_s
        late_s = self._clock() + self.shortest_step_s - end_s
        return end_s + self.step_s * max(math.ceil(late_s / self.step_s), 0)

    def _answer(self, request: PendingRequest, route: int, target_s: float) -> ServedRequest:
        # The sender may want the answer sooner, and has waited already.
        deadline_s = min(target_s, request.due_s - self._clock())
        result = self._pipeline.infer(request.inputs, self._routes[route].route, deadline_s)
        is_awaited = request.answer(result)
        latency_s = self._clock() - request.arrived_s
        met_deadline = is_awaited and latency_s <= target_s
        if result.failure is HopelessError:
            self._cloud.refresh(is_idle=True)
        agrees = None if request.label is None else int(result.logits.argmax()) == request.label
        return ServedRequest(result, latency_s, met_deadline, agrees)

    def _outcome(self, now: OperatingConditions, switched: NDArray[np.float64]) -> Outcome:
        n, one = len(self.served), np.ones(1)
        if n:
            self._latency_s = float(np.mean([s.latency_s for s in self.served]))
        n_met = sum(s.met_deadline for s in self.served)
        asked = max(n + self.dropped, 1)
        rate_hz = float(now.arrival_hz[0])
        if self._scenario.is_back_to_back and n:
            rate_hz = n / self.last_duration_s
        self.energy_uncertainty_j = energy_per_request_j(self.last_power.uncertainty_w, rate_hz)
        server_j = self.server_j / max(n, 1)
        return Outcome(
            energy_j=energy_per_request_j(one * self._power_w, rate_hz * one) + server_j,
            latency_s=one * self._latency_s,
            deadline_hit_rate=one * (n_met / asked if n + self.dropped else 1.0),
            accuracy=one * self._accuracy(),
            switched=switched,
            overheat_c=one * max(-self._supervisor.margin_c, 0.0),
            power_w=one * self._power_w,
            requests=one * n * (self.step_s / self.last_duration_s),
            uplink_bytes=one * self._routes[int(self._action[0, -1])].wire_bytes,
            fell_back=one * sum(s.result.fallback is not None for s in self.served) / max(n, 1),
            server_j=one * server_j,
        )

    def _accuracy(self) -> float:
        """Share of right labels where they are known, otherwise what was measured of the route."""
        known = [s.agrees for s in self.served if s.agrees is not None]
        if known or not self.served:
            return float(np.mean(known)) if known else 1.0
        found = [self.accuracy_of(served) for served in self.served]
        return float(np.mean(np.array(found, dtype=np.float64)))  # None becomes NaN

    def _observe(self, now: OperatingConditions, route: int) -> None:
        """Compare what was served with what the board's model expects."""
        results = [s.result for s in self.served]
        self._busy = min(sum(r.edge_s + r.host_s for r in results) / self.last_duration_s, 1.0)
        link, one = self._cloud.estimate, np.ones(1)
        around = Link(
            rate_bps=one * link.rate_bps,
            rtt_s=one * link.rtt_s,
            server_idle=one - link.server_load,
            server_flops_per_s=self._server_flops_per_s(now),
            radio_w=now.radio_w + now.radio_w_per_bps * link.rate_bps,
        )
        if not self.last_power.is_measured or self._board.clocks_are_given_back:
            return  # nothing to compare, or not at clocks that the model is asked about
        clocks_hz = {name: float(hz) for name, hz in self._supervisor.point.items()}
        self._meter.take(
            results, route, clocks_hz, around, self._power_w, self.last_duration_s, now
        )

    def _server_flops_per_s(self, now: OperatingConditions) -> Floats:
        """As its replies show it; the scenario's where there were none."""
        usual = float(now.server_flops_per_s[0])
        return np.array([self._cloud.server_flops_per_s(usual)])

    def _radio_j(self, now: OperatingConditions, route: int) -> float:
        """Modelled energy of the radio; a real board's sensors already include it."""
        if not self._board.lacks_radio or not self._cloud.is_there:
            return 0.0
        n_sent = sum(s.result.served_by == "cloud" for s in self.served)
        rate_bps = self._cloud.estimate.rate_bps
        seconds = n_sent * 8.0 * self._routes[route].wire_bytes / rate_bps
        return seconds * float(now.radio_w[0] + now.radio_w_per_bps[0] * rate_bps)


def live_layout(board: Board, folder: ModelFolder, max_power_w: float) -> Layout:
    """What a policy must know about an open board and a network."""
    clocks = (
        Axis(name, tuple(float(hz) for hz in domain.available_hz))
        for name, domain in board.domains.items()
    )
    return Layout(
        board=board.device.name if board.device else board.name,
        board_fingerprint=board.fingerprint,
        model=folder.name,
        cut_list_fingerprint=folder.cut_list_fingerprint,
        axes=(*clocks, Axis("route", tuple(float(i) for i in range(len(folder.routes))))),
        max_power_w=max_power_w,
    )
