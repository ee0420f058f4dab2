"""Targets next to what was found, on the validated device."""

from __future__ import annotations

import math
from dataclasses import dataclass

from agents.evaluation.rows import ALL
from agents.evaluation.statistics import Interval
from benchmarks.policies.plan import OURS, PUBLISHED
from benchmarks.policies.table import ORACLE, Samples, difference, gap_closed, ratio

EDGE = "edge-only"
ONE_SIDED = (EDGE, "cloud-only")
SEARCH = "model-search"
RIVALS = (SEARCH, "bayes")
CARRIES_OVER = (
    "hot-enclosure",
    "loaded-server",
    "background-load",
    "bursty-camera",
    "server-rush",
    "low-battery",
)
"""Scenarios where state carries over from step to step, or the baselines' model is wrong."""

LEVEL = 0.003
"""Share of the cost below which a difference matters to nobody, whatever its interval."""


@dataclass(frozen=True, slots=True)
class Target:
    """One line: what was hoped for, what was found, and whether it is met."""

    what: str
    bar: str
    found: str
    is_met: bool


def strongest_published(samples: Samples) -> str:
    """The published baseline with the lowest mean cost."""
    there = [name for name in PUBLISHED if name in samples.deciders]
    return min(there, key=lambda name: samples.mean(name, ALL, "cost"))


def bars(samples: Samples) -> list[Target]:
    """All of them, averaged over scenarios."""
    return [
        *(_against_published(samples) if set(PUBLISHED) & samples.deciders.keys() else ()),
        *(_latency(samples, rival) for rival in ONE_SIDED if rival in samples.deciders),
        *((_accuracy(samples),) if EDGE in samples.deciders else ()),
        _deadlines(samples),
        _way(samples),
        *(
            _ahead(samples, rival, scenario)
            for rival in RIVALS
            for scenario in CARRIES_OVER
            if rival in samples.deciders and scenario in samples.scenarios
        ),
    ]


def learning_against_searching(samples: Samples) -> list[str]:
    """The page's first paragraph: what learning is worth beside searching the same models.

    Returns:
        One paragraph; none where either was not compared.
    """
    if not {OURS, SEARCH} <= samples.deciders.keys():
        return []
    more = ratio(samples, "cost", OURS, SEARCH, ALL)
    more = Interval(more.mean - 1.0, more.low - 1.0, more.high - 1.0)
    figures = f"{100 * more.mean:+.2f} % ({100 * more.low:+.2f} to {100 * more.high:+.2f})"
    if more.low <= 0.0 <= more.high or abs(more.mean) < LEVEL:
        verdict = "Learning and searching are level"
    elif more.mean < 0.0:
        verdict = "Learning costs less than searching"
    else:
        verdict = "Learning costs more than searching"
    both = [ratio(samples, "cost", name, ORACLE, ALL).mean - 1.0 for name in (OURS, SEARCH)]
    above = " and ".join(f"{100 * gap:.1f} %" for gap in both)
    apart = _apart(samples)
    return [
        f"**{verdict}**: over all scenarios the cost of `{OURS}`, which learned in simulation, is "
        f"{figures} beside that of `{SEARCH}`, which weighs every action under the same models in "
        f"every step; {above} above the oracle's.{apart}"
    ]


def _apart(samples: Samples) -> str:
    """Scenarios in which the two differ by more than chance and `LEVEL`."""
    lines: dict[str, list[str]] = {"less": [], "more": []}
    for name in samples.groups[ALL]:
        share = ratio(samples, "cost", OURS, SEARCH, name)
        if share.high < 1.0 - LEVEL:
            lines["less"].append(f"`{name}` ({100 * (share.mean - 1.0):+.1f} %)")
        elif share.low > 1.0 + LEVEL:
            lines["more"].append(f"`{name}` ({100 * (share.mean - 1.0):+.1f} %)")
    found = [f"It costs {how} in {', '.join(names)}." for how, names in lines.items() if names]
    return f" {' '.join(found)}" if found else ""


def _against_published(samples: Samples) -> list[Target]:
    rival = strongest_published(samples)
    saved = _less(ratio(samples, "energy_j", OURS, rival, ALL))
    hits = difference(samples, "deadline_hit_rate", OURS, rival, ALL)
    return [
        Target(
            f"energy below {rival}, the strongest published",
            ">= 33 %",
            _percent(saved),
            saved.mean >= 0.33,
        ),
        Target(
            f"requests in time, against {rival}", ">= 0 points", _points(hits), hits.mean >= 0.0
        ),
    ]


def _latency(samples: Samples, rival: str) -> Target:
    less = _less(ratio(samples, "latency_s", OURS, rival, ALL))
    return Target(f"latency below {rival}", ">= 28.6 %", _percent(less), less.mean >= 0.286)


def _accuracy(samples: Samples) -> Target:
    lost = difference(samples, "accuracy", EDGE, OURS, ALL)
    return Target(
        "accuracy lost against edge-only", "<= 0.5 points", _points(lost), lost.mean <= 0.005
    )


def _deadlines(samples: Samples) -> Target:
    share = ratio(samples, "deadline_hit_rate", OURS, ORACLE, ALL)
    return Target(
        "requests in time, of the oracle's", ">= 99 %", _percent(share), share.mean >= 0.99
    )


def _way(samples: Samples) -> Target:
    way = gap_closed(samples, OURS, ALL)
    return Target(
        "of the gap between best-static and the oracle", ">= 95 %", _percent(way), way.mean >= 0.95
    )


def _ahead(samples: Samples, rival: str, scenario: str) -> Target:
    less = _less(ratio(samples, "cost", OURS, rival, scenario))
    return Target(
        f"cost below {rival} in {scenario}",
        "> 0 outside the interval",
        _percent(less),
        less.low > 0.0,
    )


def _less(share: Interval) -> Interval:
    return Interval(1.0 - share.mean, 1.0 - share.high, 1.0 - share.low)


def _percent(share: Interval) -> str:
    return f"{100 * share.mean:.1f} % ({100 * share.low:.1f} to {100 * share.high:.1f})"


def _points(share: Interval) -> str:
    if math.isnan(share.mean):
        return "unknown"
    return f"{100 * share.mean:+.2f} points ({100 * share.low:+.2f} to {100 * share.high:+.2f})"
