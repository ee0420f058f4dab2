"""Each effect: without it every step is a problem of its own, with it the past matters."""

from __future__ import annotations

import numpy as np
import pytest

from envs.errors import EnvError
from envs.scenarios import episodes
from envs.sim.effects import EFFECTS, Effects

CLOUD, EDGE = 0, 3
NONE = Effects.without(EFFECTS)


def action(fleet, *, cpu=-1, gpu=-1, emc=-1, split=EDGE):
    sizes = [len(axis.values) for axis in fleet.layout.axes]
    one = [index % size for index, size in zip((cpu, gpu, emc, split), sizes, strict=True)]
    return np.tile(np.array(one, dtype=np.int64), (fleet.n, 1))


@pytest.fixture
def pair(fleet):
    """The same boards with one effect only, and with none."""

    def build(name, changes=None, **settings):
        only = Effects.without(set(EFFECTS) - {name})
        return tuple(fleet(changes, effects=effects, **settings) for effects in (only, NONE))

    return build


def low(boards):
    return action(boards, cpu=0, gpu=0, emc=0)


def test_without_effects_a_step_is_the_same_whatever_came_before(fleet):
    patient = {"requests.latency_target_ms": "10000.0", "arrivals.rate_hz": "18.0"}
    outcomes = []
    for before in ([], ["low"] * 5, ["cloud"] * 3):
        boards = fleet(patient, effects=NONE)
        for what in before:
            boards.step(low(boards) if what == "low" else action(boards, split=CLOUD))
        outcomes.append(boards.step(action(boards, cpu=3, gpu=3, emc=3)))
    for name in ("energy_j", "latency_s", "deadline_hit_rate", "power_w", "switched", "overheat_c"):
        assert len({float(getattr(o, name)[0]) for o in outcomes}) == 1, name


def test_actuation_delay(pair):
    steps = [[b.step(low(b)).latency_s[0] for _ in range(2)] for b in pair("actuation_delay")]
    (first_s, second_s), (ideal_first_s, ideal_second_s) = steps
    assert first_s < second_s == ideal_first_s == ideal_second_s


def test_switching_cost(pair):
    switched = [b.step(low(b)).switched[0] for b in pair("switching_cost")]
    assert switched == [0.75, 0.0]
    grids = [b.every_outcome(slice(0, 1)).switched for b in pair("switching_cost")]
    assert [grid.max() for grid in grids] == [1.0, 0.0]


def test_thermal(pair):
    hot = {"ambient.temperature_c": "70.0", "arrivals.rate_hz": "40.0"}
    boards, ideal = pair("thermal", hot, n_steps=200)
    latencies_s = []
    for b in (boards, ideal):
        outcomes = [b.step(action(b)) for _ in range(200)]
        latencies_s.append((outcomes[0].latency_s[0], outcomes[-1].latency_s[0]))
        last = outcomes[-1].overheat_c[0]
        assert last > 0.0 if b is boards else last == 0.0
    assert latencies_s[0][0] < latencies_s[0][1]
    assert latencies_s[1][0] == latencies_s[1][1]


def test_without_heat_the_hottest_air_throttles_nothing(pair):
    boards, ideal = pair("thermal", {"ambient.temperature_c": "85.0"})
    hot, cool = (b.step(action(b)) for b in (boards, ideal))
    assert hot.latency_s[0] > cool.latency_s[0]
    assert hot.overheat_c[0] > 0.0 == cool.overheat_c[0]


def test_queueing(pair):
    busy = {"requests.latency_target_ms": "10000.0", "arrivals.rate_hz": "18.0"}
    boards, ideal = pair("queueing", busy)
    for b in (boards, ideal):
        for _ in range(10):
            b.step(low(b))
    assert boards.readings().backlog[0] > 0.0 == ideal.readings().backlog[0]
    after = [b.step(action(b)) for b in (boards, ideal)]
    assert after[0].latency_s[0] > after[1].latency_s[0]


def test_stale_readings(pair, device):
    changing = {"link.rate_mbps": "{ quantiles = [1.0, 90.0], correlation_time_s = 1.0 }"}
    boards, ideal = pair("stale_readings", changing)
    for b in (boards, ideal):
        for _ in range(3):
            outcome = b.step(action(b))
    stale, fresh = boards.readings(), ideal.readings()
    assert stale.link_age_s[0] == pytest.approx(0.75)
    assert fresh.link_age_s[0] == 0.0
    assert fresh.power_w[0] == outcome.power_w[0] != stale.power_w[0]
    assert stale.temperature_margin_c[0] % 0.5 == 0.0
    sent = [b.step(action(b, split=CLOUD)).power_w[0] for b in (boards, ideal)]
    assert sent[0] == sent[1]  # the boards are the same, only what is seen of them differs


