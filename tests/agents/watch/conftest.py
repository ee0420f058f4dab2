"""A board that is shown, step by step, on clocks that a test moves."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from agents.deployed.service_totals import ServiceTotals
from agents.watch.events import EventLog
from agents.watch.state import BoardState
from tests.agents.watch.shown_plant import STEP_S, Plant


@pytest.fixture
def shown(tmp_path):
    """A board, what it shows, and `step`, which serves requests in a control step."""
    now = SimpleNamespace(s=0.0, day_s=1e9)
    plant, events = Plant(), EventLog(lambda: now.day_s + now.s)
    totals = ServiceTotals(plant, lambda: now.s)
    state = BoardState(
        *("advised", plant, totals, None, events, tmp_path),
        clock=lambda: now.s,
        time_of_day=lambda: now.day_s + now.s,
    )

    def step(*requests, dropped=0):
        now.s += STEP_S
        totals.add(plant.serve(*requests, dropped=dropped), 0.0003)
        state.look()

    return SimpleNamespace(
        now=now, plant=plant, totals=totals, events=events, state=state, step=step
    )
