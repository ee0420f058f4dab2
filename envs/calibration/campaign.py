"""A measurement from the first point to the last: what is measured, in which order, until when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import product

import numpy as np

from common.progress import Progress
from envs.arrays import Floats
from envs.calibration.bench import Bench
from envs.calibration.design import Design, usual_board
from envs.calibration.fitting.drift import KNOTS_EVERY_S
from envs.calibration.fitting.fit import BoardFit, Measured, Setting, fit_board
from envs.calibration.record import PlannedPoint, Record
from envs.calibration.samples import Kind, Piece, Sample, Work, work
from envs.errors import CalibrationError
from partition.model.routes import RouteOption

N_HEADS, N_TAILS, N_HOSTS = 6, 3, 4
"""Routes whose pieces may be measured; the sizes of the others lie between theirs."""
N_CANDIDATES = 400
"""Points among which a plan chooses; of more, a second's choice takes many."""
CONTROL_EVERY = 10
"""Samples between two of the control point, which takes a tenth of the time."""
FEWEST = 40
"""Samples below which nothing is begun: a fit of two clocks has some twenty parameters."""

DISTURBED = 0.03
"""Standard error of a latency beyond which other programs must have taken the processor: of runs
that are alike it is below 1 %, also of the few that fit into a second at the lowest clocks."""


def pieces(options: Sequence[RouteOption], kinds: frozenset[Kind]) -> list[Piece]:
    """Pieces of a network that are worth measuring, spread over the depth of its plain cuts.

    Args:
        options: the network's routes, by depth.
        kinds: that can be run.
    """
    plain = [index for index, option in enumerate(options) if option.route.xi == 1.0]
    heads = [index for index in plain if options[index].edge.flops]
    tails = [index for index in plain if options[index].fallback.flops]
    hosts = sorted(plain, key=lambda index: options[index].wire_bytes)
    found = [Piece(Kind.IDLE)]
    for kind, indices, n in (
        (Kind.HEAD, heads, N_HEADS),
        (Kind.TAIL, tails, N_TAILS),
        (Kind.HOST, hosts, N_HOSTS),
    ):
        places = np.unique(np.linspace(0, len(indices) - 1, n).round().astype(int))
        found += [Piece(kind, indices[place]) for place in places if indices]
    return [piece for piece in found if piece.kind in kinds]


