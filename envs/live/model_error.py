"""Ratios of measured to expected values on a live board, taken exactly as the simulation does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from envs.governed.table import GovernedFactors, GovernedTable
from envs.scenarios.operating_conditions import OperatingConditions
from envs.sim.clocks import Clocks, clock_tables
from envs.sim.expectation import Link, ModelErrorRatios, StepMeasurement
from envs.sim.split_costs import SplitCosts
from hw.base import Board
from hw.device.latency import HostScaling
from hw.device.model import DOMAINS
from partition.edge.pipeline import InferenceResult
from partition.model.folder import ModelFolder


class ModelErrorTracker:
    """Follows the factors of one board; they stay at 1 where no model of it is at hand.

    Attributes:
        factors: smoothed ratios.
    """

    def __init__(
        self,
        board: Board,
        folder: ModelFolder,
        step_s: float,
        governed: GovernedTable | None = None,
        picture_bytes: int = 0,
    ) -> None:
        """Take the model of the board, if it has one, of its governors, and the network.

        Args:
            board: open.
            folder: the network.
            step_s: duration of a control step.
            governed: what governors below the clocks are expected to come to.
            picture_bytes: of the files that inputs come as, see `Scenario`.
        """
        self._device, self._governed = board.device, governed
        # A board that plays it takes its time within `InferenceResult.edge_s`.
        is_known = board.device is not None and board.device.host != HostScaling()
        self._counts_host = is_known and not board.models_host
        self.factors = ModelErrorRatios(self._device, 1, step_s)
        if self._device is not None:
            costs = SplitCosts.of(self._device, folder.routes)
            self._rows = costs.with_files(self._device, picture_bytes).rows()

    def take(
        self,
        results: Sequence[InferenceResult],
        route: int,
        clocks_hz: Mapping[str, float],
        link: Link,
        power_w: float,
        duration_s: float,
        now: OperatingConditions,
    ) -> None:
        """Take the requests of one control step in.

        Nothing is learned from a step without any, or with a clock that stood still.

        Args:
            results: of the pipeline.
            route: index of the route that was in force.
            clocks_hz: as read back, by domain.
            link: as estimated afterwards.
            power_w: mean power, radio included.
            duration_s: of the step.
            now: operating conditions, of which the requests are known.
        """
        if self._device is None or not results or not all(clocks_hz.values()):
            return
        one = np.ones(1)
        tables = zip(DOMAINS, clock_tables(self._device), strict=True)
        clocks = Clocks(*(one * clocks_hz.get(name, float(table[-1])) for name, table in tables))
        seen = StepMeasurement(
            served_hz=one * len(results) / duration_s,
            fell_back=one * np.mean([r.fallback is not None for r in results]),
            edge_s=one * np.mean([self._edge_s(r) for r in results]),
            away_s=one * np.mean([r.away_s for r in results]),
            power_w=one * power_w,
        )
        costs = SplitCosts.from_rows(self._rows[:, [route]])
        self.factors.update(costs, clocks, link, seen, self._expected(clocks, route, now))

    def _edge_s(self, result: InferenceResult) -> float:
        """Time that this side computed, with what the processor did beside the network if known."""
        return result.edge_s + (result.host_s if self._counts_host else 0.0)

    def _expected(
        self, clocks: Clocks, route: int, now: OperatingConditions
    ) -> GovernedFactors | None:
        if self._governed is None or self._device is None:
            return None
        caps_hz = (clocks.cpu_hz, clocks.gpu_hz, clocks.emc_hz)
        places = [self._device.table_index(d, hz) for d, hz in zip(DOMAINS, caps_hz, strict=True)]
        one = np.ones(1)
        as_modelled = replace(now, slowdown=one, background_load=0.0 * one, build=None)
        return self._governed.factors(
            np.stack([*places, np.full(1, route)], axis=1).astype(np.int64), as_modelled
        )