def test_latency_tails_come_in_slow_times(pair):
    boards, ideal = pair("latency_tails", n=400, n_steps=40)
    shares, means_s = [], []
    for _ in range(40):
        outcome = boards.step(action(boards))
        shares.append(outcome.held_up)
        means_s.append(outcome.latency_s)
    slow = np.stack(shares) > 0.1
    assert slow.mean() == pytest.approx(0.02, abs=0.01)
    stays = slow[1:][slow[:-1]].mean()
    assert stays == pytest.approx(0.75, abs=0.1)
    latency_s = np.stack(means_s)
    assert latency_s[slow].mean() > 1.3 * latency_s[~slow].mean()
    calm = ideal.step(action(ideal))
    assert set(calm.held_up.tolist()) == {0.0}
    assert len(set(calm.latency_s.tolist())) == 1


def test_irregular_arrivals_make_some_requests_late(pair):
    irregular = {"arrivals.kind": '"poisson"', "requests.latency_target_ms": "80.0"}
    boards, ideal = pair("latency_tails", irregular)
    scattered, mean_only = (b.step(action(b)) for b in (boards, ideal))
    assert scattered.latency_s[0] == pytest.approx(mean_only.latency_s[0], rel=0.01)
    assert scattered.deadline_hit_rate[0] < mean_only.deadline_hit_rate[0] == 1.0
    assert scattered.latency_quantile_s(0.95)[0] > 1.5 * scattered.latency_s[0]


def test_hidden_load(pair):
    boards, ideal = pair("hidden_load", {"server.hidden_load": "0.8"})
    outcomes = []
    for b in (boards, ideal):
        for _ in range(12):
            outcomes.append(b.step(action(b, split=CLOUD)).latency_s[0])
    assert outcomes[0] > outcomes[-1] + 0.01
    seen, fresh = boards.readings(), ideal.readings()
    assert seen.server_idle[0] == fresh.server_idle[0] == 1.0
    assert seen.away_factor[0] > 1.3
    assert fresh.away_factor[0] == pytest.approx(1.0, abs=0.02)


def test_decision_delay_keeps_the_action_before_in_force(pair):
    boards, ideal = pair("decision_delay", {"board.decision_ms": "125.0"})
    waiting = pair("decision_delay", {"board.decision_ms": "125.0"}, blocking=True)[0]
    sent = [b.step(action(b, split=CLOUD)).uplink_bytes[0] for b in (boards, ideal, waiting)]
    assert sent == [30_000.0, 60_000.0, 60_000.0]
    again = [b.step(action(b, split=CLOUD)) for b in (boards, ideal, waiting)]
    assert [o.uplink_bytes[0] for o in again] == [60_000.0] * 3
    assert again[0].latency_s[0] == again[1].latency_s[0]
    # Half of the requests arrive while the board waits, 62.5 ms on average.
    assert again[2].latency_s[0] - again[1].latency_s[0] == pytest.approx(0.03125)
    assert boards.readings().decision_s[0] == 0.125
    assert ideal.readings().decision_s[0] == 0.0


def test_a_decision_that_changes_nothing_costs_nothing(fleet):
    slow, quick = (fleet({"board.decision_ms": ms}) for ms in ("100.0", "0.0"))
    for _ in range(3):
        outcomes = [b.step(action(b)) for b in (slow, quick)]
    assert outcomes[0].latency_s[0] == outcomes[1].latency_s[0]


@pytest.mark.parametrize("name", EFFECTS)
def test_an_effect_is_switched_off_by_name(name):
    effects = Effects.without([name])
    assert [getattr(effects, other) for other in EFFECTS] == [other != name for other in EFFECTS]


def test_an_unknown_effect_is_named():
    with pytest.raises(EnvError, match="unknown effect 'gravity'; choose from actuation_delay"):
        Effects.without(["gravity"])


def test_the_oracle_looks_through_every_effect(fleet, monkeypatch):
    monkeypatch.setattr(episodes, "TAIL_SHARE", (0.0, 0.0))  # a step draws those that are held up
    changes = {"board.decision_ms": "60.0", "server.hidden_load": "0.5", "board.slowdown": "1.03"}
    for blocking in (False, True):
        boards = fleet(changes, blocking=blocking)
        boards.step(action(boards, split=1))
        grid = boards.every_outcome(slice(0, 1))
        sizes = tuple(len(axis.values) for axis in boards.layout.axes)
        outcome = boards.step(action(boards, cpu=2, gpu=3, emc=1, split=CLOUD))
        for name in ("energy_j", "latency_s", "deadline_hit_rate", "accuracy", "switched"):
            values = np.broadcast_to(getattr(grid, name), (1, *sizes))
            assert values[0, 2, 3, 1, CLOUD] == pytest.approx(getattr(outcome, name)[0]), name
