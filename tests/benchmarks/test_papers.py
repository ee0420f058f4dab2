"""Published systems under the conditions of their own papers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from agents.deciders.static import Static
from agents.evaluation.episodes import run_episodes
from benchmarks.papers import dvfo, dynasplit
from benchmarks.policies.plan import BenchmarkJob, Case
from benchmarks.policies.plan import jobs as planned
from benchmarks.policies.run import measure
from envs.sim.batched_simulator import BatchedSimulator
from envs.sim.build import build_sim_config
from tests.agents.benchmark.test_benchmark_table import measured

RATES = dict.fromkeys((Path(scenario).stem for scenario in dvfo.SCENARIOS), 1.0)


def found(decider, energy_j, latency_s, **means):
    """Three seeds of a decider, of whose episodes all are alike."""
    means = {"energy_j": energy_j, "latency_s": latency_s, **means}
    return [measured(decider, seed, 1.0, 0.0, RATES, **means) for seed in range(3)]


def run(model, scenario, decider, **changes):
    """Means of a decider that is fitted and run."""
    job = BenchmarkJob(
        device="pi4",
        model=str(model.path),
        scenarios=(scenario,),
        decider=decider,
        fit_seed=0,
        episode_seeds=(0,),
        n_episodes=1,
    )
    (episodes,) = measure(replace(job, **changes)).episodes.values()
    del episodes["accuracy"]  # nobody measured it
    return {name: float(np.mean(values)) for name, values in episodes.items()}


class TestDvfo:
    def test_it_is_compared_with_its_rivals_as_the_paper_does(self):
        rivals = dict.fromkeys(dvfo.GOVERNED, (2.0, 0.1)) | {"edge-only": (1.0, 0.2)}
        others = dict.fromkeys((*dvfo.AT_TOP, dvfo.DRLDO, *dvfo.BESIDE), (1.25, 0.1))
        results = [one for name, both in (rivals | others).items() for one in found(name, *both)]
        page = dvfo.page(results + found("dvfo", 1.0, 0.05) + found(dvfo.OURS, 0.9, 0.05))
        (line,) = (line for line in page.splitlines() if line.startswith("| tx2"))
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        energy = ["-33 % (-50 to +0)", "-20 % (-20 to -20)", "-33 %"]
        latency = ["-58 % (-75 to -50)", "-50 % (-50 to -50)", "-59.1 to -28.6 %"]
        assert cells == ["tx2", "net", *energy, *latency]
        (ours,) = (line for line in page.splitlines() if line.startswith(f"| {dvfo.OURS} "))
        assert "+11 % (+11 to +11)" in ours

    def test_its_conditions_hold(self, lite0):
        world = build_sim_config("tx2", lite0, dvfo.SCENARIOS)
        assert world.is_back_to_back
        rates_mbps = [s.signals["link_bps"].quantiles[0] / 1e6 for s in world.scenarios]
        assert rates_mbps == list(dvfo.RATES_MBPS)
        assert all(s.signals["latency_target_s"].quantiles[0] == 100.0 for s in world.scenarios)

    def test_everybody_is_fitted_to_all_rates(self):
        jobs = dvfo.jobs(3, ["tx2"], ["efficientnet-lite0"])
        learned = [job for job in jobs if job.decider == "dvfo"]
        assert [job.fit_seed for job in learned] == [0, 1, 2]
        assert {job.scenarios for job in jobs} == {dvfo.SCENARIOS}

    def test_sending_takes_as_long_as_the_link_needs(self, tiny):
        slow, fast = (run(tiny, dvfo.SCENARIOS[k], "max-cloud") for k in (0, 3))
        sent_bits = 8 * tiny.routes[0].wire_bytes
        more_s = sent_bits / 0.5e6 - sent_bits / 8e6
        assert slow["latency_s"] - fast["latency_s"] == pytest.approx(more_s, rel=0.15)
        assert slow["energy_j"] > fast["energy_j"]
        assert slow["deadline_hit_rate"] == 1.0


class TestDynaSplit:
    def test_the_servers_energy_counts(self, tiny):
        cloud, edge = (
            run(tiny, dynasplit.scenario("vit"), name) for name in (dynasplit.CLOUD, dynasplit.EDGE)
        )
        assert cloud["energy_j"] == pytest.approx(63.5, rel=0.1)  # and next to no operations
        assert edge["energy_j"] < 10.0

    def test_the_board_takes_what_the_papers_did(self, tiny, monkeypatch, tmp_path):
        monkeypatch.setattr(dynasplit, "folder", lambda _: tiny.path)
        world = build_sim_config(
            str(dynasplit.measured_board(tmp_path)), tiny, [dynasplit.scenario("vit")]
        )
        assert world.objective().reference_latency_s == pytest.approx(dynasplit.EDGE_S, rel=0.01)

    def test_a_quick_choice_counts_as_often_as_a_slow_one(self, tiny):
        """Each threshold is that of one request, however many a step could answer."""
        world = build_sim_config("pi4", tiny, [dynasplit.scenario("vit")])
        top = np.array([[len(axis.values) - 1 for axis in BatchedSimulator(world, 1).layout.axes]])
        cloud = top.copy()
        cloud[0, -1] = 0

        class InTurns:
            def begin(self, plant, n):
                self.step, self.n = 0, n

            def decide(self, observations):
                self.step += 1
                return np.repeat(top if self.step % 2 else cloud, self.n, axis=0)

        seeds = np.zeros(1, np.uint64)
        runs = {
            name: run_episodes(world, decider, seeds).energy_j[0]
            for name, decider in {
                "edge": Static(tuple(top[0])),
                "cloud": Static(tuple(cloud[0])),
                "in turns": InTurns(),
            }.items()
        }
        assert runs["in turns"] == pytest.approx((runs["edge"] + runs["cloud"]) / 2.0, rel=0.05)

    def test_savings_stand_beside_the_papers(self):
        results = [
            one
            for name in dynasplit.DECIDERS
            for one in found(name, 91.0 if name == dynasplit.CLOUD else 45.5, 0.1)
        ]
        named = [replace(r, job=replace(r.job, model="models/papers/vit")) for r in results]
        page = dynasplit.page(named)
        (line,) = (x for x in page.splitlines() if x.startswith(f"| {dynasplit.PUBLISHED} "))
        assert "| 50.0 % (50.0 to 50.0) |" in line
        assert line.endswith("| 87.8 | 3.8 % | 82 % |")
        assert "## vit" in page

    def test_a_weight_reaches_the_cost(self, tiny):
        missed = {
            weight: run(tiny, "umts-fringe", "max-cloud", weights=(("deadline", weight),))
            for weight in (1.0, 20.0)
        }
        late = 1.0 - missed[1.0]["deadline_hit_rate"]
        assert late > 0.001
        assert missed[20.0]["cost"] - missed[1.0]["cost"] == pytest.approx(19.0 * late, rel=0.1)
        case = Case(device="pi4", model="m", deciders=("oracle",), weights=dynasplit.WEIGHTS)
        assert {job.weights for job in planned([case])} == {dynasplit.WEIGHTS}