class Campaign:
    """Measures a network on a board, as far as a number of minutes allows.

    Args:
        bench: of the board.
        options: the network's routes.
        kinds: of pieces that can be run.
        setting: what is to be fitted.
        record: where samples are kept.
        minutes: for everything that the record holds in the end.
        seed: of the order, and of the candidates.
    """

    def __init__(
        self,
        bench: Bench,
        options: Sequence[RouteOption],
        kinds: frozenset[Kind],
        setting: Setting,
        record: Record,
        *,
        minutes: float,
        seed: int = 0,
    ) -> None:
        self._bench, self._options, self._setting = bench, options, setting
        self._record, self._minutes = record, minutes
        self._began_s = bench.elapsed_s
        self._rng = np.random.default_rng(seed)
        self._pieces = pieces(options, kinds)
        self._whole = Piece(Kind.HEAD, len(options) - 1)
        self.candidates = self._all_candidates()

    @property
    def _spent_s(self) -> float:
        return self._bench.elapsed_s - self._began_s

    @property
    def work(self) -> Work:
        """What the candidates have to do."""
        return self._work(self.candidates)

    def delays_s(self) -> dict[str, float | None]:
        """Actuation delay of each clock; None where the network does not show it."""
        shown = [piece for piece in self._pieces if piece.kind in (Kind.HEAD, Kind.HOST)]
        probes = [self._whole, *(piece for piece in shown if piece.kind is Kind.HOST)][:2]
        return {
            name: self._bench.actuation_delay_s(name, probes) for name in self._bench.available_hz
        }

    def planned(self) -> int:
        """How many samples will be taken in all; the plan is made at the first call.

        One for fewer minutes goes on where it ends, with what tells most after what it told.

        Raises:
            CalibrationError: too few for a fit.
        """
        missing = self._minutes - self._record.minutes
        if missing > 0.0:
            self._record.extend(self._plan(60.0 * missing - self._spent_s), missing)
        return len(self._record.plan)

    def run(self) -> None:
        """Take what is left of the samples; those for which there is no time are left out."""
        n_planned, begun = self.planned(), self._record.samples
        if begun:
            self._bench.go_on_at(begun[-1].began_s + begun[-1].duration_s + KNOTS_EVERY_S)
        left = self._record.plan[len(begun) :]
        control = self._control()
        deadline_s = self._bench.elapsed_s + 60.0 * self._record.minutes * len(left) / n_planned
        with Progress(f"measuring {len(left)} points", len(left)) as progress:
            for piece, point in progress.each(left):
                if self._bench.elapsed_s > deadline_s and len(self._record.samples) >= FEWEST:
                    break
                self._record.add(self._steady(piece, point, is_control=(piece, point) == control))

    def _steady(self, piece: Piece, point: Mapping[str, int], *, is_control: bool) -> Sample:
        """A sample; one that was disturbed is taken once more, and the better one kept."""
        first = self._bench.measure(piece, point, is_control=is_control)
        if first.latency_error <= DISTURBED:
            return first
        again = self._bench.measure(piece, point, is_control=is_control)
        return min(first, again, key=lambda sample: sample.latency_error)

    def measured(self) -> list[int]:
        """Candidates that were measured, repeats included."""
        places = {_key(candidate): index for index, candidate in enumerate(self.candidates)}
        asked = (
            _key((sample.piece, {name: round(hz) for name, hz in sample.requested_hz.items()}))
            for sample in self._record.samples
        )
        return [places[key] for key in asked if key in places]

    def _plan(self, left_s: float) -> list[PlannedPoint]:
        """What tells most, in random order; the control point again and again.

        Args:
            left_s: time for it.
        """
        design = Design(self.work, self._costs_s(), self._bench.has_power)
        plan = design.plan(self._known())
        for index in self.measured():
            plan.add(index)
        n_measured = len(plan.chosen)
        if not n_measured:
            for kind in (Kind.HEAD, Kind.HOST):
                for index in design.extremes(kind):
                    plan.add(index)
        left_s *= 1.0 - 1.0 / CONTROL_EVERY
        left_s -= float(np.sum(design.costs[plan.chosen[n_measured:]]))
        while left_s > 0.0:
            best = plan.best(is_new=False)
            left_s -= float(design.costs[best])
            plan.add(best)
        drawn = self._rng.permutation(np.array(plan.chosen[n_measured:], dtype=np.int64))
        control, found = self._control(), []
        for place, index in enumerate(drawn):
            if place % (CONTROL_EVERY - 1) == 0:
                found.append(control)
            found.append(self.candidates[index])
        n_points = len(found) + len(self._record.plan)
        if n_points < FEWEST:
            raise CalibrationError(
                f"only {n_points} points fit into {self._minutes:g} minutes on this board, and a "
                f"fit needs {FEWEST}; give more --minutes"
            )
        return found

    def _known(self) -> BoardFit:
        """What is known of the board: nothing at first, and then what the samples say."""
        if self._record.samples:
            with suppress(CalibrationError):
                measured = Measured.of(self._record.samples, self._options)
                return fit_board(measured, self._setting)
        return usual_board(self._setting, self.work)

    def _costs_s(self) -> Floats:
        """Time that measuring each candidate takes, from the whole network at both ends."""
        ends = [self._bench.latency_s(self._whole, point, 0.0) for point in self._ends()]
        usual = usual_board(self._setting, self.work)
        guessed = usual.latency_s(self.work)
        of_ends = usual.latency_s(self._work([(self._whole, point) for point in self._ends()]))
        # Linear in the logarithms, so that both ends are as measured.
        slope = 1.0
        if len(ends) > 1 and of_ends[1] != of_ends[0]:
            slope = float(np.log(ends[1] / ends[0]) / np.log(of_ends[1] / of_ends[0]))
        with np.errstate(divide="ignore"):
            latency_s = ends[0] * (guessed / of_ends[0]) ** max(slope, 0.0)
        return np.array([self._bench.cost_s(float(seconds)) for seconds in latency_s])

    def _ends(self) -> list[dict[str, int]]:
        top, bottom = self._bench.top, self._bench.bottom
        return [top] if top == bottom else [top, bottom]

    def _control(self) -> PlannedPoint:
        """The whole network in the middle of all clocks."""
        middle = {name: hz[len(hz) // 2] for name, hz in self._bench.available_hz.items()}
        return self._whole, middle

    def _all_candidates(self) -> list[PlannedPoint]:
        """Pieces at clocks; of very many some by chance, and always the ends."""
        names = list(self._bench.available_hz)
        points = [
            dict(zip(names, hz, strict=True)) for hz in product(*self._bench.available_hz.values())
        ]
        every = list(product(self._pieces, points))
        if len(every) <= N_CANDIDATES:
            return every
        always = [
            place
            for place, (_, point) in enumerate(every)
            if point in (self._bench.top, self._bench.bottom)
        ]
        drawn = self._rng.choice(len(every), N_CANDIDATES, replace=False)
        return [every[place] for place in sorted({*always, *map(int, drawn)})]

    def _work(self, planned: Sequence[PlannedPoint]) -> Work:
        return work([piece for piece, _ in planned], [point for _, point in planned], self._options)


def _key(planned: tuple[Piece, Mapping[str, int]]) -> tuple[Piece, tuple[tuple[str, int], ...]]:
    piece, point = planned
    return piece, tuple(sorted(point.items()))
