"""Randomised switchback: two arms have one board in turns until the difference is clear."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

import numpy as np

from agents.comparison.arms import Arm
from agents.comparison.schedule import BlockLength, Turn, rounds
from agents.comparison.step_log import Step, StepLog
from agents.comparison.stopping import FEWEST_ROUNDS, StoppingRule
from agents.comparison.totals import Effects, RoundTotals, Totals
from agents.deployed.board_decider import ended
from agents.deployed.concurrent import PATIENCE_S, ConcurrentDecider
from agents.deployed.histogram import TimeHistogram
from agents.errors import AgentError
from envs.edge_env import EdgeSplitEnv
from envs.live.plant import LivePlant

_OUTAGES = ("power", "set_clocks", "read_clocks")
"""Failures after which it is not known what a block cost, or under which clocks."""


class End(Enum):
    """Why a comparison ended."""

    CLEAR = "clear"
    TIME = "time"
    STOPPED = "stopped"


@dataclass(slots=True)
class Block:
    """One arm's turn.

    Attributes:
        arm: 0 or 1.
        began_s: first counted step, since the comparison began, s.
        totals: of the counted steps.
        latencies_s: of the requests answered in them.
        has_outage: whether it does not count.
    """

    arm: int
    began_s: float = 0.0
    totals: Totals = field(default_factory=Totals)
    latencies_s: list[float] = field(default_factory=list)
    has_outage: bool = False


@dataclass(slots=True)
class Record:
    """All that a comparison has come to.

    Attributes:
        rounds: whole ones.
        blocks: of these rounds, in the order in which they were run.
        latencies: of each arm.
        effects: after each round.
        n_thrown_away: blocks that did not count.
        duration_s: so far.
        end: why it ended; None while it goes on.
    """

    rounds: list[RoundTotals] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    latencies: tuple[TimeHistogram, TimeHistogram] = field(
        default_factory=lambda: (TimeHistogram(), TimeHistogram())
    )
    effects: list[Effects] = field(default_factory=list)
    n_thrown_away: int = 0
    duration_s: float = 0.0
    end: End | None = None

    def add(self, blocks: Sequence[Block]) -> None:
        """Add a whole round."""
        arms = (Totals(), Totals())
        for block in blocks:
            arms[block.arm].add(block.totals)
            for latency_s in block.latencies_s:
                self.latencies[block.arm].add(latency_s)
            block.latencies_s.clear()
        self.blocks.extend(blocks)
        self.rounds.append(arms)
        self.effects.append(Effects.of(self.rounds))

    def totals(self, arm: int) -> Totals:
        """Of one arm in all rounds."""
        total = Totals()
        for arms in self.rounds:
            total.add(arms[arm])
        return total


def planned(minutes: float, length: BlockLength, step_s: float) -> StoppingRule:
    """The rounds that fit into a time.

    Raises:
        AgentError: too few.
    """
    n_rounds = int(60.0 * minutes / length.round_s(step_s))
    if n_rounds < FEWEST_ROUNDS:
        least = FEWEST_ROUNDS * length.round_s(step_s) / 60.0
        raise AgentError(
            f"--minutes {minutes:g} is too short to tell chance from a difference; give at least "
            f"--minutes {np.ceil(10.0 * least) / 10.0:g}"
        )
    return StoppingRule(n_rounds)


class Switchback:
    """Two arms on one board.

    Args:
        env: of an open board, with episodes of a block's steps.
        arms: the first is judged against the second.
        rule: when to stop.
        log: of all steps.
        length: of a block.
        seed: of the order and of the requests.
    """

    def __init__(
        self,
        env: EdgeSplitEnv,
        arms: tuple[Arm, Arm],
        rule: StoppingRule,
        log: StepLog,
        *,
        length: BlockLength,
        seed: int,
    ) -> None:
        if not isinstance(env.plant, LivePlant):
            raise TypeError(f"a switchback needs a live plant, got {type(env.plant).__name__}")
        self.record = Record()
        self._env, self._plant, self._arms = env, env.plant, arms
        self._rule, self._log, self._length, self._seed = rule, log, length, seed
        self._clock = env.plant.clock
        self._began_s = self._clock()

    def run(self, is_stopped: Callable[[], bool], tell: Callable[[Record], object]) -> Record:
        """Run until the difference of energy per request is clear, the time is over, or stopped.

        Args:
            is_stopped: asked at every step.
            tell: called after every round.
        """
        record = self.record
        self._env.reset(seed=self._seed)
        first = np.array([len(axis.values) - 1 for axis in self._plant.layout.axes])
        with ExitStack() as thinking:
            deciders = [
                thinking.enter_context(ConcurrentDecider(arm.ready(self._env), first))
                for arm in self._arms
            ]
            self._began_s = self._clock()
            record.end = self._take_turns(deciders, is_stopped, tell)
        record.duration_s = self._clock() - self._began_s
        return record

    def _take_turns(
        self,
        deciders: Sequence[ConcurrentDecider],
        is_stopped: Callable[[], bool],
        tell: Callable[[Record], object],
    ) -> End:
        record, round_s = self.record, self._length.round_s(self._plant.step_s)
        # Half a round more: for steps that are late, and for blocks that are run again.
        end_s = self._began_s + (self._rule.n_rounds + 0.5) * round_s

        def is_over() -> bool:
            return is_stopped() or self._clock() >= end_s

        for number, turns in enumerate(rounds(self._seed), start=1):
            if number > self._rule.n_rounds or self._clock() + round_s > end_s:
                break
            blocks = self._round(number, turns, deciders, is_over)
            if blocks is None:
                return End.STOPPED if is_stopped() else End.TIME
            record.add(blocks)
            record.duration_s = self._clock() - self._began_s
            tell(record)
            if self._rule.is_clear(record.effects[-1].energy):
                return End.CLEAR
        return End.TIME

    def _round(
        self,
        number: int,
        turns: Sequence[Turn],
        deciders: Sequence[ConcurrentDecider],
        is_over: Callable[[], bool],
    ) -> list[Block] | None:
        """Its blocks, each run again until it had no outage; None if it was not finished."""
        blocks: list[Block] = []
        attempt = 1
        while len(blocks) < len(turns):
            turn, place = turns[len(blocks)], (number, len(blocks) + 1, attempt)
            with self._clocks_of(self._arms[turn.arm]):
                block = self._block(place, turn, deciders[turn.arm], is_over)
            self._log.flush()
            if block is None:
                return None
            if block.has_outage:
                self.record.n_thrown_away += 1
                attempt += 1
            else:
                blocks.append(block)
                attempt = 1
        return blocks

    def _clocks_of(self, arm: Arm) -> AbstractContextManager[None]:
        return self._plant.clocks_given_back() if arm.leaves_clocks else nullcontext()

    def _block(
        self,
        place: tuple[int, int, int],
        turn: Turn,
        decider: ConcurrentDecider,
        is_over: Callable[[], bool],
    ) -> Block | None:
        env, plant, block = self._env, self._plant, Block(turn.arm)
        observation = env.encoder.encode(plant.renew(turn.seeds))[0]
        until_s = began_s = self._clock()
        failures = self._failures()
        # By time, for a late step takes the place of several; half a step is nobody's.
        washed_s = began_s + (self._length.washout - 0.5) * plant.step_s
        end_s = began_s + (self._length.n_steps - 0.5) * plant.step_s
        while until_s < end_s:
            if is_over():
                return None
            is_counted = until_s >= washed_s
            if is_counted and not block.totals.duration_s:
                block.began_s, failures = until_s - self._began_s, self._failures()
            decider.post(observation)
            decision = decider.wait(PATIENCE_S)
            observation, _, _, _, info = env.step(decision.action)
            decider.account(*ended(plant))
            now_s = self._clock()
            totals = _totals(plant, info, now_s - until_s)
            until_s = now_s
            if is_counted:
                block.totals.add(totals)
                block.latencies_s.extend(served.latency_s for served in plant.served)
            self._write(place, turn, info, totals, decision.selection_s, is_counted)
        block.has_outage = self._failures() != failures
        return block

    def _write(
        self,
        place: tuple[int, int, int],
        turn: Turn,
        info: dict[str, Any],
        totals: Totals,
        decision_s: float,
        is_counted: bool,
    ) -> None:
        plant = self._plant
        step = Step(
            time_s=self._clock() - self._began_s,
            round=place[0],
            block=place[1],
            attempt=place[2],
            arm=self._arms[turn.arm].name,
            is_counted=is_counted,
            power_w=info["outcome"]["power_w"],
            power_is_measured=plant.last_power.is_measured,
            decision_s=decision_s,
            route=plant.route_name(info["route"]),
            link_bps=plant.link.rate_bps,
            margin_c=plant.margin_c,
        )
        clocks_hz = [plant.clocks_hz[name] for name in plant.layout.domains]
        self._log.add(step, totals, clocks_hz)

    def _failures(self) -> list[int]:
        return [self._plant.n_failures[name] for name in _OUTAGES]


def _totals(plant: LivePlant, info: dict[str, Any], duration_s: float) -> Totals:
    """Of the plant's last step, with the time since the one before."""
    served = plant.served
    return Totals(
        energy_j=info["outcome"]["power_w"] * duration_s + plant.server_j,
        duration_s=duration_s,
        answered=len(served),
        waited_s=sum(one.latency_s for one in served),
        in_time=sum(one.met_deadline for one in served),
        dropped=plant.dropped,
        fell_back=sum(one.result.fallback is not None for one in served),
    )
