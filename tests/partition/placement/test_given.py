"""Blocks pinned to devices, devices left alone, and plans that a user brings."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from instances import all_placements, energy, latency, parts, random_problem

from partition.placement import given
from partition.placement.cluster import Cluster
from partition.placement.errors import ClusterError, InfeasibleError, PlacementError
from partition.placement.solver.problem import Pin, build_problem
from partition.placement.solver.solve import PlacementObjective, solve

SHELF = Path(__file__).parents[3] / "docs/clusters/shelf.toml"
LONG_S = 1e6


def pinned(seed: int):
    """A random problem without pins, and one or two pins for it."""
    problem, rng = random_problem(seed), np.random.default_rng(seed)
    ends = sorted(rng.choice(problem.n_blocks + 1, min(4, problem.n_blocks + 1), replace=False))
    pairs = list(zip(ends[::2], ends[1::2], strict=False))
    devices = rng.permutation(problem.n_devices)[: len(pairs)]
    return problem, tuple(
        Pin(int(d), int(start), int(end)) for d, (start, end) in zip(devices, pairs, strict=False)
    )


def keeping(problem, pins):
    """Placements of a problem without pins that keep them all the same."""
    for steps in all_placements(problem):
        of = {block: device for device, i, j in steps for block in range(i, j)}
        if all(of[block] == pin.device for pin in pins for block in range(pin.start, pin.end)):
            yield steps


def value(problem, steps, objective, period_s) -> float:
    if objective == "throughput":
        return max(parts(problem, steps))
    return latency(problem, steps) if objective == "latency" else energy(problem, steps, period_s)


@pytest.mark.parametrize("objective", ["throughput", "latency", "energy"])
def test_pins_are_kept_at_the_least_price(objective):
    n_found = n_refused = n_dearer = 0
    for seed in range(400):
        problem, pins = pinned(seed)
        period_s = 2.0 * max(map(float, problem.block_s.sum(axis=1)))
        rate_hz = 1.0 / period_s if objective == "energy" else None
        wish = PlacementObjective(objective=objective, rate_hz=rate_hz, time_limit_s=LONG_S)
        truth = min(
            (value(problem, steps, objective, period_s) for steps in keeping(problem, pins)),
            default=math.inf,
        )
        try:
            plan = solve(replace(problem, pins=pins), wish)
        except PlacementError:
            assert truth == math.inf, seed
            n_refused += 1
            continue
        assert plan.value == pytest.approx(truth, rel=1e-9), seed
        assert plan.proved
        n_found += 1
        free = solve(problem, wish).value
        n_dearer += plan.value > free * (1 + 1e-9)
    assert min(n_found, n_refused, n_dearer) > 20, (n_found, n_refused, n_dearer)


def test_pins_that_cannot_be_kept_are_named_as_the_reason():
    problem = random_problem(2, n=3, n_blocks=4)
    problem = replace(problem, capacity_bytes=np.array([10**12, 10**12, 10**12]))
    links = np.zeros((3, 3))
    links[0, 1] = 1e6
    pins = (Pin(1, 0, 1), Pin(0, 3, 4))
    problem = replace(problem, bytes_per_s=links, source=None, sink=None, pins=pins)
    with pytest.raises(InfeasibleError, match="no placement keeps the pins"):
        solve(problem, PlacementObjective())


def test_pins_are_not_blamed_for_a_rate(tiny):
    problem = build_problem(tiny, Cluster.load(SHELF))
    wish = PlacementObjective(objective="latency", rate_hz=1e5)
    with pytest.raises(InfeasibleError, match="no placement keeps up"):
        solve(replace(problem, pins=(Pin(6, 0, 1),)), wish)


@pytest.fixture
def problem(tiny):
    return build_problem(tiny, Cluster.load(SHELF))


class TestPins:
    def test_one_block_and_several(self, problem):
        first, last = problem.blocks[0], problem.blocks[2]
        assert given.pins([f"{first}=nano", f"{first} .. {last} = nano"], problem) == (
            Pin(6, 0, 1),
            Pin(6, 0, 3),
        )
        dotted = replace(problem, blocks=("a..b", "a.", ".b", "c"))
        assert given.pins(["a..b=nano"], dotted) == (Pin(6, 0, 1),)
        assert given.pins(["a....b=nano"], dotted) == (Pin(6, 1, 3),)

    @pytest.mark.parametrize(
        ("texts", "sentence"),
        [
            (["nano"], "names no blocks and device"),
            (["=nano"], "names no blocks and device"),
            (["{0}="], "names no blocks and device"),
            (["{0}=gpu"], "the cluster has no device 'gpu': name one of camera, pi4-1"),
            (["conv9=nano"], "names no block, and no first and last one"),
            (["{2}..{0}=nano"], "comes before"),
            (["{0}..{2}=nano", "{1}=camera"], "is pinned to 'nano' and to 'camera'"),
        ],
    )
    def test_what_means_nothing_is_refused(self, problem, texts, sentence):
        with pytest.raises(PlacementError) as error:
            given.pins([text.format(*problem.blocks) for text in texts], problem)
        assert sentence in str(error.value)


class TestWithout:
    def test_devices_and_all_of_a_name(self):
        cluster = Cluster.load(SHELF)
        names = [device.name for device in given.left_alone(cluster, ["pi4", "pi5-2"]).devices]
        assert names == ["camera", "pi5-1", "nano"]
        assert given.left_alone(cluster, []).devices == cluster.devices

    @pytest.mark.parametrize(
        ("names", "sentence"),
        [
            (["pi6"], "the cluster has no such device: name one of camera"),
            (["camera"], "it is the source"),
        ],
    )
    def test_what_is_not_there_or_needed_is_refused(self, names, sentence):
        with pytest.raises(ClusterError) as error:
            given.left_alone(Cluster.load(SHELF), names)
        assert sentence in str(error.value)

    def test_not_all_of_them(self, tmp_path):
        path = tmp_path / "one.toml"
        path.write_text(
            'schema_version = 1\n[[devices]]\nname = "a"\nflops_per_s = 1e9\nmemory_bytes = 1e9\n'
        )
        with pytest.raises(ClusterError, match="leaves no device"):
            given.left_alone(Cluster.load(path), ["a"])


class TestPlan:
    @pytest.mark.parametrize(
        "wish", [(), ("--objective", "latency"), ("--replicas", "2")], ids=" ".join
    )
    def test_what_was_printed_is_priced_the_same(self, run, tmp_path, wish):
        path, first = tmp_path / "plan.json", run(SHELF, *wish, "--json")
        path.write_text(first)
        again = json.loads(run(SHELF, *wish, "--json", "--plan", path))
        before = json.loads(first)
        assert again["stages"] == before["stages"]
        assert (again["value"], again["bound"]) == (before["value"], before["bound"])
        assert again["changes"] == []
        assert "planned anew it would be no better" in run(SHELF, *wish, "--plan", path)

    def test_one_of_ones_own_is_held_against_the_best(self, run, tmp_path, problem):
        path = tmp_path / "own.json"
        stages = [{"devices": ["camera"], "last_block": problem.blocks[-1]}]
        path.write_text(json.dumps({"stages": stages}))
        text = run(SHELF, "--plan", path)
        assert "1 stages on 1 of 7 devices" in text
        assert "gap" in text
        assert "planned anew: period" in text

    def test_what_a_plan_may_take_is_kept(self, run, tmp_path, problem):
        path = tmp_path / "own.json"
        stages = [{"devices": ["camera"], "last_block": problem.blocks[-1]}]
        path.write_text(json.dumps({"stages": stages}))
        own = json.loads(run(SHELF, "--plan", path, "--json"))
        with pytest.raises(InfeasibleError, match="--rate allows"):
            run(SHELF, "--plan", path, "--objective", "latency", "--rate", 1.05 / own["period_s"])
        with pytest.raises(PlacementError, match="leave --pin out"):
            run(SHELF, "--plan", path, "--pin", f"{problem.blocks[0]}=nano")

    @pytest.mark.parametrize(
        ("stages", "sentence"),
        [
            ([("gpu", -1)], "runs on 'gpu', which the cluster has not"),
            ([((), -1)], "stage 1 has no device"),
            ([(("camera", "nano"), -1)], "the devices of stage 1 are unlike"),
            ([("camera", 1)], "ends before the network does"),
            ([("camera", 1), ("nano", 0), ("pi5-1", -1)], "stage 2 ends before it begins"),
            ([("camera", 1), ("camera", -1)], "device 'camera' has two stages"),
            ([("camera", "x")], "ends with 'x', which is no block of this network"),
        ],
    )
    def test_what_cannot_be_run_is_refused(self, tmp_path, problem, stages, sentence):
        path = tmp_path / "own.json"
        document = [
            {
                "devices": [names] if isinstance(names, str) else names,
                "last_block": end if isinstance(end, str) else problem.blocks[end],
            }
            for names, end in stages
        ]
        path.write_text(json.dumps({"stages": document}))
        with pytest.raises(PlacementError) as error:
            given.saved(path, problem, "0", 2)
        assert sentence in str(error.value)

    def test_more_replicas_than_are_allowed_are_refused(self, tmp_path, problem):
        path, last = tmp_path / "own.json", problem.blocks[-1]
        document = {"stages": [{"devices": ["pi5-1", "pi5-2"], "last_block": last}]}
        path.write_text(json.dumps(document))
        with pytest.raises(PlacementError, match="2 devices share stage 1: allow as many"):
            given.saved(path, problem, "0")
        assert given.saved(path, problem, "0", 2) == [((4, 5), 0, len(problem.blocks))]

    def test_memory_and_links_are_looked_at(self, tmp_path, problem):
        path, last = tmp_path / "own.json", problem.blocks[-1]
        path.write_text(json.dumps({"stages": [{"devices": ["nano"], "last_block": last}]}))
        small = replace(problem, capacity_bytes=np.zeros_like(problem.capacity_bytes))
        with pytest.raises(PlacementError, match=r"stage 1 needs \d+ bytes, device 'nano' has 0"):
            given.saved(path, small, "0")
        links = problem.bytes_per_s.copy()
        links[6, 0] = 0.0
        with pytest.raises(PlacementError, match="no link leads from 'nano' to 'camera'"):
            given.saved(path, replace(problem, bytes_per_s=links), "0")

    @pytest.mark.parametrize("text", ["", "[]", "{}", '{"stages": 3}', '{"stages": [{}]}'])
    def test_what_is_no_plan_is_refused(self, tmp_path, problem, text):
        path = tmp_path / "own.json"
        path.write_text(text)
        with pytest.raises(PlacementError, match="is no plan"):
            given.saved(path, problem, "0")
        with pytest.raises(PlacementError, match="is no plan"):
            given.saved(tmp_path / "none.json", problem, "0")

    def test_one_of_another_network_is_refused(self, tmp_path, problem):
        path = tmp_path / "own.json"
        path.write_text(json.dumps({"stages": [], "fingerprint": "1"}))
        with pytest.raises(PlacementError, match="is a plan of network 1, not of 0"):
            given.saved(path, problem, "0")
