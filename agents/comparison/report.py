"""What a comparison came to: sentences, a table and one JSON object."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from agents.comparison.arms import Arm
from agents.comparison.effects import Effect
from agents.comparison.schedule import BlockLength
from agents.comparison.stopping import LITTLE_CHANCE, StoppingRule
from agents.comparison.switchback import End, Record
from envs.live.plant import LivePlant

MODELLED = ", modelled power"
_UNKNOWN = "not known yet"


@dataclass(frozen=True, slots=True)
class Range:
    """A difference with its 95 % interval.

    Attributes:
        value: of the difference; None where nothing was counted.
        low: lower end; None while it is unknown.
        high: upper end; None while it is unknown.
    """

    value: float | None
    low: float | None
    high: float | None

    @classmethod
    def of(cls, effect: Effect, rule: StoppingRule) -> Range:
        """Of an effect as it is."""
        value, half = float(effect.value), float(rule.half_width(effect))
        return cls(*(x if math.isfinite(x) else None for x in (value, value - half, value + half)))

    def saving(self) -> Range:
        """Of the logarithm of a ratio: the share that the first arm saves."""
        value, high, low = (
            None if x is None else -math.expm1(x) for x in (self.value, self.low, self.high)
        )
        return Range(value, low, high)

    def text(self, factor: float, digits: int = 1) -> str:
        """Times a factor: "7.1 (5.9 to 8.3)"."""
        if self.value is None:
            return _UNKNOWN
        mean = f"{factor * self.value:.{digits}f}"
        if self.low is None or self.high is None:
            return f"{mean} ({_UNKNOWN})"
        ends = sorted((factor * self.low, factor * self.high))
        return f"{mean} ({ends[0]:.{digits}f} to {ends[1]:.{digits}f})"

    def document(self) -> dict[str, float | None]:
        """Plain values."""
        return {"value": self.value, "low": self.low, "high": self.high}


@dataclass(frozen=True, slots=True)
class ComparisonReport:
    """Reports of a comparison, while it runs and at its end.

    Attributes:
        arms: the first is judged against the second.
        plant: of the board.
        rule: when to stop.
        length: of a block.
        seed: of the order and of the requests.
        scenario: the requests.
        folder: where log and picture are.
        record: what it has come to.
    """

    arms: tuple[Arm, Arm]
    plant: LivePlant
    rule: StoppingRule
    length: BlockLength
    seed: int
    scenario: str
    folder: Path
    record: Record

    @property
    def is_shown(self) -> bool:
        """Whether there is a difference in energy per request."""
        effects = self.record.effects
        return bool(effects) and bool(self.rule.is_shown(effects[-1].energy))

    @property
    def modelled(self) -> str:
        """What has to stand beside every saving."""
        return MODELLED if self.plant.is_modelled else ""

    @property
    def sentence(self) -> str:
        """The answer."""
        first, second = (arm.title for arm in self.arms)
        if not self.record.rounds:
            return f"nothing is known of {first} against {second}: no round of blocks was finished"
        effect = self.record.effects[-1].energy
        saving = Range.of(effect, self.rule).saving()
        if saving.value is None:
            return f"nothing is known of {first} against {second}: no request was answered"
        if self.is_shown and saving.value > 0.0:
            return (
                f"{first} saves {_percent(saving)} of energy per request against {second}"
                f"{self.modelled}{self._besides()}"
            )
        if self.is_shown:
            logarithms = _ends(Range.of(effect, self.rule))
            more = Range(*(None if x is None else math.expm1(x) for x in logarithms))
            return (
                f"{first} takes {_percent(more)} more energy per request than {second}"
                f"{self.modelled}{self._besides()}"
            )
        return (
            f"no difference is shown in energy per request between {first} and {second}: saved "
            f"{_percent(saving)}{self.modelled}; {self._needed(effect)}"
        )

    def _besides(self) -> str:
        """What else differs: a saving may be paid with time, and energy may buy some."""
        effects, words = self.record.effects[-1], ""
        if self.rule.is_shown(effects.latency):
            is_later = float(effects.latency.value) > 0.0
            by = Range.of(effects.latency, self.rule).text(1e3 if is_later else -1e3)
            words += f"; answers come {by} ms {'later' if is_later else 'sooner'}"
        if self.rule.is_shown(effects.in_time):
            is_more = float(effects.in_time.value) > 0.0
            by = Range.of(effects.in_time, self.rule).text(100.0 if is_more else -100.0)
            often = "more" if is_more else "less"
            words += f"; requests are in time {often} often, by {by} percentage points"
        return words

    def _needed(self, effect: Effect) -> str:
        """What another comparison would take."""
        if self.record.end is End.CLEAR:
            return "the two are level"
        if not math.isfinite(self.rule.width(effect.n_rounds)):
            return "too few rounds were finished to say how long it takes"
        smallest = -math.expm1(-self.rule.smallest_shown(effect))
        n_rounds = self.rule.rounds_needed(effect)
        planned = self._minutes(self.rule.n_rounds)
        text = f"{planned} at this spread show {100 * smallest:.1f} % or more"
        if self.rule.n_rounds < n_rounds < 10 * self.rule.n_rounds:
            text += f", and a difference of this size takes about {self._minutes(n_rounds)}"
        return text

    def line(self) -> str:
        """One line after a round: what is known by now, and when an answer is to be expected."""
        record, n = self.record, len(self.record.rounds)
        energies = " against ".join(_number(record.totals(k).energy_per_request_j) for k in (0, 1))
        effect = record.effects[-1].energy
        saving = Range.of(effect, self.rule).saving()
        return (
            f"{record.duration_s / 60:5.1f} min  round {n:2d} of {self.rule.n_rounds} | "
            f"{energies} J per request | saved so far {_percent(saving)}{self.modelled} | "
            f"{self._outlook(effect)}"
        )

    def _outlook(self, effect: Effect) -> str:
        if not math.isfinite(self.rule.width(effect.n_rounds)) or not np.isfinite(effect.value):
            return "too early to say"
        if self.rule.is_clear(effect):
            return "clear"
        rounds = self.rule.rounds_to_clear(effect)
        if rounds is not None and rounds < self.rule.n_rounds:
            return f"clear after about {self._minutes(rounds)}"
        if self.rule.chance(effect) < LITTLE_CHANCE:
            planned = self._minutes(self.rule.n_rounds)
            return f"no clear answer is to be expected within {planned}"
        return "shown already" if self.rule.is_shown(effect) else "open"

    def _minutes(self, n_rounds: float) -> str:
        minutes = n_rounds * self.length.round_s(self.plant.step_s) / 60.0
        return f"{minutes:.0f} min" if minutes >= 2.0 else f"{60 * minutes:.0f} s"

    def document(self) -> dict[str, Any]:
        """Plain values, keys with units; None for what is not known.

        Differences are those of the policy against the other arm, with 95 % intervals that hold
        at any moment at which a comparison ends.
        """
        record, layout = self.record, self.plant.layout
        effects = record.effects[-1] if record.effects else None
        ranges: dict[str, Any] = dict.fromkeys(_DIFFERENCES)
        if effects is not None:
            energy, latency, in_time = (
                Range.of(effect, self.rule)
                for effect in (effects.energy, effects.latency, effects.in_time)
            )
            found = (energy.saving(), latency, in_time)
            ranges = {k: r.document() for k, r in zip(_DIFFERENCES, found, strict=True)}
        return {
            "answer": self.sentence,
            "policy": self.arms[0].name,
            "against": self.arms[1].name,
            "board": layout.board,
            "board_is_modelled": self.plant.is_modelled,
            **({"evidence": dict(evidence)} if (evidence := self.plant.evidence) else {}),
            "model": layout.model,
            "runs_on": self.plant.placement,
            "scenario": self.scenario,
            "duration_s": record.duration_s,
            "ended_by": record.end.value if record.end else None,
            "rounds": len(record.rounds),
            "rounds_planned": self.rule.n_rounds,
            "blocks_thrown_away": record.n_thrown_away,
            "block_s": self.length.counted * self.plant.step_s,
            "washout_s": self.length.washout * self.plant.step_s,
            "seed": self.seed,
            "failures": dict(self.plant.n_failures),
            "too_slow_share": self.plant.too_slow_share,
            "is_shown": self.is_shown,
            **ranges,
            "arms": {arm.name: self._arm(k) for k, arm in enumerate(self.arms)},
            "folder": str(self.folder),
        }

    def _arm(self, k: int) -> dict[str, Any]:
        totals = self.record.totals(k)
        return {
            "duration_s": totals.duration_s,
            "requests": totals.answered,
            "dropped": totals.dropped,
            "fallbacks": totals.fell_back,
            "energy_j": totals.energy_j,
            "energy_per_request_j": totals.energy_per_request_j,
            "latency_mean_s": totals.latency_s,
            "latency_p95_s": self.record.latencies[k].quantile_s(0.95),
            "deadline_hit_rate": totals.deadline_hit_rate,
        }

    def text(self) -> str:
        """The document for people."""
        d = self.document()
        blocks = (
            f"{d['rounds']} of {d['rounds_planned']} rounds of 4 blocks of {d['block_s']:g} s in "
            f"{d['duration_s'] / 60:.1f} min, ended by {_ENDS[d['ended_by']]}"
        )
        if d["blocks_thrown_away"]:
            blocks += f"; blocks thrown away for an outage: {d['blocks_thrown_away']}"
        table = self._table(d) if self.record.rounds else []
        return "\n".join([*table, blocks, f"steps, result and picture: {self.folder}", d["answer"]])

    def _table(self, d: Mapping[str, Any]) -> list[str]:
        first, second = d["arms"].values()
        energy, latency, in_time = (Range(**d[key]) for key in _DIFFERENCES)
        less = Range(*(None if x is None else -x for x in _ends(energy)))
        note = ", modelled" if self.plant.is_modelled else ""
        rows = [
            ("", *d["arms"], "difference (95 % interval)"),
            (
                "energy per request, J",
                *(_number(arm["energy_per_request_j"]) for arm in (first, second)),
                f"{less.text(100.0)} %{note}",
            ),
            (
                "mean latency, ms",
                *(_number(arm["latency_mean_s"], 1e3, 1) for arm in (first, second)),
                latency.text(1e3),
            ),
            (
                "95th percentile of it, ms",
                *(_number(arm["latency_p95_s"], 1e3, 1) for arm in (first, second)),
                "",
            ),
            (
                "in time, %",
                *(_number(arm["deadline_hit_rate"], 100.0, 1) for arm in (first, second)),
                in_time.text(100.0),
            ),
            ("requests", first["requests"], second["requests"], ""),
            ("dropped", first["dropped"], second["dropped"], ""),
        ]
        return [f"{a:<26}{b!s:>14}{c!s:>14}   {e}".rstrip() for a, b, c, e in rows]


_DIFFERENCES = ("energy_saving", "latency_difference_s", "deadline_hit_rate_difference")
_ENDS = {
    End.CLEAR.value: "a clear answer",
    End.TIME.value: "its time",
    End.STOPPED.value: "a signal",
}


def _ends(interval: Range) -> tuple[float | None, float | None, float | None]:
    return interval.value, interval.low, interval.high


def _percent(interval: Range) -> str:
    """For sentences: "7.1 % (5.9 to 8.3)"."""
    mean, _, ends = interval.text(100.0).partition(" (")
    return f"{mean} % ({ends}" if ends else mean


def _number(value: float | None, factor: float = 1.0, digits: int = 3) -> str:
    return "-" if value is None else f"{factor * value:.{digits}f}"
