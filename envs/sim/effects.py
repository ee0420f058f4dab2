"""Effects that make the control sequential; each can be switched off."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace

from envs.errors import EnvError


@dataclass(frozen=True, kw_only=True, slots=True)
class Effects:
    """Which effects are simulated; without any, each control step is a problem of its own.

    Attributes:
        actuation_delay: new clocks take effect after the delays of the device's domains.
        switching_cost: a changed axis counts in the cost.
        thermal: boards warm up, throttle, and pay for being too hot.
        queueing: requests that are not served wait into the next step, rather than being dropped.
        stale_readings: readings have noise, age, resolution and faults; otherwise they are exact.
        latency_tails: requests scatter: the wait of irregular arrivals is a distribution rather
            than its mean, and there are slow periods.
        hidden_load: the server is busier than it reports.
        decision_delay: the action before stays in force until the decision is there.
    """

    actuation_delay: bool = True
    switching_cost: bool = True
    thermal: bool = True
    queueing: bool = True
    stale_readings: bool = True
    latency_tails: bool = True
    hidden_load: bool = True
    decision_delay: bool = True

    @classmethod
    def without(cls, names: Iterable[str]) -> Effects:
        """Switch the named effects off.

        Raises:
            EnvError: there is no such effect.
        """
        effects = cls()
        for name in names:
            if name not in EFFECTS:
                raise EnvError(f"unknown effect {name!r}; choose from {', '.join(EFFECTS)}")
            effects = replace(effects, **{name: False})
        return effects


EFFECTS = tuple(f.name for f in fields(Effects))
"""Names of all effects."""
