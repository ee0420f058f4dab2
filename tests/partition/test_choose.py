from __future__ import annotations

import math

import numpy as np
import pytest

from partition.choose import CutCost, DynamicSplit, choose_split, expected_s, guessed_wait_s
from partition.edge.pipeline import InferenceResult
from partition.transport.link_estimator import LinkEstimate
from tests.hw.fake.clock import FakeClock

# A slow edge: the later the cut, the longer its head and the fewer its bytes.
COSTS = (
    CutCost(head_s=0.0, tail_s=0.010, uplink_bytes=150_000),
    CutCost(head_s=0.030, tail_s=0.007, uplink_bytes=30_000),
    CutCost(head_s=0.080, tail_s=0.002, uplink_bytes=5_000),
    CutCost(head_s=0.150, tail_s=0.0, uplink_bytes=0),
)


def link(rate_bps, load=0.0):
    return LinkEstimate(rate_bps, 0.002, 0.0, load)


@pytest.mark.parametrize(
    ("rate_bps", "split"), [(0.1e6, 3), (1e6, 2), (10e6, 1), (200e6, 0), (1e9, 0)]
)
def test_the_cut_moves_to_the_cloud_as_the_link_gets_faster(rate_bps, split):
    choice = choose_split(COSTS, link(rate_bps))
    assert choice.split == split
    assert choice.latency_s == min(expected_s(cost, link(rate_bps)) for cost in COSTS)


def test_without_a_cloud_the_edge_does_it_all():
    choice = choose_split(COSTS, None)
    assert (choice.split, choice.latency_s) == (3, 0.150)
    assert math.isinf(expected_s(COSTS[0], None))


def test_a_loaded_server_moves_the_cut_back_to_the_edge():
    assert choose_split(COSTS, link(1e9), wait_s=0.2).split == 3
    assert choose_split(COSTS, link(1e9, load=1.0)).split == 3
    assert choose_split(COSTS, link(1e9, load=0.3)).split == 0
    assert guessed_wait_s(COSTS, 0.5) == pytest.approx(0.007)


def answer(cloud_s, *, edge_s=0.0, load=0.5, served_by="cloud", fallback=None):
    return InferenceResult(
        (np.zeros((1, 2)),), 0.1, edge_s, 0.0, 0.0, cloud_s, 1, served_by, fallback, load
    )


class TestDynamicSplit:
    @pytest.fixture
    def clock(self):
        return FakeClock()

    @pytest.fixture
    def dynamic(self, clock):
        return DynamicSplit(COSTS, clock)

    def test_it_learns_how_long_requests_wait_in_the_server(self, dynamic):
        assert dynamic.route(link(1e9)).split == 0
        for _ in range(5):
            dynamic.observe(0, answer(0.010 + 0.3))
        assert dynamic.wait_s(link(1e9)) == pytest.approx(0.3)
        assert dynamic.route(link(1e9)).split == 3

    def test_once_the_load_is_gone_it_comes_back(self, dynamic, clock):
        dynamic.observe(0, answer(0.310, load=1.0))
        clock.sleep(60.0)
        assert dynamic.route(link(1e9, load=1.0)).split == 3
        assert dynamic.route(link(1e9, load=0.0)).split == 0

    def test_it_learns_how_long_heads_take_here(self, dynamic):
        for _ in range(30):
            dynamic.observe(1, answer(0.007, edge_s=0.5, load=0.0))
        assert dynamic.costs[1].head_s == pytest.approx(0.5, rel=0.01)
        assert dynamic.route(link(10e6)).split != 1

    def test_a_fallback_teaches_nothing(self, dynamic):
        dynamic.observe(0, answer(0.0, edge_s=9.0, served_by="edge", fallback="late"))
        assert dynamic.costs == list(COSTS)
